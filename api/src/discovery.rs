//! What is served, as clients ask for it: `/api`, `/apis`, a group-version's resources, and both at once (apidiscovery v2).

use crate::{
    catalog::Catalog,
    kind::{Subresource, Verb},
    rules::Rules,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// `/api`: the versions of the core group. `address` is where clients reach the server, such as `10.0.0.1:6443`.
pub fn api_versions(address: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": address }],
    })
}

/// The groups besides core with their versions, in the catalog's order.
pub fn groups(catalog: &Catalog) -> Vec<(&'static str, Vec<&'static str>)> {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for rules in catalog.iter().filter(|r| !r.group.is_empty()) {
        let index = groups
            .iter()
            .position(|(name, _)| *name == rules.group)
            .unwrap_or_else(|| {
                groups.push((rules.group, Vec::new()));
                groups.len() - 1
            });
        if !groups[index].1.contains(&rules.version) {
            groups[index].1.push(rules.version);
        }
    }
    groups
}

/// Every group and version, core first.
pub fn group_versions(catalog: &Catalog) -> Vec<(&'static str, &'static str)> {
    let others = groups(catalog)
        .into_iter()
        .flat_map(|(group, versions)| versions.into_iter().map(move |v| (group, v)));
    std::iter::once(("", "v1")).chain(others).collect()
}

/// `/apis`: the groups.
pub fn api_group_list(catalog: &Catalog) -> Value {
    let groups: Vec<Value> = groups(catalog)
        .into_iter()
        .map(|(name, versions)| group(name, &versions))
        .collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}

/// `/apis/GROUP`, or none.
pub fn api_group(catalog: &Catalog, name: &str) -> Option<Value> {
    let (name, versions) = groups(catalog).into_iter().find(|(group, _)| *group == name)?;
    let mut object = json!({ "kind": "APIGroup", "apiVersion": "v1" });
    object
        .as_object_mut()?
        .extend(group(name, &versions).as_object()?.clone());
    Some(object)
}

fn group(name: &str, versions: &[&str]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(|v| json!({ "groupVersion": format!("{name}/{v}"), "version": v }))
        .collect();
    json!({ "name": name, "versions": versions, "preferredVersion": versions.first() })
}

/// `/api/v1` or `/apis/GROUP/VERSION`, or none.
pub fn api_resource_list(catalog: &Catalog, group: &str, version: &str) -> Option<Value> {
    let kinds: Vec<&Rules> = catalog.of(Some((group, version))).map(|r| &**r).collect();
    let first = kinds.first()?;
    let mut resources: Vec<Value> = Vec::new();
    for rules in &kinds {
        resources.push(resource(rules));
        resources.extend(rules.subresources.iter().map(|s| subresource(rules, s)));
    }
    Some(
        json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": first.api_version(), "resources": resources }),
    )
}

fn verbs(verbs: &[Verb]) -> Vec<&'static str> {
    verbs.iter().map(|v| v.name()).collect()
}

fn resource(rules: &Rules) -> Value {
    let mut object = json!({
        "name": rules.plural, "singularName": rules.singular, "namespaced": rules.namespaced, "kind": rules.kind,
        "verbs": verbs(rules.verbs),
    });
    if !rules.short_names.is_empty() {
        object["shortNames"] = json!(rules.short_names);
    }
    if !rules.categories.is_empty() {
        object["categories"] = json!(rules.categories);
    }
    object["storageVersionHash"] = storage_version_hash(rules).into();
    object
}

/// Changes when the stored form does (upstream: `discovery.StorageVersionHash`): of a custom kind, the version it is stored in.
fn storage_version_hash(rules: &Rules) -> String {
    let stored_as = rules.stored_as();
    let core = if stored_as.contains('/') { "" } else { "/" };
    let text = format!("{core}{stored_as}/{}", rules.kind);
    STANDARD.encode(&Sha256::digest(text)[..8])
}

fn subresource(rules: &Rules, sub: &Subresource) -> Value {
    let mut object = json!({
        "name": format!("{}/{}", rules.plural, sub.name), "singularName": "", "namespaced": rules.namespaced,
        "kind": sub.kind, "verbs": verbs(sub.verbs),
    });
    if (sub.group, sub.version) != (rules.group, rules.version) {
        object["group"] = sub.group.into();
        object["version"] = sub.version.into();
    }
    object
}

/// `/api` in aggregated form (`APIGroupDiscoveryList` of `apidiscovery.k8s.io/v2`): the core group.
pub fn aggregated_core(catalog: &Catalog) -> Value {
    aggregated(vec![aggregated_group(catalog, "", &["v1"])])
}

/// `/apis` in aggregated form: all other groups.
pub fn aggregated_groups(catalog: &Catalog) -> Value {
    aggregated(
        groups(catalog)
            .into_iter()
            .map(|(name, versions)| aggregated_group(catalog, name, &versions))
            .collect(),
    )
}

