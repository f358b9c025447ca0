//! Objects in `application/vnd.kubernetes.protobuf`: the same JSON in upstream's messages, both ways.
//!
//! Go's typed clients send it (`kubectl create deployment`) and read it. What a field is stands in the schema, which number
//! it has in `protobuf/numbers.txt`; no message is compiled in.

mod decode;
mod encode;
mod numbers;
mod parts;
pub(crate) mod swagger;
mod wire;

pub use decode::decode;
pub use encode::encode;
pub use parts::{Items, frame};

use api::schema::{self, Type};

/// What every such body begins with (apimachinery pkg/runtime/serializer/protobuf).
const MAGIC: &[u8] = b"k8s\0";

/// Messages nest less than this, whatever a client sends; a schema in a CustomResourceDefinition nests deepest.
const DEPTH: usize = 64;

/// Why a body could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ProtobufError {
    /// Not this format at all.
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    NoMagic,
    /// Ends early, or is no protobuf.
    #[error("the message ends early or is malformed")]
    Malformed,
    /// A kind whose fields this server does not know.
    #[error("no kind {kind:?} is known in protobuf; send JSON")]
    UnknownKind {
        /// What the body says it is.
        kind: String,
    },
}

/// Whether objects of that kind have a protobuf form.
pub fn is_known(api_version: &str, kind: &str) -> bool {
    // Of what is measured and never stored there is JSON alone, which is what its clients ask for.
    !api_version.starts_with("metrics.k8s.io/") && type_of(api_version, kind).is_some()
}

