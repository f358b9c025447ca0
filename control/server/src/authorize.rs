//! Who may do what. One seam, [`Authorizer::allows`]; behind it, in this order: masters, nodes, RBAC. The first that says
//! yes counts; nobody says no.

mod attributes;
mod graph;
mod node;
pub(crate) mod policy;
mod rbac;
pub(crate) mod rule;

pub use attributes::{Asked, Attributes, Resource};

use crate::request::RequestInfo;
use crate::user::{MASTERS, User};
use api::status::{self, Status};
use rbac::Rbac;
use rule::Rule;
use store::Store;

/// What probes read before there are any roles (upstream's `--authorization-always-allow-paths`).
const PROBES: [&str; 3] = ["/healthz", "/livez", "/readyz"];
/// The parts of a pod that lead into it.
const UPGRADES: [&str; 3] = ["exec", "attach", "portforward"];

/// What the authorizers say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Decision {
    /// Whether it may be done.
    pub allowed: bool,
    /// Why, or why not, as far as they say; for people.
    pub reason: String,
}

/// All authorizers. Never reads the disk: what they know is in memory and as fresh as the last acknowledged write.
pub struct Authorizer {
    rbac: Rbac,
    nodes: node::Nodes,
}

// === impl Decision ===

impl Decision {
    /// Yes, without a word.
    pub(crate) fn yes() -> Self {
        Self {
            allowed: true,
            reason: String::new(),
        }
    }

    /// No opinion, with a word.
    pub(crate) fn no(reason: impl Into<String>) -> Self {
        Self {
            allowed: false,
            reason: reason.into(),
        }
    }
}

// === impl Authorizer ===

impl Authorizer {
    /// Over the objects of `store`.
    pub fn new(store: Store) -> Self {
        Self {
            rbac: Rbac::new(store.clone()),
            nodes: node::Nodes::new(store),
        }
    }

    /// Whether `user` may do what is asked.
    pub fn allows(&self, user: &User, asked: &Attributes<'_>) -> Decision {
        if user.is_in(MASTERS) || matches!(asked.asked, Asked::Path(path) if PROBES.contains(&path)) {
            return Decision::yes();
        }
        let mut reasons = Vec::new();
        if let Some(node) = user.node() {
            let decision = self.nodes.allows(node, asked);
            if decision.allowed {
                return decision;
            }
            reasons.push(decision.reason);
        }
        let decision = self.rbac.allows(user, asked);
        if decision.allowed {
            return decision;
        }
        reasons.push(decision.reason);
        reasons.retain(|reason| !reason.is_empty());
        Decision::no(reasons.join("\n"))
    }

    /// All rules of `user` in `namespace` (empty: those that hold everywhere), and what could not be resolved.
    pub(crate) fn rules_of(&self, user: &User, namespace: &str) -> (Vec<Rule>, Vec<String>) {
        self.rbac.rules_of(user, namespace)
    }

    /// The rules of a Role or ClusterRole.
    pub(crate) fn rules_in(&self, kind: &str, namespace: &str, name: &str) -> Option<Vec<Rule>> {
        self.rbac.rules_in(kind, namespace, name)
    }

    /// Whether `user` may do what a request asks.
    pub(crate) fn judge(&self, user: &User, info: &RequestInfo) -> Decision {
        self.allows(user, &Attributes::of(info))
    }

    /// Refuses with upstream's sentence what was judged so.
    pub(crate) fn enforce(&self, user: &User, info: &RequestInfo, judged: Decision) -> Result<(), Status> {
        let asked = Attributes::of(info);
        if !judged.allowed {
            return Err(refusal(user, &asked, &judged.reason));
        }
        match &asked.asked {
            // A WebSocket begins as a GET, but whoever may only look must not get into a container by it (upstream's
            // AuthorizePodWebsocketUpgradeCreatePermission).
            Asked::Resource(pods) if asked.verb == "get" && UPGRADES.iter().any(|sub| pods.is("", "pods", sub)) => {
                self.check(user, &Attributes::resource("create", *pods))
            }
            Asked::Resource(_) | Asked::Path(_) => Ok(()),
        }
    }

    /// Refuses with upstream's sentence unless `user` may do what is asked.
    pub(crate) fn check(&self, user: &User, asked: &Attributes<'_>) -> Result<(), Status> {
        let decision = self.allows(user, asked);
        if decision.allowed {
            Ok(())
        } else {
            Err(refusal(user, asked, &decision.reason))
        }
    }
}

/// The 403 of upstream's `responsewriters.Forbidden`.
fn refusal(user: &User, asked: &Attributes<'_>, reason: &str) -> Status {
    let resource = match &asked.asked {
        Asked::Path(path) => {
            let mut refused = status::forbidden_path(&user.name, asked.verb, path);
            add_reason(&mut refused.message, reason);
            return refused;
        }
        Asked::Resource(resource) => resource,
    };
    let place = if resource.namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {:?}", resource.namespace)
    };
    let qualified = if resource.group.is_empty() {
        resource.resource.to_owned()
    } else {
        format!("{}.{}", resource.resource, resource.group)
    };
    let subject = if resource.name.is_empty() {
        qualified
    } else {
        format!("{qualified} {:?}", resource.name)
    };
    let mut message = format!(
        "{subject} is forbidden: User {:?} cannot {} resource {:?} in API group {:?} {place}",
        &*user.name,
        asked.verb,
        resource.path(),
        resource.group
    );
    add_reason(&mut message, reason);
    let mut details = serde_json::Map::new();
    for (key, value) in [
        ("name", resource.name),
        ("group", resource.group),
        ("kind", resource.resource),
    ] {
        if !value.is_empty() {
            details.insert(key.to_owned(), value.into());
        }
    }
    Status {
        code: 403,
        reason: "Forbidden",
        message,
        details,
    }
}

fn add_reason(message: &mut String, reason: &str) {
    if !reason.is_empty() {
        message.push_str(": ");
        message.push_str(reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    #[test]
    fn refusals_are_upstreams_sentences() {
        let nobody = User::anonymous();
        for (method, path, reason, sentence) in [
            (
                Method::GET,
                "/metrics",
                "",
                r#"forbidden: User "system:anonymous" cannot get path "/metrics""#,
            ),
            (
                Method::GET,
                "/apis/apps/v1/namespaces/a/deployments",
                "",
                r#"deployments.apps is forbidden: User "system:anonymous" cannot list resource "deployments" in API group "apps" in the namespace "a""#,
            ),
            (
                Method::DELETE,
                "/api/v1/nodes/n",
                "because",
                r#"nodes "n" is forbidden: User "system:anonymous" cannot delete resource "nodes" in API group "" at the cluster scope: because"#,
            ),
        ] {
            let info = RequestInfo::of(&method, path, "").unwrap();
            assert_eq!(refusal(&nobody, &Attributes::of(&info), reason).message, sentence);
        }
    }
}
