//! PersistentVolumeClaimResize: only claims that are bound and whose class allows it may grow.

use super::cluster::{self, annotation};
use crate::call::Call;
use api::quantity::Quantity;
use api::read;
use api::status::{self, Status};
use serde_json::Value;

pub(super) fn admit(call: &Call, claim: &Value, old: &Value) -> Result<(), Status> {
    let size = |claim: &Value| claim.pointer("/spec/resources/requests/storage").and_then(Quantity::of);
    if size(claim) <= size(old) {
        return Ok(());
    }
    let why = if read::text(old, "/status/phase") != "Bound" {
        "Only bound persistent volume claims can be expanded"
    } else if !may_grow(call, claim) {
        "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"
    } else {
        return Ok(());
    };
    Err(status::forbidden(&call.rules, api::metadata::name(claim), why))
}

fn may_grow(call: &Call, claim: &Value) -> bool {
    let annotated = annotation(claim, "volume.beta.kubernetes.io/storage-class");
    let class = annotated.unwrap_or_else(|| read::text(claim, "/spec/storageClassName"));
    let class = cluster::get(call, "storage.k8s.io", "storageclasses", "", class);
    class.is_some_and(|class| read::flag(&class, "/allowVolumeExpansion"))
}
