//! A custom resource to try things on: its definition, its objects, and the wait until it is served.

use super::{Cluster, eventually, get, post, text};
use serde_json::{Value, json};

pub const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
pub const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";

/// A definition with everything that the tests look at.
pub fn definition() -> Value {
    let schema = json!({ "type": "object", "description": "A widget.", "properties": {
        "spec": { "type": "object", "required": ["size"], "properties": {
            "size": { "type": "integer", "minimum": 1, "description": "How large it is." },
            "color": { "type": "string", "default": "grey", "enum": ["grey", "red"] },
            "tags": { "type": "array", "items": { "type": "string" }, "x-kubernetes-list-type": "set" },
            "any": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
            "port": { "x-kubernetes-int-or-string": true },
            "template": { "type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true },
        } },
        "status": { "type": "object", "properties": { "size": { "type": "integer" }, "selector": { "type": "string" } } },
    } });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "widgets.example.com" },
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": { "plural": "widgets", "kind": "Widget", "shortNames": ["wd"], "categories": ["all"] },
            "versions": [
                {
                    "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": schema },
                    "subresources": { "status": {}, "scale": {
                        "specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size", "labelSelectorPath": ".status.selector",
                    } },
                    "additionalPrinterColumns": [
                        { "name": "Size", "type": "integer", "jsonPath": ".spec.size", "description": "How large." },
                        { "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp" },
                    ],
                    "selectableFields": [{ "jsonPath": ".spec.color" }],
                },
                {
                    "name": "v1beta1", "served": true, "storage": false, "deprecated": true,
                    "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
                },
            ],
        },
    })
}

/// A widget.
pub fn widget(name: &str, spec: &Value) -> Value {
    json!({ "apiVersion": "example.com/v1", "kind": "Widget", "metadata": { "name": name }, "spec": spec })
}

/// Makes a definition and waits until it is established.
pub async fn establish(cluster: &Cluster, definition: &Value) {
    let admin = cluster.admin();
    let made = post(&admin, DEFINITIONS, definition).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let name = text(definition, "/metadata/name");
    eventually(&format!("{name} is established"), async || {
        let found = get(&admin, &format!("{DEFINITIONS}/{name}")).await;
        condition(&found.body, "Established") == "True"
    })
    .await;
}

/// The status of a condition, or empty.
pub fn condition(definition: &Value, kind: &str) -> String {
    let conditions = definition["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let found = conditions.iter().find(|condition| condition["type"] == kind);
    found.map(|found| text(found, "/status")).unwrap_or_default()
}
