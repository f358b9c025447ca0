//! The paths: every verb of every kind and subresource, with the parameters that clients look for.

use super::Dialect;
use crate::{
    catalog::Catalog,
    kind::{Subresource, Verb},
    patch::PatchKind,
    rules::Rules,
};
use serde_json::{Map, Value, json};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// The paths of one group-version or of all.
pub(super) fn of(catalog: &Catalog, dialect: Dialect, group_version: Option<(&str, &str)>) -> Map<String, Value> {
    let mut paths = Map::new();
    for rules in catalog.of(group_version) {
        let root = format!("/{}", super::path_of(rules.group, rules.version));
        let scope = if rules.namespaced {
            "/namespaces/{namespace}"
        } else {
            ""
        };
        let kind = Kind { dialect, rules };
        if rules.namespaced {
            let all = kind.item(&[("get", Verb::List, "list")], "ForAllNamespaces");
            paths.insert(format!("{root}/{}", rules.plural), all);
        }
        let collection = [
            ("get", Verb::List, "list"),
            ("post", Verb::Create, "post"),
            ("delete", Verb::DeleteCollection, "deletecollection"),
        ];
        paths.insert(format!("{root}{scope}/{}", rules.plural), kind.item(&collection, ""));
        let object = [
            ("get", Verb::Get, "get"),
            ("put", Verb::Update, "put"),
            ("patch", Verb::Patch, "patch"),
            ("delete", Verb::Delete, "delete"),
        ];
        let path = format!("{root}{scope}/{}/{{name}}", rules.plural);
        for sub in rules.subresources.iter() {
            paths.insert(format!("{path}/{}", sub.name), kind.subresource(sub));
        }
        paths.insert(path, kind.item(&object, ""));
    }
    paths.sort_keys();
    paths
}

struct Kind<'a> {
    dialect: Dialect,
    rules: &'a Rules,
}

impl Kind<'_> {
    /// One path with those of `methods` (HTTP method, verb, action) that the kind has.
    fn item(&self, methods: &[(&str, Verb, &str)], suffix: &str) -> Value {
        let mut item = Map::new();
        for (method, verb, action) in methods.iter().filter(|(_, verb, _)| self.rules.verbs.contains(verb)) {
            item.insert(
                (*method).to_owned(),
                self.operation(*verb, action, &self.rules.schema_name(), "", suffix),
            );
        }
        let named = methods.iter().any(|(method, ..)| *method == "put");
        item.insert("parameters".to_owned(), self.path_parameters(named, suffix.is_empty()));
        Value::Object(item)
    }

    /// One path below an object. What speaks a kind that has no schema here (exec, log) is a connect without bodies.
    fn subresource(&self, sub: &Subresource) -> Value {
        let schema = match sub.kind {
            kind if kind == self.rules.kind && sub.name != "log" => Some(self.rules.schema_name()),
            "Binding" => Some("io.k8s.api.core.v1.Binding".to_owned()),
            "Eviction" => Some("io.k8s.api.policy.v1.Eviction".to_owned()),
            "TokenRequest" => Some("io.k8s.api.authentication.v1.TokenRequest".to_owned()),
            _ => None,
        };
        let mut item = Map::new();
        for verb in sub.verbs {
            let (method, action) = match verb {
                Verb::Create => ("post", "post"),
                Verb::Get => ("get", "get"),
                Verb::Update => ("put", "put"),
                Verb::Patch => ("patch", "patch"),
                Verb::Delete if schema.is_none() => ("delete", "delete"),
                Verb::Delete | Verb::DeleteCollection | Verb::List | Verb::Watch => continue,
            };
            let mut operation = match &schema {
                Some(schema) => self.operation(*verb, action, schema, sub.name, ""),
                None => self.connect(method, sub),
            };
            operation["x-kubernetes-group-version-kind"] =
                json!({ "group": sub.group, "kind": sub.kind, "version": sub.version });
            item.insert(method.to_owned(), operation);
        }
        item.insert("parameters".to_owned(), self.path_parameters(true, true));
        Value::Object(item)
    }

    fn connect(&self, method: &str, sub: &Subresource) -> Value {
        json!({
            "operationId": format!("connect{}{}{}", capital(method), self.long_name(), capital(sub.name)),
            "tags": [self.tag()],
            "responses": { "200": { "description": "OK" } },
            "x-kubernetes-action": "connect",
        })
    }

    fn operation(&self, verb: Verb, action: &str, schema: &str, sub: &str, suffix: &str) -> Value {
        let word = match verb {
            Verb::Create => "create",
            Verb::Delete => "delete",
            Verb::DeleteCollection => "deleteCollection",
            Verb::Get => "read",
            Verb::List | Verb::Watch => "list",
            Verb::Patch => "patch",
            Verb::Update => "replace",
        };
        let answer = match verb {
            Verb::Delete | Verb::DeleteCollection => format!("{META}.Status"),
            Verb::List | Verb::Watch => self.rules.list_schema_name(),
            Verb::Create | Verb::Get | Verb::Patch | Verb::Update => schema.to_owned(),
        };
        let body = match verb {
            Verb::Create | Verb::Update => Some(schema.to_owned()),
            Verb::Patch => Some(format!("{META}.Patch")),
            Verb::Delete | Verb::DeleteCollection => Some(format!("{META}.DeleteOptions")),
            Verb::Get | Verb::List | Verb::Watch => None,
        };
        let mut operation = json!({
            "operationId": format!("{word}{}{}{suffix}", self.long_name(), capital(sub)),
            "tags": [self.tag()],
            "parameters": self.query_parameters(verb),
            "responses": { "200": self.response(&answer) },
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind":
                { "group": self.rules.group, "kind": self.rules.kind, "version": self.rules.version },
        });
        if let Some(body) = body {
            self.set_body(&mut operation, verb, &body);
        }
        operation
    }

    fn response(&self, schema: &str) -> Value {
        let reference = self.dialect.reference(schema);
        match self.dialect {
            Dialect::V2 => json!({ "description": "OK", "schema": reference }),
            Dialect::V3 => json!({ "description": "OK", "content": { "application/json": { "schema": reference } } }),
        }
    }

    fn set_body(&self, operation: &mut Value, verb: Verb, schema: &str) {
        let reference = self.dialect.reference(schema);
        let media = if verb == Verb::Patch {
            PatchKind::media_types(self.rules)
        } else {
            &["application/json", "application/yaml"]
        };
        match self.dialect {
            Dialect::V2 => {
                operation["consumes"] = json!(media);
                let body = json!({ "name": "body", "in": "body", "schema": reference });
                if let Some(parameters) = operation["parameters"].as_array_mut() {
                    parameters.push(body);
                }
            }
            Dialect::V3 => {
                let content: Map<String, Value> = media
                    .iter()
                    .map(|m| ((*m).to_owned(), json!({ "schema": reference })))
                    .collect();
                operation["requestBody"] = json!({ "content": content });
            }
        }
    }

    fn parameter(&self, name: &str, place: &str, kind: &str, description: &str) -> Value {
        let mut parameter = json!({ "name": name, "in": place, "description": description });
        match self.dialect {
            Dialect::V2 => parameter["type"] = kind.into(),
            Dialect::V3 => parameter["schema"] = json!({ "type": kind, "uniqueItems": true }),
        }
        if place == "path" {
            parameter["required"] = true.into();
        }
        parameter
    }

    fn path_parameters(&self, named: bool, scoped: bool) -> Value {
        let mut parameters = Vec::new();
        if named {
            parameters.push(self.parameter("name", "path", "string", &format!("name of the {}", self.rules.kind)));
        }
        if self.rules.namespaced && scoped {
            parameters.push(self.parameter("namespace", "path", "string", "the namespace to look in"));
        }
        parameters.push(self.parameter("pretty", "query", "string", "whether the answer is indented"));
        parameters.into()
    }

    fn query_parameters(&self, verb: Verb) -> Value {
        let all: &[(&str, &str, &str)] = match verb {
            Verb::Create | Verb::Update => WRITE,
            Verb::Patch => PATCH,
            Verb::Delete => DELETE,
            Verb::List | Verb::Watch | Verb::DeleteCollection => LIST,
            Verb::Get => &[],
        };
        all.iter()
            .map(|(name, kind, description)| self.parameter(name, "query", kind, description))
            .collect()
    }

    /// `CoreV1NamespacedPod`.
    fn long_name(&self) -> String {
        let scope = if self.rules.namespaced { "Namespaced" } else { "" };
        let group = self
            .rules
            .group
            .split('.')
            .next()
            .filter(|g| !g.is_empty())
            .unwrap_or("core");
        format!(
            "{}{}{scope}{}",
            capital(group),
            capital(self.rules.version),
            self.rules.kind
        )
    }

    /// `core_v1`.
    fn tag(&self) -> String {
        let group = self
            .rules
            .group
            .split('.')
            .next()
            .filter(|g| !g.is_empty())
            .unwrap_or("core");
        format!("{group}_{}", self.rules.version)
    }
}

