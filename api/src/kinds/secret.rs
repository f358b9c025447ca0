//! Secret: a ConfigMap for what must not be seen; its type says which keys it must have.

use super::config_map::{MAX_SIZE, immutable};
use crate::{
    field::FieldError,
    kind::{Column, Kind, SelectableField},
    metadata, names,
    read::{self, entries, text},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::Value;

const ACCOUNT: &str = "kubernetes.io/service-account.name";

/// `v1` Secret.
pub struct Secret;

impl Kind for Secret {
    const KIND: &'static str = "Secret";
    const PLURAL: &'static str = "secrets";
    const SINGULAR: &'static str = "secret";
    const KEY: &'static str = "secrets";
    const SEALED: bool = true;
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow("Type", "string", "What the secret is for."),
        Column::narrow("Data", "integer", "The number of keys."),
        Column::AGE,
    ];
    const FIELDS: &'static [SelectableField] = &[SelectableField {
        label: "type",
        read: |secret| text(secret, "/type").to_owned(),
    }];
    type Object = k8s_openapi::api::core::v1::Secret;

    fn default(secret: &mut Value) {
        read::set_default_text(secret, "type", "Opaque");
        // `stringData` is only a way of writing: it goes into `data`.
        let Some(Value::Object(plain)) = secret.as_object_mut().and_then(|s| s.shift_remove("stringData")) else {
            return;
        };
        let Some(data) = read::map_mut(secret, "data") else {
            return;
        };
        for (key, value) in &plain {
            data.insert(key.clone(), STANDARD.encode(value.as_str().unwrap_or_default()).into());
        }
    }

    fn validate(secret: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut size = 0;
        for (key, value) in entries(secret, "/data") {
            let wrong = names::config_key(key);
            errors.extend(
                wrong
                    .into_iter()
                    .map(|m| FieldError::invalid(format!("data[{key}]"), key, m)),
            );
            size += value.as_str().map_or(0, str::len) / 4 * 3;
        }
        if size > MAX_SIZE {
            errors.push(FieldError::too_long("data", MAX_SIZE));
        }
        by_type(secret, &mut errors);
        errors
    }

    fn validate_update(new: &Value, old: &Value, _subresource: &str) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let kind = text(new, "/type");
        if kind != text(old, "/type") {
            errors.push(FieldError::invalid("type", kind, "field is immutable"));
        }
        errors.extend(immutable(new, old, &["data"]));
        errors.extend(Self::validate(new));
        errors
    }

    fn row(secret: &Value, now: Timestamp) -> Vec<Value> {
        let count = entries(secret, "/data").count();
        vec![
            metadata::name(secret).into(),
            text(secret, "/type").into(),
            count.into(),
            metadata::age(secret, now).into(),
        ]
    }
}

/// The keys that a type needs.
fn by_type(secret: &Value, errors: &mut Vec<FieldError>) {
    let data = |key: &str| {
        entries(secret, "/data")
            .find(|(k, _)| *k == key)
            .map(|(_, v)| v.as_str().unwrap_or_default())
    };
    let kind = text(secret, "/type");
    let required: &[&str] = match kind {
        "kubernetes.io/service-account-token" => {
            if entries(secret, "/metadata/annotations").all(|(key, _)| key != ACCOUNT) {
                errors.push(FieldError::required(format!("metadata.annotations[{ACCOUNT}]"), ""));
            }
            &[]
        }
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/basic-auth" if data("username").is_none() && data("password").is_none() => {
            &["username", "password"]
        }
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        _ => &[],
    };
    for key in required {
        let field = format!("data[{key}]");
        match data(key) {
            None => errors.push(FieldError::required(field, "")),
            Some("") if *key == "ssh-privatekey" => errors.push(FieldError::required(field, "")),
            Some(encoded) if key.starts_with(".docker") => {
                let bytes = STANDARD.decode(encoded).unwrap_or_default();
                if let Err(error) = serde_json::from_slice::<Value>(&bytes) {
                    errors.push(FieldError::invalid(
                        field,
                        "<secret contents redacted>",
                        error.to_string(),
                    ));
                }
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn string_data_goes_into_data_and_the_type_is_opaque() {
        let mut secret = json!({ "stringData": { "a": "b" }, "data": { "c": "ZA==" } });
        Secret::default(&mut secret);
        assert_eq!(
            secret,
            json!({ "data": { "c": "ZA==", "a": "Yg==" }, "type": "Opaque" })
        );
    }

    #[test]
    fn types_need_their_keys() {
        for (kind, data, fields) in [
            ("Opaque", json!({}), vec![]),
            ("example.com/own", json!({}), vec![]),
            ("kubernetes.io/tls", json!({ "tls.crt": "" }), vec!["data[tls.key]"]),
            (
                "kubernetes.io/basic-auth",
                json!({}),
                vec!["data[username]", "data[password]"],
            ),
            ("kubernetes.io/basic-auth", json!({ "password": "" }), vec![]),
            (
                "kubernetes.io/dockerconfigjson",
                json!({ ".dockerconfigjson": "eA==" }),
                vec!["data[.dockerconfigjson]"],
            ),
            (
                "kubernetes.io/dockerconfigjson",
                json!({ ".dockerconfigjson": "e30=" }),
                vec![],
            ),
            ("kubernetes.io/ssh-auth", json!({}), vec!["data[ssh-privatekey]"]),
            (
                "kubernetes.io/service-account-token",
                json!({}),
                vec!["metadata.annotations[kubernetes.io/service-account.name]"],
            ),
        ] {
            let errors = Secret::validate(&json!({ "type": kind, "data": data }));
            assert_eq!(
                errors.iter().map(|e| e.field.as_str()).collect::<Vec<_>>(),
                fields,
                "{kind}"
            );
        }
    }

    #[test]
    fn the_type_stays() {
        let errors = Secret::validate_update(&json!({ "type": "a/b" }), &json!({ "type": "Opaque" }), "");
        assert_eq!(
            errors[0].to_string(),
            "type: Invalid value: \"a/b\": field is immutable"
        );
    }
}
