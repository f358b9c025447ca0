//! Which requests are written down and how much of them: `audit.k8s.io/v1` Policy (apiserver pkg/audit/policy).

use crate::request::{RequestInfo, ResourceInfo};
use crate::user::User;
use serde::{Deserialize, Serialize};

const API_VERSION: &str = "audit.k8s.io/v1";

/// How much of a request is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Level {
    /// Nothing.
    None,
    /// Who, what, when, and what came of it.
    Metadata,
    /// The object that was sent, too.
    Request,
    /// And the one that was answered.
    RequestResponse,
}

/// When in a request's life it is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// It has come.
    RequestReceived,
    /// Its answer has begun and takes a while, as a watch does.
    ResponseStarted,
    /// Its answer is whole.
    ResponseComplete,
    /// It made the server panic.
    Panic,
}

/// What is no policy. One sentence, with the place.
#[derive(Debug, thiserror::Error)]
#[error("read the audit policy: {0}")]
pub struct PolicyError(String);

/// The rules, in order; the first that fits decides.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    rules: Vec<Rule>,
    omit_stages: Vec<Stage>,
    omit_managed_fields: bool,
}

/// What a policy says of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) level: Level,
    pub(crate) omit_stages: Vec<Stage>,
    pub(crate) omit_managed_fields: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default, rename = "metadata")]
    _metadata: serde_json::Value,
    #[serde(default)]
    rules: Option<Vec<Rule>>,
    #[serde(default)]
    omit_stages: Option<Vec<Stage>>,
    #[serde(default)]
    omit_managed_fields: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Rule {
    level: Level,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    user_groups: Vec<String>,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    resources: Vec<GroupResources>,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default, rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    #[serde(default)]
    omit_managed_fields: Option<bool>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct GroupResources {
    #[serde(default)]
    group: String,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
}

// === impl Policy ===

impl Policy {
    /// From YAML or JSON.
    pub(crate) fn parse(text: &str) -> Result<Self, PolicyError> {
        let document: Document = serde_saphyr::from_str(text).map_err(|cause| {
            let said = cause.to_string();
            PolicyError(said.lines().next().unwrap_or_default().to_owned())
        })?;
        if (document.api_version.as_str(), document.kind.as_str()) != (API_VERSION, "Policy") {
            let (version, kind) = (document.api_version, document.kind);
            let said = format!("it is apiVersion {version:?}, kind {kind:?}; write {API_VERSION}, Policy");
            return Err(PolicyError(said));
        }
        let rules = document.rules.unwrap_or_default();
        if rules.is_empty() {
            return Err(PolicyError(
                "it has no rules, so that nothing would be written".to_owned(),
            ));
        }
        for (nth, rule) in rules.iter().enumerate() {
            rule.check()
                .map_err(|said| PolicyError(format!("rules[{nth}]: {said}")))?;
        }
        Ok(Self {
            rules,
            omit_stages: document.omit_stages.unwrap_or_default(),
            omit_managed_fields: document.omit_managed_fields,
        })
    }

    /// What is written of a request; of one that no rule fits, nothing.
    pub(crate) fn verdict(&self, user: Option<&User>, verb: &str, info: &RequestInfo) -> Verdict {
        let rule = self.rules.iter().find(|rule| rule.fits(user, verb, info));
        let mut omit_stages = self.omit_stages.clone();
        omit_stages.extend(rule.iter().flat_map(|rule| &rule.omit_stages));
        Verdict {
            level: rule.map_or(Level::None, |rule| rule.level),
            omit_stages,
            omit_managed_fields: rule
                .and_then(|rule| rule.omit_managed_fields)
                .unwrap_or(self.omit_managed_fields),
        }
    }
}

// === impl Rule ===

impl Rule {
    /// What upstream refuses too (apiserver pkg/apis/audit/validation).
    fn check(&self) -> Result<(), String> {
        let names_resources = !self.resources.is_empty() || !self.namespaces.is_empty();
        if names_resources && !self.non_resource_urls.is_empty() {
            return Err("rules cannot apply to both regular resources and non-resource URLs".to_owned());
        }
        for url in self.non_resource_urls.iter().filter(|url| *url != "*") {
            if !url.starts_with('/') {
                return Err(format!(
                    "{url:?}: non-resource URL rules must begin with a '/' character"
                ));
            }
            if url.trim_end_matches('*').contains('*') || url.ends_with("**") {
                let said = "non-resource URL wildcards '*' must be the final character of the rule";
                return Err(format!("{url:?}: {said}"));
            }
        }
        for of in &self.resources {
            if of.group.contains('/') {
                return Err(format!("group {:?} has a version; name the group alone", of.group));
            }
            if !of.resource_names.is_empty() && of.resources.is_empty() {
                return Err("using resourceNames requires at least one resource".to_owned());
            }
        }
        Ok(())
    }

    fn fits(&self, user: Option<&User>, verb: &str, info: &RequestInfo) -> bool {
        let has = |words: &[String], word: &str| words.iter().any(|found| found == word);
        let by_user = self.users.is_empty() || user.is_some_and(|user| has(&self.users, &user.name));
        let in_group = |user: &User| user.groups.iter().any(|group| has(&self.user_groups, group));
        let by_group = self.user_groups.is_empty() || user.is_some_and(in_group);
        if !by_user || !by_group || !(self.verbs.is_empty() || has(&self.verbs, verb)) {
            return false;
        }
        match &info.resource {
            Some(resource) => self.non_resource_urls.is_empty() && self.fits_resource(resource),
            None => {
                let about_resources = !self.resources.is_empty() || !self.namespaces.is_empty();
                let urls = &self.non_resource_urls;
                !about_resources && (urls.is_empty() || urls.iter().any(|url| fits_path(url, &info.path)))
            }
        }
    }

    fn fits_resource(&self, asked: &ResourceInfo) -> bool {
        let in_namespace = self.namespaces.is_empty() || self.namespaces.contains(&asked.namespace);
        in_namespace && (self.resources.is_empty() || self.resources.iter().any(|of| of.fits(asked)))
    }
}

// === impl GroupResources ===

impl GroupResources {
    fn fits(&self, asked: &ResourceInfo) -> bool {
        if self.group != asked.group {
            return false;
        }
        if self.resources.is_empty() {
            return true;
        }
        let is_named = self.resource_names.is_empty() || self.resource_names.contains(&asked.name);
        is_named && self.resources.iter().any(|pattern| fits_name(pattern, asked))
    }
}

/// `pods`, `pods/log`, `*`, `*/scale`, `pods/*`.
fn fits_name(pattern: &str, asked: &ResourceInfo) -> bool {
    if pattern == "*" {
        return true;
    }
    match pattern.split_once('/') {
        None => asked.subresource.is_empty() && pattern == asked.resource,
        Some((resource, "*")) => resource == asked.resource,
        Some(("*", subresource)) => !subresource.is_empty() && subresource == asked.subresource,
        Some((resource, subresource)) => resource == asked.resource && subresource == asked.subresource,
    }
}

fn fits_path(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => path == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: ["system:kube-proxy"]
  verbs: [watch]
  resources: [{group: "", resources: [endpoints, "services/*"]}]
- level: None
  nonResourceURLs: ["/healthz*", "/version"]
- level: Metadata
  resources: [{group: "", resources: [secrets]}, {resources: ["*/scale"], group: apps}]
  omitManagedFields: true
- level: Request
  userGroups: ["system:nodes"]
  namespaces: [kube-system]
  omitStages: [Panic]
- level: RequestResponse
  resources: [{group: apps}, {group: "", resources: [pods], resourceNames: [one]}]
"#;

    fn user(name: &str, groups: &[&str]) -> User {
        User::authenticated(
            name,
            "",
            groups.iter().map(|group| (*group).to_owned()),
            Default::default(),
        )
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let policy = Policy::parse(POLICY).unwrap();
        let (proxy, node) = (user("system:kube-proxy", &[]), user("system:node:a", &["system:nodes"]));
        #[rustfmt::skip]
        let rows = [
            (&proxy, "GET", "/api/v1/endpoints", "watch=1", Level::None),
            (&proxy, "GET", "/api/v1/endpoints", "", Level::None),
            (&node, "GET", "/healthz/ping", "", Level::None),
            (&node, "GET", "/version", "", Level::None),
            (&node, "GET", "/api/v1/namespaces/a/secrets/s", "", Level::Metadata),
            (&node, "GET", "/apis/apps/v1/namespaces/a/deployments/d/scale", "", Level::Metadata),
            (&node, "GET", "/api/v1/namespaces/kube-system/pods/p/log", "", Level::Request),
            (&node, "GET", "/apis/apps/v1/namespaces/a/deployments/d", "", Level::RequestResponse),
            (&node, "GET", "/api/v1/namespaces/a/pods/one", "", Level::RequestResponse),
            (&node, "GET", "/api/v1/namespaces/a/pods/one/log", "", Level::None),
            (&node, "GET", "/api/v1/namespaces/a/pods/two", "", Level::None),
        ];
        for (who, method, path, query, level) in rows {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let info = RequestInfo::of(&method, path, query).unwrap();
            let verb = info.resource.as_ref().map_or("get".to_owned(), |r| r.verb.to_string());
            assert_eq!(policy.verdict(Some(who), &verb, &info).level, level, "{path}");
        }
        let info = RequestInfo::of(&Method::GET, "/api/v1/namespaces/kube-system/pods", "").unwrap();
        let verdict = policy.verdict(Some(&node), "list", &info);
        assert_eq!(verdict.omit_stages, [Stage::RequestReceived, Stage::Panic]);
        assert!(!verdict.omit_managed_fields);
    }

    #[test]
    fn what_is_no_policy_is_refused_with_its_place() {
        let with = |rule: &str| format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- {rule}\n");
        #[rustfmt::skip]
        let rows = [
            ("".to_owned(), "read the audit policy"),
            ("kind: Policy\nrules: []".to_owned(), "write audit.k8s.io/v1, Policy"),
            ("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: []".to_owned(), "no rules"),
            (with("{level: All}"), "All"),
            (with("{level: None, user: [a]}"), "user"),
            (with("{level: None, nonResourceURLs: [healthz]}"), "rules[0]: \"healthz\": non-resource URL rules must begin"),
            (with("{level: None, nonResourceURLs: [\"/a*b\"]}"), "must be the final character"),
            (with("{level: None, nonResourceURLs: [/a], namespaces: [b]}"), "both regular resources"),
            (with("{level: None, resources: [{group: apps/v1}]}"), "name the group alone"),
            (with("{level: None, resources: [{group: \"\", resourceNames: [a]}]}"), "requires at least one resource"),
            (with("{level: None, omitStages: [Late]}"), "Late"),
        ];
        for (text, said) in rows {
            let error = Policy::parse(&text).unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains('\n'), "{text}: {error}");
        }
    }
}
