//! NodeMetrics and PodMetrics: what nodes and pods use just now, measured when somebody asks; never stored
//! (k8s.io/metrics, pkg/apis/metrics/v1beta1).

use crate::kind::{Column, Kind, Verb};
use crate::metadata;
use crate::quantity::Quantity;
use crate::read::{list, text};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::api::resource;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};
use std::borrow::Cow;

/// `metrics.k8s.io/v1beta1` NodeMetrics.
pub struct NodeMetrics;

/// `metrics.k8s.io/v1beta1` PodMetrics.
pub struct PodMetrics;

/// The shape of a NodeMetrics, written by hand because k8s-openapi has no type of it.
pub struct NodeShape;

/// The shape of a PodMetrics.
pub struct PodShape;

/// The shape of one container in a PodMetrics.
struct ContainerShape;

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::narrow("cpu", "string", "CPU used, in cores, over the window."),
    Column::narrow("memory", "string", "Working set of memory."),
    Column::narrow("Window", "string", "How long was measured."),
];

impl Kind for NodeMetrics {
    const GROUP: &'static str = "metrics.k8s.io";
    const VERSION: &'static str = "v1beta1";
    const KIND: &'static str = "NodeMetrics";
    const PLURAL: &'static str = "nodes";
    const SINGULAR: &'static str = "nodemetrics";
    const NAMESPACED: bool = false;
    const VERBS: &'static [Verb] = &[Verb::Get, Verb::List];
    const KEY: &'static str = "metrics.k8s.io/nodes";
    const COLUMNS: &'static [Column] = COLUMNS;
    type Object = NodeShape;

    fn row(object: &Value, _now: Timestamp) -> Vec<Value> {
        let usage = |name: &str| text(object, &format!("/usage/{name}")).to_owned();
        row(object, usage("cpu"), usage("memory"))
    }
}

impl Kind for PodMetrics {
    const GROUP: &'static str = "metrics.k8s.io";
    const VERSION: &'static str = "v1beta1";
    const KIND: &'static str = "PodMetrics";
    const PLURAL: &'static str = "pods";
    const SINGULAR: &'static str = "podmetrics";
    const VERBS: &'static [Verb] = &[Verb::Get, Verb::List];
    const KEY: &'static str = "metrics.k8s.io/pods";
    const COLUMNS: &'static [Column] = COLUMNS;
    type Object = PodShape;

    fn row(object: &Value, _now: Timestamp) -> Vec<Value> {
        let containers = list(object, "/containers");
        let quantities = |name: &str| {
            let all = containers.iter().map(|container| &container["usage"][name]);
            all.filter_map(Quantity::of).collect::<Vec<_>>()
        };
        let cpu: i64 = quantities("cpu").into_iter().map(Quantity::millis).sum();
        let memory: i64 = quantities("memory").into_iter().map(Quantity::units).sum();
        row(object, format!("{cpu}m"), format!("{}Ki", memory / 1024))
    }
}

fn row(object: &Value, cpu: String, memory: String) -> Vec<Value> {
    let window = text(object, "/window");
    vec![metadata::name(object).into(), cpu.into(), memory.into(), window.into()]
}

/// An object with these fields besides `apiVersion`, `kind` and `metadata`.
fn object(generator: &mut SchemaGenerator, what: &str, own: (&str, Value)) -> Schema {
    let text = |about: &str| json!({"type": "string", "description": about});
    let meta = generator.subschema_for::<ObjectMeta>();
    let time = generator.subschema_for::<Time>();
    let mut schema = json!({
        "type": "object", "description": what,
        "properties": {
            "apiVersion": text("The version of this representation."),
            "kind": text("The kind of this object."),
            "metadata": meta,
            "timestamp": time,
            "window": text("How long was measured, up to the timestamp, such as 15s."),
        },
        "required": ["timestamp", "window", own.0],
    });
    schema["properties"][own.0] = own.1;
    schema.try_into().expect("it is a schema because it is an object")
}

/// Quantities by the names of resources.
fn amounts(generator: &mut SchemaGenerator) -> Value {
    let quantity = generator.subschema_for::<resource::Quantity>();
    json!({"type": "object", "description": "What is used of cpu and memory.", "additionalProperties": quantity})
}

impl JsonSchema for NodeShape {
    fn schema_name() -> Cow<'static, str> {
        "io.k8s.metrics.pkg.apis.metrics.v1beta1.NodeMetrics".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let usage = amounts(generator);
        object(generator, "What a node uses.", ("usage", usage))
    }
}

impl JsonSchema for PodShape {
    fn schema_name() -> Cow<'static, str> {
        "io.k8s.metrics.pkg.apis.metrics.v1beta1.PodMetrics".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let container = generator.subschema_for::<ContainerShape>();
        let containers = json!({"type": "array", "description": "What its containers use.", "items": container});
        object(generator, "What a pod uses.", ("containers", containers))
    }
}

impl JsonSchema for ContainerShape {
    fn schema_name() -> Cow<'static, str> {
        "io.k8s.metrics.pkg.apis.metrics.v1beta1.ContainerMetrics".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let usage = amounts(generator);
        let schema = json!({
            "type": "object", "description": "What a container uses.",
            "properties": {"name": {"type": "string", "description": "The container's name."}, "usage": usage},
            "required": ["name", "usage"],
        });
        schema.try_into().expect("it is a schema because it is an object")
    }
}
