//! Which container of a pod is meant (upstream: registry/core/pod/strategy.go `validateContainer`).

use api::status::{self, Status};
use api::{metadata, read};
use serde_json::Value;

/// Written by people who mean one of several.
const DEFAULT: &str = "kubectl.kubernetes.io/default-container";

/// The container of that name, or the only one.
pub(super) fn choose(pod: &Value, asked: &str) -> Result<String, Status> {
    let names = |pointer| -> Vec<&str> {
        read::list(pod, pointer)
            .iter()
            .map(|c| read::text(c, "/name"))
            .collect()
    };
    let (own, init, ephemeral) = (
        names("/spec/containers"),
        names("/spec/initContainers"),
        names("/spec/ephemeralContainers"),
    );
    let name = metadata::name(pod);
    let all = || own.iter().chain(&init).chain(&ephemeral);
    if !asked.is_empty() {
        return match all().any(|known| *known == asked) {
            true => Ok(asked.to_owned()),
            false => Err(status::bad_request(format!(
                "container {asked} is not valid for pod {name}"
            ))),
        };
    }
    let default = pod
        .pointer("/metadata/annotations")
        .and_then(|a| a.get(DEFAULT))
        .and_then(Value::as_str);
    match (own.as_slice(), default) {
        (_, Some(default)) if all().any(|known| *known == default) => Ok(default.to_owned()),
        ([only], _) => Ok((*only).to_owned()),
        _ => {
            let mut sentence = format!(
                "a container name must be specified for pod {name}, choose one of: [{}]",
                own.join(" ")
            );
            if !init.is_empty() {
                sentence.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
            }
            Err(status::bad_request(sentence))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_only_container_needs_no_name() {
        let one = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}]}});
        let two = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]}});
        let chosen = |pod, asked| choose(pod, asked).map_err(|status| status.message);
        assert_eq!(chosen(&one, ""), Ok("a".to_owned()));
        assert_eq!(chosen(&two, "i"), Ok("i".to_owned()));
        assert_eq!(chosen(&one, "x"), Err("container x is not valid for pod p".to_owned()));
        let sentence =
            "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]";
        assert_eq!(chosen(&two, ""), Err(sentence.to_owned()));
    }
}
