//! VolumeAttachment: the wish that a volume be attached to a node, and whether it is.

use crate::{
    at::root,
    field::FieldError,
    kind::{Column, Context, Kind, Subresource},
    kinds::csi_driver,
    metadata, names,
    read::{self, flag, text},
};
use jiff::Timestamp;
use serde_json::{Value, json};

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
        let mut errors = csi_driver::name(&spec, "attacher");
        let source = spec.child("source");
        let one = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
        match (source.has("inlineVolumeSpec"), source.has("persistentVolumeName")) {
            (false, false) => errors.push(source.required("", one)),
            (true, true) => errors.push(source.forbidden("", one)),
            (false, true) if source.text("persistentVolumeName").is_empty() => {
                errors.push(source.required("persistentVolumeName", "must specify non empty persistentVolumeName"));
            }
            _ => {}
        }
        errors.extend(spec.invalid_text("nodeName", names::dns1123_subdomain(spec.text("nodeName"))));
        errors
    }

    fn validate_update(new: &Value, old: &Value, _subresource: &str) -> Vec<FieldError> {
        root(new).immutable(old, "spec").into_iter().collect()
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
        let other = one(json!({ "persistentVolumeName": "x" }));
        assert_eq!(
            VolumeAttachment::validate_update(&other, &good, "")[0].detail,
            "field is immutable"
        );
    }
}
