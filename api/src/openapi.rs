//! OpenAPI documents, v3 a group-version and v2 whole, built when they are asked for: their texts are too large to keep.

mod paths;
mod schemas;

use crate::{catalog::Catalog, discovery};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// The Kubernetes version whose API this is.
pub const KUBERNETES_VERSION: &str = "v1.36.0";

/// The two forms of the same facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    V2,
    V3,
}

impl Dialect {
    /// What a reference to a component begins with.
    fn prefix(self) -> &'static str {
        match self {
            Dialect::V2 => "#/definitions/",
            Dialect::V3 => "#/components/schemas/",
        }
    }

    pub(crate) fn reference(self, component: &str) -> Value {
        json!({ "$ref": format!("{}{component}", self.prefix()) })
    }
}

/// `/openapi/v3`: where each group-version's document is. The hash in its address changes when the document does, so
/// clients keep what they have; the first call builds every document once to know the hashes.
pub fn v3_index(catalog: &Catalog) -> Value {
    static BUILT_IN: OnceLock<HashMap<String, u64>> = OnceLock::new();
    let hash = |catalog: &Catalog, group, version| {
        Some((
            path_of(group, version),
            fnv1a(v3_document(catalog, group, version)?.as_bytes()),
        ))
    };
    let all = |catalog: &Catalog| discovery::group_versions(catalog);
    let hashes = catalog.hashes.get_or_init(|| {
        let built_in = BUILT_IN.get_or_init(|| {
            let catalog = Catalog::new([]);
            all(&catalog)
                .into_iter()
                .filter_map(|(g, v)| hash(&catalog, g, v))
                .collect()
        });
        let known = |group, version| {
            let path = path_of(group, version);
            let is_custom = catalog.of(Some((group, version))).any(|rules| rules.is_custom());
            built_in.get(&path).filter(|_| !is_custom).map(|hash| (path, *hash))
        };
        all(catalog)
            .into_iter()
            .filter_map(|(g, v)| known(g, v).or_else(|| hash(catalog, g, v)))
            .collect()
    });
    let address =
        |path: &str, hash: u64| json!({ "serverRelativeURL": format!("/openapi/v3/{path}?hash={hash:016X}") });
    let paths: serde_json::Map<String, Value> = hashes
        .iter()
        .map(|(path, hash)| (path.clone(), address(path, *hash)))
        .collect();
    json!({ "paths": paths })
}

/// `api/v1` or `apis/GROUP/VERSION`.
fn path_of(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}

/// `/openapi/v3/api/v1` or `/openapi/v3/apis/GROUP/VERSION` as JSON, or none where nothing is served there. About half a
/// megabyte for the core group; keep the text only as long as an answer takes.
pub fn v3_document(catalog: &Catalog, group: &str, version: &str) -> Option<Arc<str>> {
    if !discovery::group_versions(catalog).contains(&(group, version)) {
        return None;
    }
    let document = json!({
        "openapi": "3.0.0",
        "info": info(),
        "paths": paths::of(catalog, Dialect::V3, Some((group, version))),
        "components": { "schemas": schemas::of(catalog, Dialect::V3, Some((group, version))) },
    });
    Some(document.to_string().into())
}

/// `/openapi/v2` as JSON: all group-versions in one.
pub fn v2_document(catalog: &Catalog) -> Arc<str> {
    let document = json!({
        "swagger": "2.0",
        "info": info(),
        "paths": paths::of(catalog, Dialect::V2, None),
        "definitions": schemas::of(catalog, Dialect::V2, None),
    });
    let text = document.to_string();
    catalog.v2_hash.get_or_init(|| fnv1a(text.as_bytes()));
    text.into()
}

/// What stands for [`v2_document`]'s text, once that was made.
pub fn v2_hash(catalog: &Catalog) -> Option<u64> {
    catalog.v2_hash.get().copied()
}

/// What stands for [`v3_document`]'s text, once the index was made.
pub fn v3_hash(catalog: &Catalog, group: &str, version: &str) -> Option<u64> {
    let path = path_of(group, version);
    let (_, hash) = catalog.hashes.get()?.iter().find(|(known, _)| *known == path)?;
    Some(*hash)
}

fn info() -> Value {
    json!({ "title": "Kubernetes", "version": KUBERNETES_VERSION })
}

/// FNV-1a, 64 bits: a stable hash for cache keys, not for security.
pub fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(group: &str, version: &str) -> Value {
        let text = v3_document(&Catalog::new([]), group, version).expect("the group-version is served");
        serde_json::from_str(&text).expect("a document is JSON")
    }

    /// Every `$ref` in a document, followed.
    fn dangling(document: &Value, at: &Value, found: &mut Vec<String>) {
        match at {
            Value::Object(map) => {
                if let Some(target) = map.get("$ref").and_then(Value::as_str)
                    && target
                        .strip_prefix('#')
                        .is_none_or(|pointer| document.pointer(pointer).is_none())
                {
                    found.push(target.to_owned());
                }
                map.values().for_each(|value| dangling(document, value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| dangling(document, value, found)),
            _ => {}
        }
    }

    #[test]
    fn no_reference_leads_nowhere() {
        let v2: Value = serde_json::from_str(&v2_document(&Catalog::new([]))).expect("the document is JSON");
        let all = discovery::group_versions(&Catalog::new([]))
            .into_iter()
            .map(|(group, version)| document(group, version))
            .chain([v2]);
        for document in all {
            let mut found = Vec::new();
            dangling(&document, &document, &mut found);
            assert_eq!(found, Vec::<String>::new());
        }
    }

    #[test]
    fn the_index_names_every_group_version_with_the_hash_of_its_document() {
        let index = v3_index(&Catalog::new([]));
        let address = index["paths"]["apis/coordination.k8s.io/v1"]["serverRelativeURL"]
            .as_str()
            .unwrap_or_default();
        let text = v3_document(&Catalog::new([]), "coordination.k8s.io", "v1").expect("leases are served");
        assert_eq!(
            address,
            format!(
                "/openapi/v3/apis/coordination.k8s.io/v1?hash={:016X}",
                fnv1a(text.as_bytes())
            )
        );
        assert!(index["paths"]["api/v1"].is_object());
        assert_eq!(v3_document(&Catalog::new([]), "nobody.example", "v1"), None);
    }

    #[test]
    fn kubectl_finds_what_it_looks_for() {
        let core = document("", "v1");
        let patch = &core["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"];
        assert_eq!(
            patch["x-kubernetes-group-version-kind"],
            json!({ "group": "", "kind": "Pod", "version": "v1" })
        );
        assert_eq!(patch["x-kubernetes-action"], "patch");
        for name in ["dryRun", "fieldManager", "fieldValidation", "force"] {
            let parameters = patch["parameters"].as_array().expect("a patch has parameters");
            assert!(
                parameters.iter().any(|p| p["name"] == name && p["in"] == "query"),
                "{name}"
            );
        }
        assert!(patch["requestBody"]["content"]["application/strategic-merge-patch+json"].is_object());
        let spec = &core["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"];
        assert_eq!(spec["containers"]["x-kubernetes-patch-merge-key"], "name");
        assert_eq!(spec["containers"]["x-kubernetes-list-type"], "map");
        assert_eq!(spec["containers"]["x-kubernetes-list-map-keys"], json!(["name"]));
        let pod = &core["components"]["schemas"]["io.k8s.api.core.v1.Pod"];
        assert_eq!(pod["x-kubernetes-group-version-kind"][0]["kind"], "Pod");
        assert!(core["components"]["schemas"]["io.k8s.api.core.v1.PodList"]["properties"]["items"].is_object());
    }
}