const DRY_RUN: (&str, &str, &str) = ("dryRun", "string", "All: do everything but the write itself");
const FIELD_MANAGER: (&str, &str, &str) = (
    "fieldManager",
    "string",
    "who is to own the fields that this write sets",
);
const FIELD_VALIDATION: (&str, &str, &str) = (
    "fieldValidation",
    "string",
    "what to do about unknown and duplicate fields: Ignore, Warn or Strict",
);
const WRITE: &[(&str, &str, &str)] = &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION];
const PATCH: &[(&str, &str, &str)] = &[
    DRY_RUN,
    FIELD_MANAGER,
    FIELD_VALIDATION,
    (
        "force",
        "boolean",
        "take over fields that others own; only for server-side apply",
    ),
];
const DELETE: &[(&str, &str, &str)] = &[
    DRY_RUN,
    (
        "gracePeriodSeconds",
        "integer",
        "seconds until the object is deleted; 0 is at once",
    ),
    ("orphanDependents", "boolean", "deprecated, use propagationPolicy"),
    (
        "propagationPolicy",
        "string",
        "what becomes of dependents: Orphan, Background or Foreground",
    ),
];
const LIST: &[(&str, &str, &str)] = &[
    ("allowWatchBookmarks", "boolean", "whether a watch may send bookmarks"),
    ("continue", "string", "where the next page begins, from the page before"),
    ("fieldSelector", "string", "only objects whose fields satisfy it"),
    ("labelSelector", "string", "only objects whose labels satisfy it"),
    ("limit", "integer", "how many objects a page has at most"),
    ("resourceVersion", "string", "which revision to read from"),
    (
        "resourceVersionMatch",
        "string",
        "how resourceVersion is meant: Exact or NotOlderThan",
    ),
    (
        "sendInitialEvents",
        "boolean",
        "whether a watch begins with the objects that are there",
    ),
    ("timeoutSeconds", "integer", "when the call ends at the latest"),
    ("watch", "boolean", "stream changes instead of a list"),
];

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars
        .next()
        .map(|first| first.to_ascii_uppercase().to_string() + chars.as_str())
        .unwrap_or_default()
}
