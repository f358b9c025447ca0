//! ComponentStatus: what upstream once said of its own parts; deprecated since v1.19 and empty here, since this control
//! plane is one process that either answers or does not.

use crate::{
    kind::{Column, Kind, Verb},
    metadata,
    read::{list, text},
};
use jiff::Timestamp;
use serde_json::Value;

/// `v1` ComponentStatus.
pub struct ComponentStatus;

impl Kind for ComponentStatus {
    const KIND: &'static str = "ComponentStatus";
    const PLURAL: &'static str = "componentstatuses";
    const SINGULAR: &'static str = "componentstatus";
    const SHORT_NAMES: &'static [&'static str] = &["cs"];
    const NAMESPACED: bool = false;
    const VERBS: &'static [Verb] = &[Verb::Get, Verb::List];
    const KEY: &'static str = "componentstatuses";
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow("Status", "string", "Healthy, or Unhealthy."),
        Column::narrow("Message", "string", "What it says of itself."),
        Column::narrow("Error", "string", "What went wrong."),
    ];
    type Object = k8s_openapi::api::core::v1::ComponentStatus;

    fn row(object: &Value, _now: Timestamp) -> Vec<Value> {
        let healthy = list(object, "/conditions")
            .iter()
            .find(|c| text(c, "/type") == "Healthy");
        let condition = healthy.unwrap_or(&Value::Null);
        let status = match text(condition, "/status") {
            "True" => "Healthy",
            "False" => "Unhealthy",
            _ => "Unknown",
        };
        vec![
            metadata::name(object).into(),
            status.into(),
            text(condition, "/message").into(),
            text(condition, "/error").into(),
        ]
    }
}
