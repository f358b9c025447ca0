//! VolumeAttachment: the wish that a volume be attached to a node, and whether it is.

use crate::{
    at::{At, root},
    field::FieldError,
    kind::{Column, Context, Kind, Subresource},
    kinds::{persistent_volume, volume_source},
    metadata, names,
    read::{self, flag, text},
};
use jiff::Timestamp;
use serde_json::{Value, json};

/// What a driver may note about an attachment, in bytes.
const METADATA_SIZE_MAX: usize = 256 * 1024;
const MESSAGE_MAX: usize = 1024;

/// `storage.k8s.io/v1` VolumeAttachment.
pub struct VolumeAttachment;

impl Kind for VolumeAttachment {
    const GROUP: &'static str = "storage.k8s.io";
    const KIND: &'static str = "VolumeAttachment";
    const PLURAL: &'static str = "volumeattachments";
    const SINGULAR: &'static str = "volumeattachment";
    const NAMESPACED: bool = false;
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::status("storage.k8s.io", "v1", "VolumeAttachment")];
    const KEY: &'static str = "volumeattachments";
    const STATUS_RESETS: &'static [&'static str] = &["spec", "metadata"];
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column {
            format: "name",
            ..Column::narrow("Attacher", "string", "The driver that attaches it.")
        },
        Column::narrow("PV", "string", "The PersistentVolume."),
        Column::narrow("Node", "string", "The node."),
        Column::narrow("Attached", "boolean", "Whether it is attached."),
        Column::AGE,
    ];
    type Object = k8s_openapi::api::storage::v1::VolumeAttachment;

    fn default(attachment: &mut Value) {
        read::set_default(attachment, "status", json!({}));
        read::set_default(&mut attachment["status"], "attached", false);
    }

    fn before_create(attachment: &mut Value, _context: &Context<'_>) {
        attachment["status"] = json!({ "attached": false });
    }

    fn validate(attachment: &Value) -> Vec<FieldError> {
        let spec = root(attachment).child("spec");
        let mut errors = validate(attachment);
        errors.extend(volume_source::csi_driver(&spec, "attacher"));
        if let Some(volume) = spec.child("source").some("persistentVolumeName") {
            errors.extend(volume.invalid_text("", names::dns1123_subdomain(volume.as_text())));
        }
        errors
    }

    fn validate_update(new: &Value, old: &Value, _subresource: &str) -> Vec<FieldError> {
        let mut errors = validate(new);
        errors.extend(root(new).immutable(old, "spec"));
        errors
    }

    fn row(attachment: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            metadata::name(attachment).into(),
            text(attachment, "/spec/attacher").into(),
            text(attachment, "/spec/source/persistentVolumeName").into(),
            text(attachment, "/spec/nodeName").into(),
            flag(attachment, "/status/attached").into(),
            metadata::age(attachment, now).into(),
        ]
    }
}

/// What is wrong with any attachment; new ones are judged more strictly.
fn validate(attachment: &Value) -> Vec<FieldError> {
    let spec = root(attachment).child("spec");
    let mut errors: Vec<FieldError> = spec.need("attacher").into_iter().collect();
    let source = spec.child("source");
    let one = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    match (source.some("inlineVolumeSpec"), source.some("persistentVolumeName")) {
        (None, None) => errors.push(source.required("", one)),
        (Some(_), Some(_)) => errors.push(source.forbidden("", one)),
        (None, Some(volume)) if volume.as_text().is_empty() => {
            errors.push(volume.required("", "must specify non empty persistentVolumeName"));
        }
        (None, Some(_)) => {}
        (Some(inline), None) => errors.extend(persistent_volume::validate_inline(&inline)),
    }
    errors.extend(spec.invalid_text("nodeName", names::dns1123_subdomain(spec.text("nodeName"))));
    errors.extend(status(&root(attachment).child("status")));
    errors
}

fn status(status: &At<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let metadata = status.entries("attachmentMetadata");
    let size: usize = metadata
        .iter()
        .map(|(key, value)| key.len() + value.as_text().len())
        .sum();
    if size > METADATA_SIZE_MAX {
        errors.push(FieldError::too_long(
            status.path("attachmentMetadata"),
            METADATA_SIZE_MAX,
        ));
    }
    for error in ["attachError", "detachError"].map(|member| status.child(member)) {
        if error.text("message").len() > MESSAGE_MAX {
            // Upstream names the limit of the metadata here.
            errors.push(FieldError::too_long(error.path("message"), METADATA_SIZE_MAX));
        }
        if error.int("errorCode") < 0 {
            errors.extend(error.invalid("errorCode", ["must be between 0 and 2147483647, inclusive"]));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attachments_name_one_volume_for_good() {
        let one = |source: Value| json!({ "spec": { "attacher": "a", "nodeName": "n", "source": source } });
        let good = one(json!({ "persistentVolumeName": "pv" }));
        assert_eq!(VolumeAttachment::validate(&good), []);
        let errors = VolumeAttachment::validate(&one(json!({})));
        assert_eq!(
            errors[0].to_string(),
            "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName"
        );
        let inline = one(
            json!({ "inlineVolumeSpec": { "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"], "nfs": { "server": "s", "path": "/" } } }),
        );
        let messages = |errors: Vec<FieldError>| errors.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            messages(VolumeAttachment::validate(&inline)),
            [
                "spec.source.inlineVolumeSpec.capacity: Forbidden: may not be specified in the context of inline volumes",
                "spec.source.inlineVolumeSpec.csi: Required value: has to be specified in the context of inline volumes",
            ]
        );
        let mut noted = good.clone();
        noted["status"] = json!({ "attachError": { "message": "m".repeat(1025), "errorCode": -1 } });
        assert_eq!(
            messages(VolumeAttachment::validate_update(&noted, &good, "status")),
            [
                "status.attachError.message: Too long: may not be more than 262144 bytes",
                "status.attachError.errorCode: Invalid value: -1: must be between 0 and 2147483647, inclusive",
            ]
        );
        let other = one(json!({ "persistentVolumeName": "x" }));
        assert_eq!(
            VolumeAttachment::validate_update(&other, &good, "")[0].detail,
            "field is immutable"
        );
    }
}
