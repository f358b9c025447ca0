//! RuntimeClass: a pod names one that exists, and takes over what it costs and where it can be run.

use super::cluster;
use crate::call::Call;
use api::quota::amounts;
use api::read;
use api::status::{self, Status};
use serde_json::{Value, json};

/// Looks up a new pod's class and takes over what it says.
pub(super) fn admit(call: &Call, pod: &mut Value) -> Result<(), Status> {
    let name = read::text(pod, "/spec/runtimeClassName").to_owned();
    let class = cluster::get(call, "node.k8s.io", "runtimeclasses", "", &name);
    let why = match (&class, name.is_empty()) {
        (None, true) => costs_refusal(pod, None),
        (None, false) => Some(format!("pod rejected: RuntimeClass {name:?} not found")),
        (Some(class), _) => costs_refusal(pod, Some(class)).or_else(|| place(pod, class)),
    };
    match why {
        Some(why) => Err(status::forbidden(&call.rules, api::metadata::name(pod), &why)),
        None => Ok(()),
    }
}

/// The pod's overhead is its class's, nothing else.
fn costs_refusal(pod: &mut Value, class: Option<&Value>) -> Option<String> {
    let defined = class.and_then(|class| read::some(class, "/overhead/podFixed"));
    let given = read::some(pod, "/spec/overhead").filter(|given| given.as_object().is_none_or(|map| !map.is_empty()));
    match (defined, given) {
        (None, Some(_)) => {
            Some("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead".to_owned())
        }
        (Some(_), Some(_)) => {
            let same =
                class.is_some_and(|class| amounts(class, "/overhead/podFixed") == amounts(pod, "/spec/overhead"));
            (!same).then(|| "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead".to_owned())
        }
        (Some(defined), None) => {
            pod["spec"]["overhead"] = defined.clone();
            None
        }
        (None, None) => None,
    }
}

/// The class's node selector and tolerations besides the pod's.
fn place(pod: &mut Value, class: &Value) -> Option<String> {
    for (key, value) in read::entries(class, "/scheduling/nodeSelector") {
        let mine = pod
            .pointer("/spec/nodeSelector")
            .and_then(|all| all.get(key))
            .filter(|mine| *mine != value);
        if let Some(mine) = mine {
            let (value, mine) = (value.as_str().unwrap_or_default(), mine.as_str().unwrap_or_default());
            return Some(format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; pod.spec.nodeSelector[{key}] = {mine}"
            ));
        }
        if !pod["spec"]["nodeSelector"].is_object() {
            pod["spec"]["nodeSelector"] = json!({});
        }
        pod["spec"]["nodeSelector"][key] = value.clone();
    }
    let mut tolerations = read::list(pod, "/spec/tolerations").to_vec();
    let more = read::list(class, "/scheduling/tolerations").iter();
    let more: Vec<Value> = more
        .filter(|toleration| !tolerations.contains(toleration))
        .cloned()
        .collect();
    if !more.is_empty() {
        tolerations.extend(more);
        pod["spec"]["tolerations"] = tolerations.into();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_and_places_are_taken_over_or_in_conflict() {
        let class = json!({
            "overhead": {"podFixed": {"cpu": "50m"}},
            "scheduling": {"nodeSelector": {"kind": "vm"}, "tolerations": [{"key": "vm", "operator": "Exists"}]},
        });
        let mut pod = json!({"spec": {"nodeSelector": {"a": "b"}}});
        assert_eq!(
            (costs_refusal(&mut pod, Some(&class)), place(&mut pod, &class)),
            (None, None)
        );
        let expected = json!({
            "nodeSelector": {"a": "b", "kind": "vm"}, "overhead": {"cpu": "50m"},
            "tolerations": [{"key": "vm", "operator": "Exists"}],
        });
        assert_eq!(pod["spec"], expected);
        assert_eq!(
            (costs_refusal(&mut pod, Some(&class)), place(&mut pod, &class)),
            (None, None)
        );
        assert_eq!(pod["spec"], expected, "a second time changes nothing");
        assert!(costs_refusal(&mut pod, None).is_some_and(|why| why.ends_with("RuntimeClass defined Overhead")));
        pod["spec"]["nodeSelector"]["kind"] = "metal".into();
        let why = "conflict: runtimeClass.scheduling.nodeSelector[kind] = vm; pod.spec.nodeSelector[kind] = metal";
        assert_eq!(place(&mut pod, &class).as_deref(), Some(why));
    }
}
