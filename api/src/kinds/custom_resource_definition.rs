//! CustomResourceDefinition: a kind as an object. What it makes served is in [`crate::custom`].

mod columns;
mod schema;
mod spec;
mod structural;

use crate::{
    custom,
    field::FieldError,
    kind::{Column, Context, Kind, Subresource},
    metadata,
    read::{self, list, text},
};
use jiff::Timestamp;
use serde_json::{Value, json};

/// `apiextensions.k8s.io/v1` CustomResourceDefinition.
pub struct CustomResourceDefinition;

impl Kind for CustomResourceDefinition {
    const GROUP: &'static str = custom::GROUP;
    const KIND: &'static str = "CustomResourceDefinition";
    const PLURAL: &'static str = "customresourcedefinitions";
    const SINGULAR: &'static str = "customresourcedefinition";
    const SHORT_NAMES: &'static [&'static str] = &["crd", "crds"];
    const CATEGORIES: &'static [&'static str] = &["api-extensions"];
    const NAMESPACED: bool = false;
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::status(custom::GROUP, "v1", Self::KIND)];
    const KEY: &'static str = "customresourcedefinitions";
    const GENERATION: bool = true;
    const UNCONDITIONAL_UPDATE: bool = false;
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow("Created At", "date", "When the object was created."),
    ];
    type Object = k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

    fn default(definition: &mut Value) {
        let Some(spec) = definition.get_mut("spec") else { return };
        if let Some(names) = spec.get_mut("names") {
            let kind = text(names, "/kind").to_owned();
            if !kind.is_empty() {
                read::set_default_text(names, "singular", &kind.to_lowercase());
                read::set_default_text(names, "listKind", &format!("{kind}List"));
            }
        }
        read::set_default(spec, "conversion", json!({ "strategy": "None" }));
        let service = spec
            .pointer_mut("/conversion/webhook/clientConfig/service")
            .filter(|service| service.is_object());
        if let Some(service) = service {
            read::set_default(service, "port", 443);
        }
    }

    fn before_create(definition: &mut Value, _context: &Context<'_>) {
        let stored = custom::storage_version(definition);
        let stored: Vec<&str> = (!stored.is_empty()).then_some(stored).into_iter().collect();
        definition["status"] =
            json!({ "conditions": [], "acceptedNames": { "plural": "", "kind": "" }, "storedVersions": stored });
    }

    fn before_update(new: &mut Value, _old: &Value, context: &Context<'_>) {
        if !context.subresource.is_empty() {
            return;
        }
        let stored = custom::storage_version(new).to_owned();
        let known = list(new, "/status/storedVersions");
        if !stored.is_empty() && !known.iter().any(|version| *version == stored) {
            let mut known = known.to_vec();
            known.push(stored.into());
            new["status"]["storedVersions"] = known.into();
        }
    }

    fn validate(definition: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let name = metadata::name(definition);
        let wanted = format!(
            "{}.{}",
            text(definition, "/spec/names/plural"),
            text(definition, "/spec/group")
        );
        if name != wanted {
            let why = "must be spec.names.plural+\".\"+spec.group";
            errors.push(FieldError::invalid("metadata.name", name, why));
        }
        errors.extend(spec::errors(&definition["spec"]));
        errors.extend(approval(definition, None));
        errors
    }

    fn validate_update(new: &Value, old: &Value, subresource: &str) -> Vec<FieldError> {
        if subresource == "status" {
            return spec::name_errors(&new["status"]["acceptedNames"], "status.acceptedNames");
        }
        let mut errors = spec::errors(&new["spec"]);
        errors.extend(immutable(new, old));
        errors.extend(spec::name_errors(
            &new["status"]["acceptedNames"],
            "status.acceptedNames",
        ));
        errors.extend(stored_versions(new));
        errors.extend(approval(new, Some(old)));
        errors
    }

    fn row(definition: &Value, _now: Timestamp) -> Vec<Value> {
        let created = text(definition, "/metadata/creationTimestamp");
        vec![metadata::name(definition).into(), created.into()]
    }
}

fn immutable(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut fixed = vec!["group", "names.plural"];
    if custom::is_true(old, "Established") {
        fixed.extend(["scope", "names.kind"]);
    }
    let changed = fixed.into_iter().filter_map(|field| {
        let pointer = format!("/spec/{}", field.replace('.', "/"));
        let now = text(new, &pointer);
        (now != text(old, &pointer)).then(|| FieldError::invalid(format!("spec.{field}"), now, "field is immutable"))
    });
    changed.collect()
}

fn stored_versions(definition: &Value) -> Vec<FieldError> {
    const PATH: &str = "status.storedVersions";
    let stored = list(definition, "/status/storedVersions");
    if stored.is_empty() {
        let why = "must have at least one stored version";
        return vec![FieldError::invalid(PATH, stored.to_vec(), why)];
    }
    let mut errors = Vec::new();
    let written = custom::storage_version(definition);
    if !written.is_empty() && !stored.iter().any(|version| version == written) {
        let why = format!("must have the storage version {written}");
        errors.push(FieldError::invalid(PATH, stored.to_vec(), why));
    }
    for (at, version) in stored.iter().filter_map(Value::as_str).enumerate() {
        if list(definition, "/spec/versions")
            .iter()
            .all(|known| text(known, "/name") != version)
        {
            let why = format!(
                "missing from spec.versions; {version} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {version} and removes {version} from status.storedVersions"
            );
            errors.push(FieldError::invalid(format!("{PATH}[{at}]"), version, why));
        }
    }
    errors
}

/// Groups of the Kubernetes community need its word.
fn approval(definition: &Value, old: Option<&Value>) -> Vec<FieldError> {
    use custom::Approval;
    let state = custom::approval(definition);
    if old.is_some_and(|old| custom::approval(old) == state) {
        return Vec::new();
    }
    let path = format!("metadata.annotations[{}]", custom::APPROVED);
    match state {
        Approval::Invalid(why) => {
            let written = text(definition, "/metadata/annotations/api-approved.kubernetes.io");
            vec![FieldError::invalid(path, written, why)]
        }
        Approval::Missing(why) => vec![FieldError::required(path, why)],
        Approval::NotNeeded | Approval::Approved(_) | Approval::Bypassed(_) => Vec::new(),
    }
}
