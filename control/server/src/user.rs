//! Who asks.

use identity::Subject;
use std::sync::Arc;

/// Full power; upstream's name.
pub const MASTERS: &str = "system:masters";
/// Every node's group.
pub const NODES: &str = "system:nodes";
/// Whoever proved who they are.
pub const AUTHENTICATED: &str = "system:authenticated";
/// Whoever did not.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";

/// A user with their groups, as the authenticator found them. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Name, such as `system:node:n1`.
    pub name: Arc<str>,
    /// Groups, `system:authenticated` or `system:unauthenticated` among them.
    pub groups: Arc<[String]>,
}

// === impl User ===

impl User {
    /// Whoever shows no certificate.
    pub fn anonymous() -> Self {
        Self {
            name: "system:anonymous".into(),
            groups: Arc::new([UNAUTHENTICATED.to_owned()]),
        }
    }

    /// Whom a verified client certificate speaks for: CN is the user, each O a group.
    pub fn of(subject: &Subject) -> Self {
        Self::authenticated(&subject.common_name, subject.organizations.iter().cloned())
    }

    /// A part of the control plane that lives in this process, such as `system:kube-scheduler`.
    pub fn component(name: &str) -> Self {
        Self::authenticated(name, [MASTERS.to_owned()])
    }

    fn authenticated(name: &str, groups: impl IntoIterator<Item = String>) -> Self {
        let groups = groups.into_iter().chain([AUTHENTICATED.to_owned()]).collect();
        Self {
            name: name.into(),
            groups,
        }
    }

    /// Whether the user is in `group`.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }

    /// The node that the user is, if it is one: `system:node:NAME` in the group `system:nodes`.
    pub fn node(&self) -> Option<&str> {
        self.name
            .strip_prefix("system:node:")
            .filter(|name| !name.is_empty() && self.is_in(NODES))
    }
}
