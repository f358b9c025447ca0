//! Which names a definition gets, and the conditions that say so (apiextensions `controller/status`, `controller/establish`,
//! `controller/apiapproval`): decisions about values, made by whoever writes them down.

use super::{condition, is_true};
use crate::field::quoted;
use crate::read::{self, list, text};
use serde_json::{Value, json};
use std::collections::HashSet;

/// The annotation in which the Kubernetes community allows a definition in its groups.
pub const APPROVED: &str = "api-approved.kubernetes.io";
const WHERE: &str = "https://github.com/kubernetes/enhancements/pull/1111";

/// What the community says of a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Approval {
    /// Its group is not the community's.
    NotNeeded,
    /// It is approved there.
    Approved(String),
    /// Its author knows that it is not.
    Bypassed(String),
    /// It says nothing, why that is wrong.
    Missing(String),
    /// It says something, why that is wrong.
    Invalid(String),
}

/// What a definition's annotation amounts to.
pub fn approval(definition: &Value) -> Approval {
    let group = text(definition, "/spec/group");
    let protected = ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|root| group == *root || group.strip_suffix(root).is_some_and(|rest| rest.ends_with('.')));
    if !protected {
        return Approval::NotNeeded;
    }
    match text(definition, "/metadata/annotations/api-approved.kubernetes.io") {
        "" => Approval::Missing(format!(
            "protected groups must have approval annotation {APPROVED:?}, see {WHERE}"
        )),
        why if why.starts_with("unapproved") => Approval::Bypassed(format!("not approved: {}", quoted(why))),
        url if url
            .split_once("://")
            .is_some_and(|(_, rest)| !rest.is_empty() && !rest.starts_with('/')) =>
        {
            Approval::Approved(format!("approved in {url}"))
        }
        _ => Approval::Invalid(format!(
            "protected groups must have approval annotation {APPROVED:?} with either a URL or a reason starting with \"unapproved\", see {WHERE}"
        )),
    }
}

/// The status that a definition should have next, if another than it has. First its names are accepted or refused, then, in a
/// write of its own, it is established: in between the server begins to serve it.
pub fn next_status(definition: &Value, others: &[Value], now: &str) -> Option<Value> {
    let mut next = definition.get("status").cloned().unwrap_or_else(|| json!({}));
    if definition["spec"]["names"] == definition["status"]["acceptedNames"] {
        // Nothing was asked for since; what was promised is kept.
        if is_true(definition, "NamesAccepted") && !is_true(definition, "Established") {
            let message = "the initial names have been accepted";
            set(&mut next, now, ("Established", true, "InitialNamesAccepted", message));
        }
    } else {
        accept(definition, others, &mut next, now);
    }
    approve(definition, &mut next, now);
    (Some(&next) != definition.get("status")).then_some(next)
}

/// The status of a definition whose deletion is at that point.
pub fn terminating(definition: &Value, now: &str, is_pending: bool, reason: &str, message: &str) -> Value {
    let mut next = definition.get("status").cloned().unwrap_or_else(|| json!({}));
    set(&mut next, now, ("Terminating", is_pending, reason, message));
    next
}

fn accept(definition: &Value, others: &[Value], next: &mut Value, now: &str) {
    let group = text(definition, "/spec/group");
    let (mut resources, mut kinds) = (HashSet::new(), HashSet::new());
    for other in others.iter().filter(|other| text(other, "/spec/group") == group) {
        let names = &other["status"]["acceptedNames"];
        resources.extend([text(names, "/plural"), text(names, "/singular")]);
        resources.extend(list(names, "/shortNames").iter().filter_map(Value::as_str));
        kinds.extend([text(names, "/kind"), text(names, "/listKind")]);
    }
    let (wished, accepted) = (&definition["spec"]["names"], &definition["status"]["acceptedNames"]);
    let mut names = accepted.clone();
    // The last conflict is the one that is told, as upstream tells it.
    let mut conflict: Option<(&str, String)> = None;
    let claim = |names: &mut Value, name: &str, reason: &'static str, taken: &HashSet<&str>| {
        let wish = text(wished, &format!("/{name}"));
        if wish != text(accepted, &format!("/{name}")) && taken.contains(wish) {
            return Some((reason, format!("{} is already in use", quoted(wish))));
        }
        names[name] = wish.into();
        None
    };
    conflict = claim(&mut names, "plural", "PluralConflict", &resources).or(conflict);
    conflict = claim(&mut names, "singular", "SingularConflict", &resources).or(conflict);
    match short_names_in_use(wished, accepted, &resources).as_slice() {
        [] => copy(wished, &mut names, "shortNames"),
        [one] => conflict = Some(("ShortNamesConflict", one.clone())),
        many => conflict = Some(("ShortNamesConflict", format!("[{}]", many.join(", ")))),
    }
    conflict = claim(&mut names, "kind", "KindConflict", &kinds).or(conflict);
    conflict = claim(&mut names, "listKind", "ListKindConflict", &kinds).or(conflict);
    copy(wished, &mut names, "categories");
    next["acceptedNames"] = names;
    let accepted = match &conflict {
        None => ("NamesAccepted", true, "NoConflicts", "no conflicts found"),
        Some((reason, message)) => ("NamesAccepted", false, *reason, message.as_str()),
    };
    set(next, now, accepted);
    if !is_true(definition, "Established") {
        set(
            next,
            now,
            match conflict {
                None => (
                    "Established",
                    false,
                    "Installing",
                    "the initial names have been accepted",
                ),
                Some(_) => ("Established", false, "NotAccepted", "not all names are accepted"),
            },
        );
    }
}

