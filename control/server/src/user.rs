//! Who asks.

use identity::Subject;
use ring::digest;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// Full power; upstream's name.
pub const MASTERS: &str = "system:masters";
/// Every node's group.
pub const NODES: &str = "system:nodes";
/// Whoever proved who they are.
pub const AUTHENTICATED: &str = "system:authenticated";
/// Whoever did not.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The user of whoever did not.
pub const ANONYMOUS: &str = "system:anonymous";
/// Every service account's group; with `:namespace`, those of a namespace.
pub const SERVICE_ACCOUNTS: &str = "system:serviceaccounts";
/// What proved it: the token's or the certificate's identity (authentication.k8s.io `credential-id`).
pub const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// What is known about a user beyond name and groups.
pub type Extra = BTreeMap<String, Vec<String>>;

/// A user with their groups, as the authenticator found them. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Name, such as `system:node:n1`.
    pub name: Arc<str>,
    /// Tells users of one name apart over time; empty for most.
    pub uid: Arc<str>,
    /// Groups, `system:authenticated` or `system:unauthenticated` among them.
    pub groups: Arc<[String]>,
    /// More, by keys that are domain names with a path.
    pub extra: Arc<Extra>,
}

// === impl User ===

impl User {
    /// Whoever shows nothing.
    pub fn anonymous() -> Self {
        static NOBODY: LazyLock<User> =
            LazyLock::new(|| User::new(ANONYMOUS, "", [UNAUTHENTICATED.to_owned()], Extra::new()));
        NOBODY.clone()
    }

    /// Whom a client certificate's subject speaks for: CN is the user, each O a group.
    pub fn of(subject: &Subject) -> Self {
        Self::authenticated(
            &subject.common_name,
            "",
            subject.organizations.iter().cloned(),
            Extra::new(),
        )
    }

    /// The same with the certificate's fingerprint, so that what it did can be told apart from what another one did.
    pub fn of_certificate(subject: &Subject, der: &[u8]) -> Self {
        let fingerprint = digest::digest(&digest::SHA256, der);
        let hex: String = fingerprint.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let extra = Extra::from([(CREDENTIAL_ID.to_owned(), vec![format!("X509SHA256={hex}")])]);
        Self {
            extra: Arc::new(extra),
            ..Self::of(subject)
        }
    }

    /// A part of the control plane that lives in this process, such as `system:kube-scheduler`.
    pub fn component(name: &str) -> Self {
        Self::authenticated(name, "", [MASTERS.to_owned()], Extra::new())
    }

    /// Somebody who proved who they are.
    pub(crate) fn authenticated(name: &str, uid: &str, groups: impl IntoIterator<Item = String>, extra: Extra) -> Self {
        Self::new(name, uid, groups.into_iter().chain([AUTHENTICATED.to_owned()]), extra)
    }

    /// A user with exactly these groups.
    pub(crate) fn new(name: &str, uid: &str, groups: impl IntoIterator<Item = String>, extra: Extra) -> Self {
        Self {
            name: name.into(),
            uid: uid.into(),
            groups: groups.into_iter().collect(),
            extra: Arc::new(extra),
        }
    }

    /// Whether the user is in `group`.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }

    /// Whether nobody knows who it is.
    pub fn is_anonymous(&self) -> bool {
        &*self.name == ANONYMOUS
    }

    /// The node that the user is, if it is one: `system:node:NAME` in the group `system:nodes`.
    pub fn node(&self) -> Option<&str> {
        self.name
            .strip_prefix("system:node:")
            .filter(|name| !name.is_empty() && self.is_in(NODES))
    }

    /// As `authentication.k8s.io/v1 UserInfo`; what is empty is left out.
    pub(crate) fn info(&self) -> Value {
        let mut info = Map::new();
        info.insert("username".to_owned(), (&*self.name).into());
        if !self.uid.is_empty() {
            info.insert("uid".to_owned(), (&*self.uid).into());
        }
        if !self.groups.is_empty() {
            info.insert("groups".to_owned(), json!(&*self.groups));
        }
        if !self.extra.is_empty() {
            info.insert("extra".to_owned(), json!(&*self.extra));
        }
        Value::Object(info)
    }
}

/// The user that a service account is.
pub(crate) fn account_user(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}

/// The groups of a namespace's service accounts.
pub(crate) fn account_groups(namespace: &str) -> [String; 2] {
    [SERVICE_ACCOUNTS.to_owned(), format!("{SERVICE_ACCOUNTS}:{namespace}")]
}
