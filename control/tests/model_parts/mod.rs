//! What the model test is made of.

pub mod client;
pub mod history;
pub mod random;
pub mod watcher;

use serde_json::Value;

/// Where everything happens.
pub const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// The objects; few, so that clients meet.
pub const NAMES: [&str; 6] = ["m0", "m1", "m2", "m3", "m4", "m5"];

/// Name, revision and stamp of an object.
pub fn brief(object: &Value) -> (String, u64, String) {
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let revision = text("/metadata/resourceVersion").parse().unwrap_or_default();
    (text("/metadata/name"), revision, text("/data/stamp"))
}
