//! PodTemplate: a pod template that stands alone.

use super::template;
use crate::{
    field::FieldError,
    kind::{Column, Kind},
    metadata, selector,
};
use jiff::Timestamp;
use serde_json::Value;

/// `v1` PodTemplate.
pub struct PodTemplate;

impl Kind for PodTemplate {
    const KIND: &'static str = "PodTemplate";
    const PLURAL: &'static str = "podtemplates";
    const SINGULAR: &'static str = "podtemplate";
    const KEY: &'static str = "podtemplates";
    const GENERATION: bool = true;
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow("Containers", "string", "Names of its containers."),
        Column::narrow("Images", "string", "Images of its containers."),
        Column::narrow("Pod Labels", "string", "The labels of its pods."),
    ];
    type Object = k8s_openapi::api::core::v1::PodTemplate;

    fn default(object: &mut Value) {
        template::default_template(object);
    }

    fn validate(object: &Value) -> Vec<FieldError> {
        template::validate(&object["template"], "template")
    }

    fn validate_update(new: &Value, _old: &Value, _subresource: &str) -> Vec<FieldError> {
        Self::validate(new)
    }

    fn row(object: &Value, _now: Timestamp) -> Vec<Value> {
        let [containers, images] = template::cells(&object["template"]);
        vec![
            metadata::name(object).into(),
            containers,
            images,
            selector::labels_shown(&object["template"]["metadata"]["labels"]).into(),
        ]
    }
}
