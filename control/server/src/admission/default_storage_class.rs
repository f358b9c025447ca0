//! DefaultStorageClass: a claim that names no class gets the one that is the default, if there is one.

use super::cluster::{self, annotation};
use crate::call::Call;
use api::read;
use serde_json::Value;

/// What makes a class the default.
const DEFAULT: [&str; 2] = [
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
];
/// How claims named their class before there was a field; an empty name is a name.
const OLD_NAME: &str = "volume.beta.kubernetes.io/storage-class";

pub(super) fn admit(call: &Call, claim: &mut Value) {
    if read::some(claim, "/spec/storageClassName").is_some() || annotation(claim, OLD_NAME).is_some() {
        return;
    }
    let all = cluster::list(call, "storage.k8s.io", "storageclasses", "");
    if let Some(class) = cluster::default_of(all, &DEFAULT)
        && let Some(spec) = read::map_mut(claim, "spec")
    {
        spec.insert("storageClassName".to_owned(), api::metadata::name(&class).into());
    }
}