/// The type of what a body says it is. Options and the bodies of subresources are no kinds that are served.
fn type_of(api_version: &str, kind: &str) -> Option<&'static Type> {
    let component = match kind {
        // Whatever group it is sent to, it says that it is of that group.
        "DeleteOptions" | "Status" => format!("io.k8s.apimachinery.pkg.apis.meta.v1.{kind}"),
        // Any kind's metadata alone, with the number that it has in all of them.
        "PartialObjectMetadata" => "io.k8s.api.core.v1.Namespace".to_owned(),
        "Binding" => "io.k8s.api.core.v1.Binding".to_owned(),
        "Eviction" => "io.k8s.api.policy.v1.Eviction".to_owned(),
        "Scale" => "io.k8s.api.autoscaling.v1.Scale".to_owned(),
        "TokenRequest" => "io.k8s.api.authentication.v1.TokenRequest".to_owned(),
        _ => api::find_kind(api_version, kind)?.schema_name(),
    };
    schema::types().by_name(&component)
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::schema::Shape;
    use serde_json::{Value, json};

    #[test]
    fn objects_come_back() {
        let table = [
            json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a", "labels": {"k": "v"}, "creationTimestamp": "2026-11-20T13:08:07Z"},
                "data": {"x": "1"}, "binaryData": {"x": "MQ=="}}),
            json!({"kind": "Lease", "apiVersion": "coordination.k8s.io/v1", "metadata": {"name": "l"},
                "spec": {"holderIdentity": "me", "leaseDurationSeconds": 15, "renewTime": "2026-11-20T13:08:07.123456Z"}}),
            json!({"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "d", "generation": 2},
                "spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}, "type": "RollingUpdate"},
                    "template": {"spec": {"containers": [{"name": "c", "image": "i", "args": ["", "x"], "resources": {"requests": {"cpu": "100m"}},
                        "livenessProbe": {"httpGet": {"port": "http", "path": "/"}, "periodSeconds": 3},
                        "env": [{"name": "E", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "k"}}}]}],
                        "volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}],
                        "automountServiceAccountToken": false}}}}),
            json!({"kind": "DeleteOptions", "apiVersion": "apps/v1", "gracePeriodSeconds": 0, "preconditions": {"uid": "u"}}),
            json!({"kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1",
                "spec": {"user": "u", "extra": {"scopes": ["a", "b"]}, "resourceAttributes": {"verb": "get"}}}),
            json!({"kind": "PersistentVolumeClaim", "apiVersion": "v1", "metadata": {"name": "p"}, "spec": {"storageClassName": ""}}),
        ];
        for object in table {
            let bytes = encode(&object).unwrap_or_else(|| panic!("{object}"));
            assert_eq!(decode(&bytes).unwrap(), object);
        }
    }

    #[test]
    fn a_schema_comes_back() {
        let properties = json!({"a": {"type": "integer", "minimum": 1.5, "default": 3, "enum": [1, "x", null]},
            "b": {"type": "array", "items": {"type": "string", "x-kubernetes-int-or-string": true}},
            "c": {"type": "object", "additionalProperties": {"type": "string"}}, "d": {"type": "object", "additionalProperties": true}});
        let object = json!({"kind": "CustomResourceDefinition", "apiVersion": "apiextensions.k8s.io/v1", "metadata": {"name": "x"},
            "spec": {"group": "g", "versions": [{"name": "v1", "served": true, "storage": false,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}}, "subresources": {"status": {}}}]}});
        assert_eq!(decode(&encode(&object).unwrap()).unwrap(), object);
    }

    #[test]
    fn zero_counts_where_it_is_a_choice() {
        let body = |object: Value| decode(&encode(&object).unwrap()).unwrap();
        let pod = body(
            json!({"kind": "Pod", "apiVersion": "v1", "spec": {"hostNetwork": false, "hostname": "", "activeDeadlineSeconds": 0}}),
        );
        assert_eq!(pod["spec"], json!({"activeDeadlineSeconds": 0}));
    }

    /// What is only measured goes in JSON alone.
    fn stored() -> impl Iterator<Item = &'static api::Rules> {
        let all = api::KINDS.iter().copied();
        all.filter(|rules| is_known(&rules.api_version(), rules.kind) || rules.group != "metrics.k8s.io")
    }

    #[test]
    fn every_kind_has_its_numbers() {
        for rules in stored() {
            let kind = type_of(&rules.api_version(), rules.kind).unwrap();
            assert!(numbers::of(&kind.name).is_some(), "{}", kind.name);
        }
    }

    /// Fields of gated features whose numbers are not known here. They go in JSON only: a wrong number would make Go's
    /// clients refuse the whole object.
    const UNNUMBERED: &[&str] = &[
        "core.v1.ImageVolumeStatus imageRef",
        "core.v1.NodeAllocatableResourceClaimStatus containers",
        "core.v1.NodeAllocatableResourceClaimStatus resourceClaimName",
        "core.v1.NodeAllocatableResourceClaimStatus resources",
        "core.v1.PodSchedulingGroup podGroupName",
        "core.v1.PodSpec schedulingGroup",
        "core.v1.PodStatus nodeAllocatableResourceClaimStatuses",
        "core.v1.ResourceHealth message",
        "core.v1.VolumeMountStatus volumeStatus",
        "core.v1.VolumeStatus image",
        "resource.v1.Device nodeAllocatableResourceMappings",
        "resource.v1.DeviceAttribute bools",
        "resource.v1.DeviceAttribute ints",
        "resource.v1.DeviceAttribute strings",
        "resource.v1.DeviceAttribute versions",
        "resource.v1.NodeAllocatableResourceMapping allocationMultiplier",
        "resource.v1.NodeAllocatableResourceMapping capacityKey",
        "storage.v1.CSIDriverSpec preventPodSchedulingIfMissing",
    ];

    #[test]
    fn every_field_of_every_kind_has_its_number() {
        fn object(shape: &Shape) -> Option<&'static Type> {
            match shape {
                Shape::Object(at) => Some(schema::types().at(*at)),
                Shape::List(item) | Shape::Map(item) => object(item),
                _ => None,
            }
        }
        fn has(component: &str, field: &str) -> bool {
            let numbers = numbers::of(component).into_iter().flatten();
            numbers.into_iter().any(|numbered| {
                if numbered.form == numbers::Form::Inline {
                    let package = &component[..=component.rfind('.').unwrap()];
                    return has(&format!("{package}{}", numbered.name), field);
                }
                numbered.name == field
            })
        }
        let mut missing = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        let mut next: Vec<&Type> = stored()
            .map(|rules| type_of(&rules.api_version(), rules.kind).unwrap())
            .collect();
        while let Some(of) = next.pop() {
            if !seen.insert(of.name.clone()) {
                continue;
            }
            for field in of.fields() {
                if !has(&of.name, &field.name) && !["kind", "apiVersion"].contains(&&*field.name) {
                    missing.push(format!("{} {}", of.name, field.name));
                }
                next.extend(object(&field.shape));
            }
        }
        missing.sort();
        let expected: Vec<String> = UNNUMBERED.iter().map(|field| format!("io.k8s.api.{field}")).collect();
        assert_eq!(missing, expected);
    }

    #[test]
    fn garbage_is_refused() {
        assert_eq!(decode(b"{}"), Err(ProtobufError::NoMagic));
        let whole =
            encode(&json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a"}, "data": {"k": "v"}}))
                .unwrap();
        for end in 4..whole.len() {
            // Any prefix is either short of something or whole; never a panic.
            let _ = decode(&whole[..end]);
        }
        for at in 4..whole.len() {
            let mut changed = whole.clone();
            changed[at] = 0xff;
            let _ = decode(&changed);
        }
        assert!(encode(&json!({"kind": "Gadget", "apiVersion": "example.org/v1"})).is_none());
    }
}
