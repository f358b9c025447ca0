//! What is in a namespace, counted the way one quota wants it.

use crate::context::Context;
use api::quantity::Quantity;
use api::quota::{Amounts, Counted, add};
use client::{Api, Dynamic, Error, Resource};
use jiff::Timestamp;
use serde_json::Value;

/// Kinds of which more matters than their number.
const LISTED: [Counted<'_>; 4] = [
    core("pods"),
    core("services"),
    core("persistentvolumeclaims"),
    Counted {
        group: "resource.k8s.io",
        plural: "resourceclaims",
    },
];

const fn core(plural: &str) -> Counted<'_> {
    Counted { group: "", plural }
}

/// Whether a change of an object, not only its coming and going, changes what it takes.
pub(super) fn is_listed(counted: Counted<'_>) -> bool {
    LISTED.contains(&counted)
}

/// What all objects of the namespace that the quota is about take, of each name that it limits and somebody knows.
pub(super) async fn count(context: &Context, namespace: &str, quota: &Value, now: Timestamp) -> Result<Amounts, Error> {
    let hard = api::quota::amounts(quota, "/spec/hard");
    let minded = |counted: Counted<'_>| hard.keys().any(|name| counted.minds(name));
    let mut used = Amounts::new();
    for counted in LISTED {
        if minded(counted) {
            let objects = list(context, namespace, counted).await?;
            count_all(counted, quota, objects.into_iter(), &mut used, now);
        }
    }
    let scoped = has_scopes(quota);
    for name in hard.keys().filter(|_| !scoped) {
        if let Some((plural, group)) = counted_kind(name)
            && let Some(number) = context.kinds.count(group, plural, namespace)
        {
            used.insert(name.clone(), Quantity::whole(i64::try_from(number).unwrap_or(i64::MAX)));
        }
    }
    let known = |name: &str| used.contains_key(name) || LISTED.iter().any(|counted| counted.minds(name));
    let zero = |name: &String| used.get(name).copied().unwrap_or(Quantity::whole(0));
    Ok(hard
        .keys()
        .filter(|name| known(name))
        .map(|name| (name.clone(), zero(name)))
        .collect())
}

fn has_scopes(quota: &Value) -> bool {
    ["/spec/scopes", "/spec/scopeSelector/matchExpressions"]
        .iter()
        .any(|pointer| !api::read::list(quota, pointer).is_empty())
}

/// Plural and group of a kind of which a quota limits the number alone.
fn counted_kind(name: &str) -> Option<(&str, &str)> {
    let kind = match name.strip_prefix("count/") {
        Some(kind) => kind.split_once('.').unwrap_or((kind, "")),
        None if core(name).minds(name) => (name, ""),
        None => return None,
    };
    let (plural, group) = kind;
    (!is_listed(Counted { group, plural })).then_some(kind)
}

fn count_all(
    counted: Counted<'_>,
    quota: &Value,
    objects: impl Iterator<Item = Value>,
    used: &mut Amounts,
    now: Timestamp,
) {
    for object in objects.filter(|object| counted.counts(quota, object)) {
        add(used, &counted.usage(&object, now));
    }
}

async fn list(context: &Context, namespace: &str, counted: Counted<'_>) -> Result<Vec<Value>, Error> {
    let resource = Resource {
        group: counted.group.to_owned(),
        version: "v1".to_owned(),
        plural: counted.plural.to_owned(),
    };
    let api = Api::<Dynamic>::at(context.transport.clone(), &resource, Some(namespace));
    match api.list_all(&Default::default()).await {
        Ok(list) => Ok(list.items.into_iter().map(|object| object.0).collect()),
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_a_kinds_number() {
        for (name, kind) in [
            ("count/deployments.apps", Some(("deployments", "apps"))),
            ("count/widgets.example.com", Some(("widgets", "example.com"))),
            ("count/configmaps", Some(("configmaps", ""))),
            ("secrets", Some(("secrets", ""))),
            ("count/pods", None),
            ("services", None),
            ("requests.cpu", None),
            ("services.nodeports", None),
            ("count/resourceclaims.resource.k8s.io", None),
        ] {
            assert_eq!(counted_kind(name), kind, "{name}");
        }
    }
}
