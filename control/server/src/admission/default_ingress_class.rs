//! DefaultIngressClass: an ingress that names no class gets the one that is the default, if there is one.

use super::cluster::{self, annotation};
use crate::call::Call;
use api::read;
use serde_json::Value;

/// What makes a class the default.
const DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";
/// How ingresses named their class before there was a field.
const OLD_NAME: &str = "kubernetes.io/ingress.class";

pub(super) fn admit(call: &Call, ingress: &mut Value) {
    if read::some(ingress, "/spec/ingressClassName").is_some() || annotation(ingress, OLD_NAME).is_some() {
        return;
    }
    let all = cluster::list(call, "networking.k8s.io", "ingressclasses", "");
    if let Some(class) = cluster::default_of(all, &[DEFAULT])
        && let Some(spec) = read::map_mut(ingress, "spec")
    {
        spec.insert("ingressClassName".to_owned(), api::metadata::name(&class).into());
    }
}
