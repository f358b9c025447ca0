//! Who may do what. The one seam for authorizers: today masters, nodes by a fixed rule, and health for everybody.

use crate::request::{RequestInfo, ResourceInfo};
use crate::user::{AUTHENTICATED, MASTERS, User};
use api::{
    Verb,
    status::{self, Status},
};

/// Paths that say only whether the server lives, and which version it is (upstream: `system:public-info-viewer` and the
/// anonymous paths of a default AuthenticationConfiguration).
const PUBLIC: &[&str] = &["/healthz", "/livez", "/readyz", "/version"];

/// Paths that every authenticated user reads (upstream: `system:discovery`).
const DISCOVERY: &[&str] = &["/api", "/apis", "/openapi", "/healthz", "/livez", "/readyz", "/version"];

/// What a node may do to a group's resources; the narrowing to its own objects is admission's (`NodeRestriction`).
struct NodeRule {
    group: &'static str,
    resources: &'static [&'static str],
    verbs: &'static [Verb],
}

/// Upstream's `NodeRules` (plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go), as far as these kinds exist here.
const NODE_RULES: &[NodeRule] = &[
    NodeRule {
        group: "",
        resources: &["services", "endpoints", "namespaces"],
        verbs: &[Verb::Get, Verb::List, Verb::Watch],
    },
    NodeRule {
        group: "",
        resources: &["configmaps", "secrets", "serviceaccounts"],
        verbs: &[Verb::Get, Verb::List, Verb::Watch],
    },
    NodeRule {
        group: "",
        resources: &["nodes"],
        verbs: &[
            Verb::Create,
            Verb::Get,
            Verb::List,
            Verb::Watch,
            Verb::Update,
            Verb::Patch,
        ],
    },
    NodeRule {
        group: "",
        resources: &["nodes/status", "pods/status"],
        verbs: &[Verb::Get, Verb::Update, Verb::Patch],
    },
    NodeRule {
        group: "",
        resources: &["pods"],
        verbs: &[Verb::Get, Verb::List, Verb::Watch, Verb::Create, Verb::Delete],
    },
    NodeRule {
        group: "",
        resources: &["events"],
        verbs: &[Verb::Create, Verb::Update, Verb::Patch],
    },
    NodeRule {
        group: "events.k8s.io",
        resources: &["events"],
        verbs: &[Verb::Create, Verb::Update, Verb::Patch],
    },
    NodeRule {
        group: "coordination.k8s.io",
        resources: &["leases"],
        verbs: &[Verb::Create, Verb::Get, Verb::Update, Verb::Patch, Verb::Delete],
    },
    NodeRule {
        group: "discovery.k8s.io",
        resources: &["endpointslices"],
        verbs: &[Verb::Get, Verb::List, Verb::Watch],
    },
];

/// Refuses with upstream's sentence unless `user` may do what `info` asks.
pub fn authorize(user: &User, info: &RequestInfo) -> Result<(), Status> {
    let allowed = user.is_in(MASTERS)
        || match &info.resource {
            Some(resource) => user.node().is_some() && node_may(resource),
            None => info.method == "get" && public(user, &info.path),
        };
    if allowed { Ok(()) } else { Err(refusal(user, info)) }
}

fn public(user: &User, path: &str) -> bool {
    let below = |root: &&str| {
        path.strip_prefix(*root)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    PUBLIC.iter().any(&below) || user.is_in(AUTHENTICATED) && DISCOVERY.iter().any(below)
}

fn node_may(asked: &ResourceInfo) -> bool {
    let resource = resource_path(asked);
    NODE_RULES.iter().any(|rule| {
        rule.group == asked.group && rule.resources.contains(&resource.as_str()) && rule.verbs.contains(&asked.verb)
    })
}

fn resource_path(asked: &ResourceInfo) -> String {
    if asked.subresource.is_empty() {
        asked.resource.clone()
    } else {
        format!("{}/{}", asked.resource, asked.subresource)
    }
}

fn refusal(user: &User, info: &RequestInfo) -> Status {
    let Some(asked) = &info.resource else {
        return status::forbidden_path(&user.name, &info.method, &info.path);
    };
    let place = if asked.namespace.is_empty() || asked.resource == "namespaces" && asked.name.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {:?}", asked.namespace)
    };
    let why = format!(
        "User {:?} cannot {} resource {:?} in API group {:?} {place}",
        &*user.name,
        asked.verb,
        resource_path(asked),
        asked.group
    );
    let resource = if asked.group.is_empty() {
        asked.resource.clone()
    } else {
        format!("{}.{}", asked.resource, asked.group)
    };
    let subject = if asked.name.is_empty() {
        resource
    } else {
        format!("{resource} {:?}", asked.name)
    };
    let mut details = serde_json::Map::new();
    for (key, value) in [
        ("name", &asked.name),
        ("group", &asked.group),
        ("kind", &asked.resource),
    ] {
        if !value.is_empty() {
            details.insert(key.to_owned(), value.as_str().into());
        }
    }
    Status {
        code: 403,
        reason: "Forbidden",
        message: format!("{subject} is forbidden: {why}"),
        details,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;
    use identity::Subject;

    fn ask(user: &User, method: Method, path: &str) -> Result<(), String> {
        authorize(user, &RequestInfo::of(&method, path, "").unwrap()).map_err(|status| status.message)
    }

    fn user(name: &str, group: &str) -> User {
        User::of(&Subject {
            common_name: name.to_owned(),
            organizations: vec![group.to_owned()],
        })
    }

    #[test]
    fn anonymous_sees_health_and_nothing_else() {
        let nobody = User::anonymous();
        for path in ["/healthz", "/livez/ping", "/readyz", "/version"] {
            assert_eq!(ask(&nobody, Method::GET, path), Ok(()), "{path}");
        }
        for (method, path, sentence) in [
            (
                Method::GET,
                "/metrics",
                r#"forbidden: User "system:anonymous" cannot get path "/metrics""#,
            ),
            (
                Method::GET,
                "/api/v1/namespaces/a/pods",
                r#"pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group "" in the namespace "a""#,
            ),
            (
                Method::DELETE,
                "/api/v1/nodes/n",
                r#"nodes "n" is forbidden: User "system:anonymous" cannot delete resource "nodes" in API group "" at the cluster scope"#,
            ),
        ] {
            assert_eq!(ask(&nobody, method, path), Err(sentence.to_owned()));
        }
    }

    #[test]
    fn nodes_do_what_nodes_need() {
        let node = user("system:node:n1", "system:nodes");
        for (method, path, allowed) in [
            (Method::GET, "/api/v1/pods", true),
            (Method::PATCH, "/api/v1/namespaces/a/pods/p/status", true),
            (
                Method::PUT,
                "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1",
                true,
            ),
            (Method::PATCH, "/api/v1/namespaces/a/pods/p", false),
            (Method::POST, "/api/v1/namespaces/a/secrets", false),
            (Method::POST, "/api/v1/namespaces/a/pods/p/exec", false),
            (Method::GET, "/api", true),
        ] {
            assert_eq!(ask(&node, method.clone(), path).is_ok(), allowed, "{method} {path}");
        }
        assert!(ask(&user("system:node:n1", "somebody"), Method::GET, "/api/v1/pods").is_err());
        assert!(ask(&user("kubernetes-admin", MASTERS), Method::DELETE, "/api/v1/nodes/n").is_ok());
    }
}