fn short_names_in_use(wished: &Value, accepted: &Value, taken: &HashSet<&str>) -> Vec<String> {
    let own = |name: &str| list(accepted, "/shortNames").iter().any(|own| own == name);
    list(wished, "/shortNames")
        .iter()
        .filter_map(Value::as_str)
        .filter(|name| taken.contains(name) && !own(name))
        .map(|name| format!("{} is already in use", quoted(name)))
        .collect()
}

fn copy(from: &Value, to: &mut Value, member: &str) {
    match (from.get(member), to.as_object_mut()) {
        (Some(value), Some(to)) => {
            to.insert(member.to_owned(), value.clone());
        }
        (None, Some(to)) => {
            to.shift_remove(member);
        }
        (_, None) => {}
    }
}

fn approve(definition: &Value, next: &mut Value, now: &str) {
    const KIND: &str = "KubernetesAPIApprovalPolicyConformant";
    let (holds, reason, message) = match approval(definition) {
        Approval::NotNeeded => return,
        Approval::Approved(message) => (true, "ApprovedAnnotation", message),
        Approval::Bypassed(message) => (false, "UnapprovedAnnotation", message),
        Approval::Missing(message) => (false, "MissingAnnotation", message),
        Approval::Invalid(message) => (false, "InvalidAnnotation", message),
    };
    set(next, now, (KIND, holds, reason, &message));
}

/// Sets a condition: type, whether it holds, reason, message. Its time changes when its status does.
fn set(status: &mut Value, now: &str, (kind, holds, reason, message): (&str, bool, &str, &str)) {
    let whole = json!({ "status": status.clone() });
    let known = condition(&whole, kind);
    let word = if holds { "True" } else { "False" };
    let since = known
        .filter(|known| text(known, "/status") == word)
        .map_or(now, |known| text(known, "/lastTransitionTime"));
    let mut new =
        json!({ "type": kind, "status": word, "lastTransitionTime": since, "reason": reason, "message": message });
    if let Some(generation) = known.and_then(|known| read::some(known, "/observedGeneration")) {
        new["observedGeneration"] = generation.clone();
    }
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    if let Some(conditions) = status["conditions"].as_array_mut() {
        match conditions.iter_mut().find(|condition| text(condition, "/type") == kind) {
            Some(condition) => *condition = new,
            None => conditions.push(new),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(plural: &str, kind: &str) -> Value {
        json!({
            "metadata": { "name": format!("{plural}.example.com") },
            "spec": { "group": "example.com", "names": {
                "plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List"), "shortNames": ["w"],
            } },
            "status": { "conditions": [], "acceptedNames": { "plural": "", "kind": "" }, "storedVersions": ["v1"] },
        })
    }

    #[test]
    fn names_are_accepted_before_a_definition_is_established() {
        let mut widget = definition("widgets", "Widget");
        widget["status"] = next_status(&widget, &[], "t1").expect("there is something to say");
        assert!(is_true(&widget, "NamesAccepted") && !is_true(&widget, "Established"));
        assert_eq!(widget["status"]["acceptedNames"], widget["spec"]["names"]);
        widget["status"] = next_status(&widget, &[], "t2").expect("there is something to say");
        assert!(is_true(&widget, "Established"));
        assert_eq!(
            text(
                condition(&widget, "NamesAccepted").expect("it is there"),
                "/lastTransitionTime"
            ),
            "t1"
        );
        assert_eq!(next_status(&widget, &[], "t3"), None);
    }

    #[test]
    fn a_name_that_another_has_is_refused_until_it_is_free() {
        let mut first = definition("widgets", "Widget");
        first["status"] = next_status(&first, &[], "t1").expect("there is something to say");
        let mut second = definition("gadgets", "Widget");
        second["status"] = next_status(&second, std::slice::from_ref(&first), "t1").expect("there is something to say");
        let refused = condition(&second, "NamesAccepted").expect("it is there");
        assert_eq!(text(refused, "/status"), "False");
        assert_eq!(text(refused, "/reason"), "ListKindConflict");
        assert_eq!(next_status(&second, &[first], "t2"), None);
        let freed = next_status(&second, &[], "t3").expect("there is something to say");
        assert!(is_true(&json!({ "status": freed }), "NamesAccepted"));
    }

    #[test]
    fn the_communitys_groups_need_its_word() {
        let mut definition = definition("widgets", "Widget");
        assert_eq!(approval(&definition), Approval::NotNeeded);
        definition["spec"]["group"] = "sigs.k8s.io".into();
        assert!(matches!(approval(&definition), Approval::Missing(_)));
        for (written, is_good) in [
            ("https://github.com/x", true),
            ("unapproved, experimental", true),
            ("yes", false),
        ] {
            definition["metadata"]["annotations"] = json!({ APPROVED: written });
            let state = approval(&definition);
            assert_eq!(
                matches!(state, Approval::Approved(_) | Approval::Bypassed(_)),
                is_good,
                "{written}"
            );
        }
    }
}
