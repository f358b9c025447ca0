//! ResourceQuota: a write that takes more of its namespace than a quota leaves is refused; what it takes is charged before it
//! is made (upstream: apiserver plugin/resourcequota). Comes last: nothing is charged for what somebody else refuses.

use crate::call::Call;
use crate::encode;
use api::quantity::Quantity;
use api::quota::{self, Amounts, Counted, amounts, sentence, to_value};
use api::status::{self, Status};
use api::{Rules, Verb};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeSet;
use store::{Entry, Expect, Write, WriteError};

/// A charge that others keep overtaking gives up after so many tries; each time another charge succeeded.
const TRIES: usize = 256;

/// What one quota is to be charged.
struct Bill {
    entry: Entry,
    quota: Value,
    used: Amounts,
}

/// Charges all quotas that mind, or refuses; on a dry run only the latter.
pub(super) async fn charge(call: &Call, new: &Value, old: Option<&Value>, dry_run: bool) -> Result<(), Status> {
    let Some(rules) = api::find("", "v1", "resourcequotas").filter(|_| is_counted(call, old)) else {
        return Ok(());
    };
    let prefix = rules.key_prefix(Some(&call.namespace));
    for _ in 0..TRIES {
        let entries = call.server.store.range(&prefix, None, 0).entries;
        if entries.is_empty() {
            return Ok(());
        }
        let bills = bills(call, entries, new, old)?;
        if dry_run || pay(call, rules, bills).await? {
            return Ok(());
        }
    }
    Err(status::modified(&call.rules, api::metadata::name(new)))
}

fn is_counted(call: &Call, old: Option<&Value>) -> bool {
    let namespaced = call.rules.namespaced && !call.namespace.is_empty();
    // Upstream leaves events out: there are many and they go by themselves.
    let counted = namespaced && call.rules.plural != "events";
    counted
        && match old {
            None => call.subresource.is_empty() && matches!(call.verb, Verb::Create | Verb::Update | Verb::Patch),
            Some(_) => kind(call).grows(&call.subresource),
        }
}

fn kind(call: &Call) -> Counted<'_> {
    Counted {
        group: call.rules.group,
        plural: call.rules.plural,
    }
}

/// What the quotas in `entries` are to be charged (upstream: `CheckRequest`).
fn bills(call: &Call, entries: Vec<Entry>, new: &Value, old: Option<&Value>) -> Result<Vec<Bill>, Status> {
    let (kind, now) = (kind(call), Timestamp::now());
    let refuse = |why: String| status::forbidden(&call.rules, api::metadata::name(new), &why);
    let usage = kind.usage(new, now);
    let mut bills = Vec::new();
    for entry in entries {
        let quota = encode::object(&entry);
        if !kind.matches(&quota, new) {
            continue;
        }
        let name = api::metadata::name(&quota);
        let (hard, used) = (amounts(&quota, "/status/hard"), amounts(&quota, "/status/used"));
        let minded: BTreeSet<&str> = hard
            .keys()
            .map(String::as_str)
            .filter(|name| kind.minds(name))
            .collect();
        let is_pod = kind.plural == "pods" && kind.group.is_empty();
        if is_pod && let Some(missing) = quota::missing(new, minded.iter().copied()) {
            return Err(refuse(format!("failed quota: {name}: {missing}")));
        }
        if minded.iter().any(|name| !used.contains_key(*name)) {
            let all = minded.iter().copied().collect::<Vec<_>>().join(",");
            return Err(refuse(format!("status unknown for quota: {name}, resources: {all}")));
        }
        let before = old
            .filter(|old| kind.matches(&quota, old))
            .map(|old| kind.usage(old, now));
        let more = increase(&usage, before.as_ref(), &hard);
        if let Some(why) = exceeded(name, &more, &used, &hard) {
            return Err(refuse(why));
        }
        if !more.is_empty() {
            let mut used = used;
            quota::add(&mut used, &more);
            bills.push(Bill { entry, quota, used });
        }
    }
    Ok(bills)
}

/// What is taken more than before, of what the quota limits.
fn increase(usage: &Amounts, before: Option<&Amounts>, hard: &Amounts) -> Amounts {
    let limited = usage.iter().filter(|(name, _)| hard.contains_key(*name));
    let more = limited.map(|(name, amount)| {
        let before = before.and_then(|before| before.get(name));
        (name.clone(), before.map_or(*amount, |before| *amount - *before))
    });
    more.filter(|(_, amount)| *amount > Quantity::whole(0)).collect()
}

fn exceeded(name: &str, more: &Amounts, used: &Amounts, hard: &Amounts) -> Option<String> {
    let mut total = used.clone();
    quota::add(&mut total, more);
    let over = |name: &&String| {
        hard.get(*name)
            .is_some_and(|limit| total.get(*name).is_some_and(|all| all > limit))
    };
    let over: BTreeSet<&String> = more.keys().filter(over).collect();
    if over.is_empty() {
        return None;
    }
    let of = |all: &Amounts| {
        let chosen = all.iter().filter(|(name, _)| over.contains(name));
        sentence(&chosen.map(|(name, amount)| (name.clone(), *amount)).collect())
    };
    let (requested, used, limited) = (of(more), of(used), of(hard));
    Some(format!(
        "exceeded quota: {name}, requested: {requested}, used: {used}, limited: {limited}"
    ))
}

/// Writes the bills; false when somebody wrote one of the quotas meanwhile. What was charged by then is charged in vain: the
/// quota controller gives it back, as upstream's does.
async fn pay(call: &Call, rules: &Rules, bills: Vec<Bill>) -> Result<bool, Status> {
    for Bill { entry, mut quota, used } in bills {
        quota["status"]["used"] = to_value(&used);
        let write = Write {
            key: entry.key.to_string(),
            expect: Expect::At(entry.modified),
            value: Some(encode::stored(&quota)),
            durable: rules.durable,
        };
        match call.server.store.write(write).await {
            Ok(_) => {}
            Err(WriteError::Conflict { .. }) => return Ok(false),
            Err(cause) => return Err(crate::verbs::refused_by_disk(&cause)),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(text: &str) -> Amounts {
        let parts = text
            .split(',')
            .filter(|part| !part.is_empty())
            .filter_map(|part| part.split_once('='));
        parts
            .filter_map(|(name, amount)| Some((name.to_owned(), Quantity::parse(amount).ok()?)))
            .collect()
    }

    #[test]
    fn only_an_increase_of_what_is_limited_counts() {
        let hard = some("pods=2,requests.cpu=1");
        for (usage, before, expected) in [
            ("pods=1,cpu=2,requests.cpu=2", None, "pods=1,requests.cpu=2"),
            (
                "pods=1,requests.cpu=2",
                Some("pods=1,requests.cpu=500m"),
                "requests.cpu=1500m",
            ),
            ("pods=1,requests.cpu=1", Some("pods=1,requests.cpu=2"), ""),
        ] {
            let before = before.map(some);
            assert_eq!(sentence(&increase(&some(usage), before.as_ref(), &hard)), expected);
        }
    }

    #[test]
    fn a_refusal_names_what_is_exceeded_and_nothing_else() {
        let hard = some("pods=2,requests.cpu=1");
        let why = exceeded(
            "x",
            &some("pods=1,requests.cpu=500m"),
            &some("pods=2,requests.cpu=0"),
            &hard,
        );
        assert_eq!(
            why.as_deref(),
            Some("exceeded quota: x, requested: pods=1, used: pods=2, limited: pods=2")
        );
        assert_eq!(
            exceeded("x", &some("pods=1"), &some("pods=1,requests.cpu=2"), &hard),
            None
        );
    }
}
