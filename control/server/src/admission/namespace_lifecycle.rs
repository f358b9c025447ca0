//! NamespaceLifecycle: nothing is made in a namespace that is not there or on its way out, and three namespaces stay.

use crate::call::Call;
use crate::encode;
use api::read;
use api::status::{self, Status};
use memchr::memmem;
use serde_json::Value;

/// Namespaces that nobody deletes (upstream's `immortalNamespaces`).
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

/// The phase of a namespace that is on its way out.
const ENDING: &str = "Terminating";

/// Whether a new object may be made where it is to be.
pub(super) fn admit(call: &Call, object: &Value) -> Result<(), Status> {
    if !call.rules.namespaced {
        return Ok(());
    }
    let Some(namespaces) = api::find("", "v1", "namespaces") else {
        return Ok(());
    };
    let Some(entry) = call.server.store.get(&namespaces.key_of("", &call.namespace)) else {
        return Err(status::not_found(namespaces, &call.namespace));
    };
    // Every create asks this: a namespace that does not hold the word is not decoded.
    let may_end = memmem::find(&entry.value, ENDING.as_bytes()).is_some();
    if !may_end || read::text(&encode::object(&entry), "/status/phase") != ENDING {
        return Ok(());
    }
    let why = format!(
        "unable to create new content in namespace {} because it is being terminated",
        call.namespace
    );
    let cause = format!("namespace {} is being terminated", call.namespace);
    Err(status::forbidden(&call.rules, api::metadata::name(object), &why).cause(
        "NamespaceTerminating",
        &cause,
        "metadata.namespace",
    ))
}

/// Whether an object may be deleted.
pub(super) fn spare(call: &Call) -> Result<(), Status> {
    if call.rules.key == "namespaces" && IMMORTAL.contains(&call.name.as_str()) {
        let why = "this namespace may not be deleted";
        return Err(status::forbidden(&call.rules, &call.name, why));
    }
    Ok(())
}
