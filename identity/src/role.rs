//! What the holder of a machine-API certificate may do; the certificate's organization says it: `os:admin`.

use std::fmt;
use std::str::FromStr;

/// Who may do what on the machine API; each role may do all that the one before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Looks, and changes nothing.
    Reader,
    /// Restarts services and machines.
    Operator,
    /// Everything: config, reset.
    Admin,
}

/// A word that names no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no role of the machine API: use os:admin, os:operator or os:reader")]
pub struct UnknownRole(pub String);

// === impl Role ===

impl Role {
    /// The organization in the certificate.
    pub fn organization(self) -> &'static str {
        match self {
            Role::Reader => "os:reader",
            Role::Operator => "os:operator",
            Role::Admin => "os:admin",
        }
    }

    /// The highest role among a certificate's organizations.
    pub fn highest<'a>(organizations: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        organizations.into_iter().filter_map(|o| o.parse().ok()).max()
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.organization())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(word: &str) -> Result<Self, UnknownRole> {
        match word.strip_prefix("os:").unwrap_or(word) {
            "reader" => Ok(Role::Reader),
            "operator" => Ok(Role::Operator),
            "admin" => Ok(Role::Admin),
            _ => Err(UnknownRole(word.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_role_counts_and_strangers_have_none() {
        assert_eq!(Role::highest(["os:reader", "os:admin"]), Some(Role::Admin));
        assert_eq!(Role::highest(["system:masters"]), None);
        assert!(Role::Admin > Role::Operator && Role::Operator > Role::Reader);
    }
}
