//! What is wrong with a pod's volumes (core `validation.ValidateVolumes`).

mod projected;

use super::validate::Owner;
use crate::{
    at::At,
    field::FieldError,
    kinds::{persistent_volume_claim as claim, volume_source},
    metadata, names,
    quantity::Quantity,
};
use projected::file;
use serde_json::Value;
use std::collections::HashMap;

/// The volumes that mounts may name, by name.
pub(super) type Volumes<'a> = HashMap<&'a str, &'a Value>;

/// Sources in the order in which upstream looks at them: as the field is called, as upstream calls it when it is one too many,
/// and as it calls what is inside.
const SOURCES: &[(&str, &str, &str)] = &[
    ("emptyDir", "emptyDir", "emptyDir"),
    ("hostPath", "hostPath", "hostPath"),
    ("gitRepo", "gitRepo", "gitRepo"),
    ("gcePersistentDisk", "gcePersistentDisk", "persistentDisk"),
    ("awsElasticBlockStore", "awsElasticBlockStore", "awsElasticBlockStore"),
    ("secret", "secret", "secret"),
    ("nfs", "nfs", "nfs"),
    ("iscsi", "iscsi", "iscsi"),
    ("glusterfs", "glusterfs", "glusterfs"),
    ("flocker", "flocker", "flocker"),
    (
        "persistentVolumeClaim",
        "persistentVolumeClaim",
        "persistentVolumeClaim",
    ),
    ("rbd", "rbd", "rbd"),
    ("cinder", "cinder", "cinder"),
    ("cephfs", "cephFS", "cephfs"),
    ("quobyte", "quobyte", "quobyte"),
    ("downwardAPI", "downwarAPI", "downwardAPI"),
    ("fc", "fc", "fc"),
    ("flexVolume", "flexVolume", "flexVolume"),
    ("configMap", "configMap", "configMap"),
    ("azureFile", "azureFile", "azureFile"),
    ("vsphereVolume", "vsphereVolume", "vsphereVolume"),
    ("photonPersistentDisk", "photonPersistentDisk", "photonPersistentDisk"),
    ("portworxVolume", "portworxVolume", "portworxVolume"),
    ("azureDisk", "azureDisk", "azureDisk"),
    ("storageos", "storageos", "storageos"),
    ("projected", "projected", "projected"),
    ("scaleIO", "scaleIO", "scaleIO"),
    ("csi", "csi", "csi"),
    ("ephemeral", "ephemeral", "ephemeral"),
    ("image", "image", "image"),
];

/// Judges them; answers with the good ones, for mounts to refer to.
pub(super) fn validate<'a>(spec: &At<'a>, owner: Owner<'_>, errors: &mut Vec<FieldError>) -> Volumes<'a> {
    let mut good = Volumes::new();
    let volumes = spec.items("volumes");
    let made: Vec<String> = match owner {
        Owner::Pod(pod) if !pod.is_empty() => {
            let ephemeral = volumes.iter().filter(|v| v.has("ephemeral"));
            ephemeral.map(|v| format!("{pod}-{}", v.text("name"))).collect()
        }
        Owner::Pod(_) | Owner::Template => Vec::new(),
    };
    for volume in volumes {
        let name = volume.text("name");
        let mut wrong = sources(&volume, owner);
        wrong.extend(volume.need_judged("name", names::dns1123_label));
        if good.contains_key(name) {
            wrong.push(FieldError::duplicate(volume.path("name"), name));
        }
        if wrong.is_empty() {
            good.insert(name, volume.value);
        }
        errors.extend(wrong);
        let claim = volume.child("persistentVolumeClaim");
        if made.iter().any(|made| made == claim.text("claimName")) {
            let why = "must not reference a PVC that gets created for an ephemeral volume";
            errors.extend(claim.invalid("claimName", [why]));
        }
    }
    good
}

