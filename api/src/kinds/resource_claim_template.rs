//! ResourceClaimTemplate: out of which a pod's ResourceClaims are made.

use super::device_rules::{self, GROUP};
use crate::{
    at::{root, some_mut},
    field::FieldError,
    kind::Kind,
    metadata,
};
use serde_json::Value;

/// `resource.k8s.io/v1` ResourceClaimTemplate.
pub struct ResourceClaimTemplate;

impl Kind for ResourceClaimTemplate {
    const GROUP: &'static str = GROUP;
    const KIND: &'static str = "ResourceClaimTemplate";
    const PLURAL: &'static str = "resourceclaimtemplates";
    const SINGULAR: &'static str = "resourceclaimtemplate";
    const KEY: &'static str = "resourceclaimtemplates";
    type Object = k8s_openapi::api::resource::v1::ResourceClaimTemplate;

    fn default(template: &mut Value) {
        some_mut(template, "/spec/spec", device_rules::default_claim);
    }

    fn validate(template: &Value) -> Vec<FieldError> {
        let spec = root(template).child("spec");
        let inner = spec.child("metadata");
        let mut errors = metadata::labels(inner.value.get("labels"), &inner.path("labels"));
        let annotations = inner.value.get("annotations");
        errors.extend(metadata::annotations(annotations, &inner.path("annotations")));
        errors.extend(device_rules::claim(&spec.child("spec")));
        errors
    }

    fn validate_update(new: &Value, old: &Value, _subresource: &str) -> Vec<FieldError> {
        let changed = root(new).immutable(old, "spec");
        changed.into_iter().chain(Self::validate(new)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn templates_are_judged_like_claims_and_stay() {
        let template = |class: &str| {
            let request = json!({ "name": "r", "exactly": { "deviceClassName": class } });
            let mut template = json!({ "spec": { "spec": { "devices": { "requests": [request] } } } });
            ResourceClaimTemplate::default(&mut template);
            template
        };
        assert_eq!(ResourceClaimTemplate::validate(&template("x")), []);
        let errors = ResourceClaimTemplate::validate(&template(""));
        assert_eq!(errors[0].field, "spec.spec.devices.requests[0].exactly.deviceClassName");
        let changed = ResourceClaimTemplate::validate_update(&template("y"), &template("x"), "");
        assert_eq!(
            (changed[0].field.as_str(), changed[0].detail.as_str()),
            ("spec", "field is immutable")
        );
    }
}
