//! One pass over a namespace: everything in it is asked to go, pods first; what is left is counted
//! (pkg/controller/namespace/deletion `deleteAllContent`).

use super::conditions::Findings;
use crate::context::Context;
use crate::every_kind::Outline;
use client::{Api, Error, ListOptions, Object, Resource, Served, discover};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions};

/// Asks everything in the namespace to go. While pods are left nothing else is touched: they may need it.
pub(super) async fn delete(context: &Context, namespace: &Namespace) -> Findings {
    let mut findings = Findings::default();
    let mut served = match discover(context.transport.clone()).await {
        Ok(served) => served,
        Err(error) => {
            findings.discovery = Some(error.to_string());
            return findings;
        }
    };
    served.retain(|kind| kind.namespaced && kind.can("list") && kind.can("delete"));
    served.sort_by_key(|kind| !is_pods(&kind.resource));
    for kind in &served {
        if let Err(error) = one_kind(context, namespace, kind, &mut findings).await {
            findings.failures.push(error.to_string());
        }
        if is_pods(&kind.resource) && !findings.remaining.is_empty() {
            break;
        }
    }
    findings
}

fn is_pods(resource: &Resource) -> bool {
    resource.group.is_empty() && resource.plural == "pods"
}

async fn one_kind(
    context: &Context,
    namespace: &Namespace,
    kind: &Served,
    findings: &mut Findings,
) -> Result<(), Error> {
    let api = Api::<Outline>::at(context.transport.clone(), &kind.resource, Some(namespace.name()));
    // Upstream's too: nothing here may be kept back for its dependents' sake.
    let options = DeleteOptions {
        propagation_policy: Some("Background".to_owned()),
        ..DeleteOptions::default()
    };
    let everything = ListOptions {
        limit: 500,
        ..ListOptions::default()
    };
    let there = api.list_all(&everything).await?.items;
    if there.iter().any(|object| object.metadata.deletion_timestamp.is_none()) {
        if kind.can("deletecollection") {
            api.delete_collection(&options).await?;
        } else {
            one_by_one(&api, &there, &options).await?;
        }
    } else if there.is_empty() {
        return Ok(());
    }
    let left = api.list_all(&everything).await?.items;
    count(context, namespace, kind, &left, findings);
    Ok(())
}

async fn one_by_one(api: &Api<Outline>, objects: &[Outline], options: &DeleteOptions) -> Result<(), Error> {
    for object in objects
        .iter()
        .filter(|object| object.metadata.deletion_timestamp.is_none())
    {
        let preconditions = Preconditions {
            uid: Some(object.uid().to_owned()),
            ..Preconditions::default()
        };
        let options = DeleteOptions {
            preconditions: Some(preconditions),
            ..options.clone()
        };
        match api.delete(object.name(), &options).await {
            Err(error) if !error.is_not_found() && !error.is_conflict() => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

fn count(context: &Context, namespace: &Namespace, kind: &Served, left: &[Outline], findings: &mut Findings) {
    if left.is_empty() {
        return;
    }
    let Resource { group, version, plural } = &kind.resource;
    findings.remaining.insert(format!("{plural}.{group}"), left.len());
    let finalizers = left.iter().flat_map(|object| &object.metadata.finalizers);
    let mut held = false;
    for finalizer in finalizers {
        held = true;
        *findings.finalizers.entry(finalizer.clone()).or_default() += 1;
    }
    if !held && !has_grace(context, namespace, kind) {
        let name = namespace.name();
        let why =
            format!("unexpected items still remain in namespace: {name} for gvr: {group}/{version}, Resource={plural}");
        findings.failures.push(why);
    }
}

/// Whether objects without finalizers may still be there: pods, for their grace.
fn has_grace(context: &Context, namespace: &Namespace, kind: &Served) -> bool {
    if !is_pods(&kind.resource) {
        return false;
    }
    let longest = context
        .pods
        .list_in(namespace.name())
        .iter()
        .filter_map(|pod| pod.grace)
        .max();
    let since = namespace.metadata.deletion_timestamp.as_ref().map(|time| time.0);
    let passed = since.map_or(0, |since| Timestamp::now().duration_since(since).as_secs());
    passed < longest.unwrap_or(0)
}
