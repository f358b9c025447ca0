//! Which container of a pod is meant (upstream: registry/core/pod/strategy.go `validateContainer`).

use api::status::{self, Status};
use api::{metadata, read};
use serde_json::Value;

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
    match own.as_slice() {
        [only] => Ok((*only).to_owned()),
        [] => Err(status::bad_request(format!(
            "a container name must be specified for pod {name}"
        ))),
        _ => {
            let all: Vec<&str> = init.iter().chain(&own).chain(&ephemeral).copied().collect();
            Err(status::bad_request(format!(
                "a container name must be specified for pod {name}, choose one of: [{}]",
                all.join(" ")
            )))
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
        let sentence = "a container name must be specified for pod p, choose one of: [i a b]";
        assert_eq!(chosen(&two, ""), Err(sentence.to_owned()));
    }
}