fn sources(volume: &At<'_>, owner: Owner<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let given = SOURCES
        .iter()
        .filter_map(|(member, many, inner)| Some((*member, *many, *inner, volume.some(member)?)));
    let mut count = 0;
    for (member, many, inner, source) in given {
        count += 1;
        if count > 1 {
            errors.push(volume.forbidden(many, "may not specify more than 1 volume type"));
            continue;
        }
        let source = At::new(source.value, volume.path(inner));
        errors.extend(one(member, &source, volume, owner));
    }
    if count == 0 {
        errors.push(volume.required("", "must specify a volume type"));
    }
    errors
}

fn one(kind: &str, source: &At<'_>, volume: &At<'_>, owner: Owner<'_>) -> Vec<FieldError> {
    let mut errors = volume_source::validate(kind, source);
    match kind {
        "emptyDir" => {
            let limit = source.value.get("sizeLimit").and_then(Quantity::of);
            if limit.is_some_and(Quantity::is_negative) {
                errors.push(source.forbidden("sizeLimit", "SizeLimit field must be a valid resource quantity"));
            }
        }
        "secret" | "configMap" => {
            errors.extend(source.need(if kind == "secret" { "secretName" } else { "name" }));
            errors.extend(projected::mode(source, "defaultMode"));
            errors.extend(source.items("items").iter().flat_map(projected::key_to_path));
        }
        "downwardAPI" => {
            errors.extend(projected::mode(source, "defaultMode"));
            errors.extend(source.items("items").iter().flat_map(|item| file(item, source)));
        }
        "projected" => errors.extend(projected::validate(source)),
        "csi" => errors.extend(csi(source)),
        "ephemeral" => errors.extend(ephemeral(source, volume, owner)),
        "image" => errors.extend(image(source)),
        "iscsi" => errors.extend(long_portal(source, volume)),
        _ => {}
    }
    errors
}

fn long_portal(source: &At<'_>, volume: &At<'_>) -> Vec<FieldError> {
    let length = volume.text("name").len() + 1 + source.text("targetPortal").len();
    if !source.has("initiatorName") || length <= 64 {
        return Vec::new();
    }
    let why = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
    volume.invalid("name", [why])
}

fn csi(source: &At<'_>) -> Vec<FieldError> {
    let mut errors = volume_source::csi_driver(source, "driver");
    if let Some(secret) = source.some("nodePublishSecretRef") {
        match secret.text("name") {
            "" => errors.push(secret.required("name", "")),
            name => errors.extend(
                names::dns1123_subdomain(name)
                    .into_iter()
                    .map(|why| FieldError::invalid(source.path("name"), name, why)),
            ),
        }
    }
    errors
}

/// A claim that is made for the pod, from a template that has a spec and nothing else but labels and annotations.
fn ephemeral(source: &At<'_>, volume: &At<'_>, owner: Owner<'_>) -> Vec<FieldError> {
    let Some(template) = source.some("volumeClaimTemplate") else {
        return vec![source.required("volumeClaimTemplate", "")];
    };
    let meta = template.child("metadata");
    let mut errors = metadata::annotations(meta.value.get("annotations"), &meta.path("annotations"));
    errors.extend(metadata::labels(meta.value.get("labels"), &meta.path("labels")));
    let members = meta.value.as_object().into_iter().flatten();
    let strange = members.filter(|(member, value)| {
        let is_set = !value.is_null() && value.as_str() != Some("");
        is_set && !["annotations", "labels"].contains(&member.as_str())
    });
    errors.extend(strange.map(|(member, _)| meta.forbidden(member, "cannot be set")));
    errors.extend(claim::validate_spec(&template.child("spec")));
    let name = volume.text("name");
    if let Owner::Pod(pod) = owner
        && !pod.is_empty()
        && !name.is_empty()
    {
        let made = format!("{pod}-{name}");
        let wrong = names::dns1123_subdomain(&made).into_iter();
        errors.extend(volume.invalid("name", wrong.map(|why| format!("PVC name {made:?}: {why}"))));
    }
    errors
}

fn image(source: &At<'_>) -> Vec<FieldError> {
    let mut errors: Vec<FieldError> = source.need("reference").into_iter().collect();
    errors.extend(source.must_be_one_of("pullPolicy", super::container::PULL_POLICIES));
    errors
}
