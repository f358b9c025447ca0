//! Which kinds a server serves, each at its group's preferred version.

use crate::api::Api;
use crate::error::Error;
use crate::object::{Dynamic, Resource};
use crate::transport::Transport;
use std::sync::Arc;

/// A kind that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// Where.
    pub resource: Resource,
    /// Its name in objects.
    pub kind: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// What can be done with it, such as `list`.
    pub verbs: Vec<String>,
}

impl Served {
    /// Whether `verb` can be done with it.
    pub fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|known| known == verb)
    }
}

/// Asks for all kinds; subresources are left out.
pub async fn discover(transport: Arc<dyn Transport>) -> Result<Vec<Served>, Error> {
    let server = Api::<Dynamic>::server(transport);
    let mut served = kinds(&server.read("/api/v1").await?, "", "v1");
    let groups = server.read("/apis").await?;
    for group in groups.0["groups"].as_array().into_iter().flatten() {
        let name = group["name"].as_str().unwrap_or_default();
        let version = group["preferredVersion"]["version"].as_str().unwrap_or_default();
        served.extend(kinds(
            &server.read(&format!("/apis/{name}/{version}")).await?,
            name,
            version,
        ));
    }
    Ok(served)
}

fn kinds(list: &Dynamic, group: &str, version: &str) -> Vec<Served> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let resources = list.0["resources"].as_array().into_iter().flatten();
    let whole = resources.filter(|resource| !text(&resource["name"]).contains('/'));
    whole
        .map(|resource| Served {
            resource: Resource {
                group: group.to_owned(),
                version: version.to_owned(),
                plural: text(&resource["name"]),
            },
            kind: text(&resource["kind"]),
            namespaced: resource["namespaced"].as_bool().unwrap_or(false),
            verbs: resource["verbs"].as_array().into_iter().flatten().map(text).collect(),
        })
        .collect()
}
