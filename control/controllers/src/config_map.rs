//! A ConfigMap that is the system's: made where it is missing, put right where somebody changed it.

use crate::context::Context;
use client::{Api, Cache, Error, Key, ListOptions, Object};
use k8s_openapi::api::core::v1::ConfigMap;
use std::collections::BTreeMap;

/// All ConfigMaps of one name.
pub(crate) fn cache(context: &Context, name: &str) -> Cache<ConfigMap> {
    let options = ListOptions {
        field_selector: format!("metadata.name={name}"),
        ..ListOptions::default()
    };
    Cache::start(Api::all(context.transport.clone()), options, context.stop.clone())
}

/// Makes the ConfigMap say what `wanted` says, and have its annotations.
pub(crate) async fn ensure(context: &Context, present: &Cache<ConfigMap>, wanted: ConfigMap) -> Result<(), Error> {
    let api = Api::<ConfigMap>::namespaced(context.transport.clone(), wanted.namespace());
    let outcome = match present.get(&Key::new(wanted.namespace(), wanted.name())) {
        None => api.create(&wanted).await,
        Some(present) if is_right(&present, &wanted) => return Ok(()),
        Some(present) => {
            let mut right = (*present).clone();
            right.data = wanted.data.clone();
            let annotations = right.metadata.annotations.get_or_insert_default();
            annotations.extend(wanted.metadata.annotations.clone().unwrap_or_default());
            api.replace(wanted.name(), &right).await
        }
    };
    match outcome {
        Ok(_) => Ok(()),
        // The cache is behind, or the namespace is on its way out; what follows is seen.
        Err(error) if error.is_already_exists() || error.is_conflict() || error.is_not_found() => Ok(()),
        Err(error) if error.code() == 403 => Ok(()),
        Err(error) => Err(error),
    }
}

fn is_right(present: &ConfigMap, wanted: &ConfigMap) -> bool {
    let annotations = |map: &ConfigMap| map.metadata.annotations.clone().unwrap_or_default();
    let has: BTreeMap<String, String> = annotations(present);
    present.data == wanted.data
        && annotations(wanted)
            .keys()
            .all(|key| has.get(key).is_some_and(|text| !text.is_empty()))
}