fn aggregated(items: Vec<Value>) -> Value {
    json!({ "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items })
}

fn aggregated_group(catalog: &Catalog, name: &str, versions: &[&str]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(|version| {
            let kinds = catalog.of(Some((name, version)));
            let resources: Vec<Value> = kinds.map(|r| aggregated_resource(r)).collect();
            json!({ "version": version, "resources": resources, "freshness": "Current" })
        })
        .collect();
    let metadata = if name.is_empty() {
        json!({ "creationTimestamp": null })
    } else {
        json!({ "name": name, "creationTimestamp": null })
    };
    json!({ "metadata": metadata, "versions": versions })
}

fn aggregated_resource(rules: &Rules) -> Value {
    let mut object = json!({
        "resource": rules.plural,
        "responseKind": { "group": rules.group, "version": rules.version, "kind": rules.kind },
        "scope": if rules.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": rules.singular,
        "verbs": verbs(rules.verbs),
    });
    if !rules.short_names.is_empty() {
        object["shortNames"] = json!(rules.short_names);
    }
    if !rules.categories.is_empty() {
        object["categories"] = json!(rules.categories);
    }
    if !rules.subresources.is_empty() {
        let subresources = rules.subresources.iter().map(|s| {
            json!({
                "subresource": s.name,
                "responseKind": { "group": s.group, "version": s.version, "kind": s.kind },
                "verbs": verbs(s.verbs),
            })
        });
        object["subresources"] = subresources.collect();
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_name_the_same_resources() {
        let catalog = Catalog::new([]);
        let core = api_resource_list(&catalog, "", "v1").expect("the core group is served");
        let resources = core["resources"].as_array().expect("there are resources");
        let names: Vec<&str> = resources.iter().filter_map(|r| r["name"].as_str()).collect();
        for name in [
            "pods",
            "pods/status",
            "pods/binding",
            "namespaces/finalize",
            "serviceaccounts/token",
            "nodes/status",
        ] {
            assert!(names.contains(&name), "{name}");
        }
        let aggregated = aggregated_core(&catalog);
        let both = aggregated["items"][0]["versions"][0]["resources"]
            .as_array()
            .expect("there are resources");
        assert_eq!(both.len(), names.iter().filter(|n| !n.contains('/')).count());
        let eviction = resources
            .iter()
            .find(|r| r["name"] == "pods/eviction")
            .expect("pods can be evicted");
        assert_eq!(
            (&eviction["group"], &eviction["version"], &eviction["kind"]),
            (&json!("policy"), &json!("v1"), &json!("Eviction"))
        );
        assert_eq!(api_resource_list(&catalog, "nobody.example", "v1"), None);
    }

    #[test]
    fn groups_have_their_versions() {
        let catalog = Catalog::new([]);
        let all = group_versions(&catalog);
        assert_eq!(all[0], ("", "v1"));
        assert!(all.contains(&("coordination.k8s.io", "v1")));
        let group = api_group(&catalog, "coordination.k8s.io").expect("leases are served");
        assert_eq!(
            group["preferredVersion"],
            json!({ "groupVersion": "coordination.k8s.io/v1", "version": "v1" })
        );
        let first = all[1].0;
        assert_eq!(api_group_list(&catalog)["groups"][0]["name"], first);
        assert_eq!(aggregated_groups(&catalog)["items"][0]["metadata"]["name"], first);
    }

    #[test]
    fn kinds_have_upstreams_hash_of_their_stored_form() {
        let catalog = Catalog::new([]);
        for (group, version, plural, hash) in [
            ("", "v1", "pods", "xPOwRZ+Yhw8="),
            ("apps", "v1", "deployments", "8aSe+NMegvE="),
            ("", "v1", "events", "r2yiGXH7wu8="),
            ("events.k8s.io", "v1", "events", "r2yiGXH7wu8="),
        ] {
            let list = api_resource_list(&catalog, group, version).expect("the group is served");
            let mut resources = list["resources"].as_array().expect("there are resources").iter();
            let found = resources.find(|resource| resource["name"] == plural);
            assert_eq!(
                found.map(|found| &found["storageVersionHash"]),
                Some(&json!(hash)),
                "{group} {plural}"
            );
        }
    }

    #[test]
    fn no_name_is_taken_twice() {
        let mut seen = std::collections::HashSet::new();
        for rules in crate::KINDS {
            for name in [rules.plural, rules.singular]
                .iter()
                .chain(&*rules.short_names)
                .collect::<std::collections::BTreeSet<_>>()
            {
                assert!(
                    seen.insert(format!("{}/{}/{name}", rules.group, rules.version)),
                    "{name}"
                );
            }
        }
    }
}
