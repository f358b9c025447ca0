//! Objects that every cluster has besides its namespaces and roles: the priority levels and flow schemas, an APIService for
//! each group-version that is built in, and the day since when the last use of tokens in Secrets is marked.

use anyhow::Context;
use api::KINDS;
use api::kinds::flow_control;
use client::{Api, Dynamic, Error, Resource, Transport};
use futures_util::future;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

const FLOW_CONTROL: &str = "flowcontrol.apiserver.k8s.io";

/// Makes what is missing and leaves alone what is there.
pub async fn populate(transport: &Arc<dyn Transport>) -> anyhow::Result<()> {
    let flow_control = async {
        let made = flow_control(transport).await;
        made.context("make the priority levels and flow schemas")
    };
    let api_services = async {
        let made = api_services(transport).await;
        made.context("make the APIServices of what is built in")
    };
    let tracking = async {
        let made = tracking(transport).await;
        made.context("say since when tokens in Secrets are tracked")
    };
    future::try_join3(flow_control, api_services, tracking).await.map(drop)
}

/// What tools read to know how far a missing mark reaches back (pkg/controlplane/controller/legacytokentracking).
async fn tracking(transport: &Arc<dyn Transport>) -> Result<(), Error> {
    let resource = Resource {
        group: String::new(),
        version: "v1".to_owned(),
        plural: "configmaps".to_owned(),
    };
    let maps = Api::dynamic(transport.clone(), &resource, Some("kube-system"));
    let since = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    let name = "kube-apiserver-legacy-service-account-token-tracking";
    ensure(
        &maps,
        json!({ "metadata": { "name": name }, "data": { "since": since } }),
    )
    .await
}

/// Each kind of them all at once, so that the first start of a cluster costs a few commits and not a hundred.
async fn flow_control(transport: &Arc<dyn Transport>) -> Result<(), Error> {
    let levels = of(transport, FLOW_CONTROL, "prioritylevelconfigurations");
    let all = flow_control::levels().into_iter().map(|level| ensure(&levels, level));
    future::try_join_all(all).await?;
    let schemas = of(transport, FLOW_CONTROL, "flowschemas");
    let all = flow_control::schemas().into_iter();
    let all = all.map(|schema| flow_schema(&schemas, schema));
    future::try_join_all(all).await.map(drop)
}

async fn flow_schema(schemas: &Api<Dynamic>, schema: Value) -> Result<(), Error> {
    let level = schema["spec"]["priorityLevelConfiguration"]["name"].clone();
    let why = format!("This FlowSchema references the PriorityLevelConfiguration object named {level} and it exists");
    if let Some(mut made) = made(schemas, schema).await? {
        let since = made.0["metadata"]["creationTimestamp"].clone();
        made.0["status"] = json!({ "conditions": [{
            "type": "Dangling", "status": "False", "reason": "Found", "message": why, "lastTransitionTime": since,
        }] });
        let name = made.0["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        schemas.replace_status(&name, &made).await?;
    }
    Ok(())
}

async fn api_services(transport: &Arc<dyn Transport>) -> Result<(), Error> {
    let services = of(transport, "apiregistration.k8s.io", "apiservices");
    let served: BTreeSet<(&str, &str)> = KINDS.iter().map(|rules| (rules.group, rules.version)).collect();
    let wanted = served.into_iter();
    let wanted = wanted.filter_map(|(group, version)| api::kinds::api_service::local(group, version));
    let all = wanted.map(|service| ensure(&services, service));
    future::try_join_all(all).await.map(drop)
}

fn of(transport: &Arc<dyn Transport>, group: &str, plural: &str) -> Api<Dynamic> {
    let resource = Resource {
        group: group.to_owned(),
        version: "v1".to_owned(),
        plural: plural.to_owned(),
    };
    Api::dynamic(transport.clone(), &resource, None)
}

async fn ensure(api: &Api<Dynamic>, object: Value) -> Result<(), Error> {
    made(api, object).await.map(drop)
}

/// The object if it was made now; none if it was there.
async fn made(api: &Api<Dynamic>, object: Value) -> Result<Option<Dynamic>, Error> {
    match api.create(&Dynamic(object)).await {
        Err(refused) if refused.is_already_exists() => Ok(None),
        outcome => outcome.map(Some),
    }
}
