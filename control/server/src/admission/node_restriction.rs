//! NodeRestriction: a node writes to itself, to its lease and to the pods that run on it, to nothing else (upstream
//! plugin/pkg/admission/noderestriction).

mod node;
mod pod;

use crate::authorize::{Attributes, Resource};
use crate::call::Call;
use crate::encode;
use api::read::{self, list, text};
use api::status::{self, Status};
use api::{Verb, metadata};
use serde_json::Value;

/// Where the nodes' leases are.
const LEASES: &str = "kube-node-lease";

/// A write of a node.
struct Asked<'a> {
    call: &'a Call,
    /// Who asks.
    node: &'a str,
    /// The object, where it has a name.
    name: &'a str,
    /// None for a delete.
    object: Option<&'a Value>,
    /// None for a create.
    old: Option<&'a Value>,
}

pub(super) fn admit(call: &Call, object: Option<&Value>, old: Option<&Value>) -> Result<(), Status> {
    let Some(node) = call.user.node() else { return Ok(()) };
    let name = if call.name.is_empty() {
        object.map_or("", metadata::name)
    } else {
        &call.name
    };
    let asked = Asked {
        call,
        node,
        name,
        object,
        old,
    };
    match (call.rules.key, call.subresource.as_str()) {
        ("pods", "") => pod::whole(&asked),
        ("pods", "status") => pod::status(&asked),
        ("pods", "eviction") => pod::eviction(&asked),
        ("nodes", _) => node::admit(&asked),
        ("serviceaccounts", "token") => token(&asked),
        ("leases", _) => lease(&asked),
        ("csinodes", _) if name != node => {
            asked.refuse("can only access CSINode with the same name as the requesting node".to_owned())
        }
        ("resourceslices", _) => slice(&asked),
        _ => Ok(()),
    }
}

// === impl Asked ===

impl Asked<'_> {
    fn refuse(&self, why: String) -> Result<(), Status> {
        Err(status::forbidden(&self.call.rules, self.name, &why))
    }

    /// An object of the core group.
    fn core(&self, plural: &str, namespace: &str, name: &str) -> Result<Value, Status> {
        self.of_group("", plural, namespace, name)
    }

    fn of_group(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Result<Value, Status> {
        let rules = api::find(group, "v1", plural).ok_or_else(status::no_such_path)?;
        let entry = self.call.server.store.get(&rules.key_of(namespace, name));
        Ok(encode::object(&entry.ok_or_else(|| status::not_found(rules, name))?))
    }
}

fn lease(asked: &Asked<'_>) -> Result<(), Status> {
    if asked.call.namespace != LEASES {
        return asked.refuse(format!("can only access leases in the {LEASES:?} system namespace"));
    }
    if asked.name != asked.node {
        return asked.refuse("can only access node lease with the same name as the requesting node".to_owned());
    }
    Ok(())
}

fn slice(asked: &Asked<'_>) -> Result<(), Status> {
    let of = asked
        .old
        .or(asked.object)
        .map_or("", |slice| text(slice, "/spec/nodeName"));
    if of == asked.node {
        Ok(())
    } else {
        asked.refuse(
            "can only create, update or delete ResourceSlices with the nodeName set to the requesting node".to_owned(),
        )
    }
}

/// Tokens are for the accounts of the node's pods, bound to one of them, and for audiences that the pod names.
fn token(asked: &Asked<'_>) -> Result<(), Status> {
    let call = asked.call;
    let Some(request) = asked.object.filter(|_| call.verb == Verb::Create) else {
        return Ok(());
    };
    let reference = |member: &str| text(request, &format!("/spec/boundObjectRef/{member}"));
    if reference("apiVersion") != "v1" || reference("kind") != "Pod" || reference("name").is_empty() {
        return asked.refuse("node requested token not bound to a pod".to_owned());
    }
    if reference("uid").is_empty() {
        return asked.refuse("node requested token with a pod binding without a uid".to_owned());
    }
    let pod = asked.core("pods", &call.namespace, reference("name"))?;
    if metadata::uid(&pod) != reference("uid") {
        return asked.refuse(format!(
            "the UID in the bound object reference ({}) does not match the UID in record. The object might have been deleted and then recreated",
            reference("uid")
        ));
    }
    if text(&pod, "/spec/nodeName") != asked.node {
        return asked.refuse("node requested token bound to a pod scheduled on a different node".to_owned());
    }
    audiences(asked, request, &pod)
}

fn audiences(asked: &Asked<'_>, request: &Value, pod: &Value) -> Result<(), Status> {
    let call = asked.call;
    let own = call.server.authenticator.tokens.issuer();
    let volumes = list(pod, "/spec/volumes");
    for audience in list(request, "/spec/audiences").iter().filter_map(Value::as_str) {
        let named = |source: &Value| {
            read::some(source, "/serviceAccountToken").is_some()
                && text(source, "/serviceAccountToken/audience") == audience
        };
        let resource = Resource {
            resource: audience,
            namespace: &call.namespace,
            name: &call.name,
            ..Resource::default()
        };
        let question = Attributes::resource("request-serviceaccounts-token-audience", resource);
        let is_known = audience.is_empty()
            || audience == own
            || volumes
                .iter()
                .flat_map(|volume| list(volume, "/projected/sources"))
                .any(named)
            || volumes.iter().any(|volume| is_for_driver(asked, pod, volume, audience))
            || call.server.authorizer.allows(&call.user, &question).allowed;
        if !is_known {
            return asked.refuse(format!(
                "audience {audience:?} not found in pod spec volume, or pod is not authorized to use this audience"
            ));
        }
    }
    Ok(())
}

/// Whether the storage driver of a volume wants tokens for this audience.
fn is_for_driver(asked: &Asked<'_>, pod: &Value, volume: &Value, audience: &str) -> bool {
    let wants = |driver: &str| {
        let driver = asked.of_group("storage.k8s.io", "csidrivers", "", driver);
        let requests = |driver: &Value| {
            let requests = list(driver, "/spec/tokenRequests");
            requests.iter().any(|request| text(request, "/audience") == audience)
        };
        driver.is_ok_and(|driver| requests(&driver))
    };
    let own = text(volume, "/csi/driver");
    if !own.is_empty() {
        return wants(own);
    }
    let ephemeral = format!("{}-{}", text(pod, "/metadata/name"), text(volume, "/name"));
    let claim = match text(volume, "/persistentVolumeClaim/claimName") {
        "" if read::some(volume, "/ephemeral").is_some() => &ephemeral,
        "" => return false,
        claim => claim,
    };
    let claim = asked.core("persistentvolumeclaims", &asked.call.namespace, claim);
    let volume = claim.and_then(|claim| asked.core("persistentvolumes", "", text(&claim, "/spec/volumeName")));
    volume.is_ok_and(|volume| wants(text(&volume, "/spec/csi/driver")))
}
