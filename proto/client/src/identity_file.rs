//! The identity file: a person's certificate towards one cluster's machines, and where those machines are.

use serde::{Deserialize, Serialize};

/// The identity file, TOML. It holds a private key: no `Debug`, and kept with mode 0600.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct IdentityFile {
    /// Version of this format; 1.
    pub version: u32,
    /// The cluster's name.
    pub cluster: String,
    /// CA of its machine API, PEM.
    pub ca: String,
    /// The person's certificate, PEM; its organization says the role.
    pub certificate: String,
    /// Its key, PEM.
    pub key: String,
    /// The cluster's machines; calls go to the first where nothing else is said.
    #[serde(default, rename = "machine", skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<MachineAddress>,
}

/// A machine and where it is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MachineAddress {
    /// Its name, which its certificate bears.
    pub name: String,
    /// `HOST:PORT`.
    pub endpoint: String,
}

/// What is wrong with an identity file; never its content.
#[derive(Debug, thiserror::Error)]
pub enum IdentityFileError {
    /// Not TOML, or with other keys.
    #[error("read identity file: {0}")]
    Syntax(String),
    /// From another time.
    #[error("read identity file: its version is {0}, this program reads version 1")]
    Version(u32),
    /// Nobody to call.
    #[error("find machine {0:?} in the identity file: it lists {1}")]
    NoSuchMachine(String, String),
}

// === impl IdentityFile ===

impl IdentityFile {
    /// From its TOML.
    pub fn parse(text: &str) -> Result<Self, IdentityFileError> {
        let syntax = |error: toml::de::Error| IdentityFileError::Syntax(error.message().replace('\n', ", "));
        let file: Self = toml::from_str(text).map_err(syntax)?;
        if file.version == 1 {
            Ok(file)
        } else {
            Err(IdentityFileError::Version(file.version))
        }
    }

    /// As TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("an identity file is TOML because it holds only strings and tables")
    }

    /// The machine that is meant by a name or an endpoint; the first where nothing is said. What is not listed is
    /// taken as an address.
    pub fn machine(&self, wanted: Option<&str>) -> Result<MachineAddress, IdentityFileError> {
        let listed = |wanted: &str| self.machines.iter().find(|m| m.name == wanted || m.endpoint == wanted);
        match wanted {
            None => self.machines.first().cloned().ok_or_else(|| self.unknown("")),
            Some(wanted) => match listed(wanted) {
                Some(machine) => Ok(machine.clone()),
                None => MachineAddress::from_address(wanted).ok_or_else(|| self.unknown(wanted)),
            },
        }
    }

    fn unknown(&self, wanted: &str) -> IdentityFileError {
        let names = self
            .machines
            .iter()
            .map(|machine| machine.name.as_str())
            .collect::<Vec<_>>();
        let names = if names.is_empty() {
            "none; say --node ADDRESS".to_owned()
        } else {
            names.join(", ")
        };
        IdentityFileError::NoSuchMachine(wanted.to_owned(), names)
    }
}

// === impl MachineAddress ===

impl MachineAddress {
    /// From `ADDRESS`, `ADDRESS:PORT`, `[V6]:PORT` or a DNS name with a dot in it; a bare word is a machine's name, not an
    /// address. The certificate must then bear the address.
    pub fn from_address(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<std::net::SocketAddr>() {
            return Some(Self {
                name: address.ip().to_string(),
                endpoint: address.to_string(),
            });
        }
        if let Ok(ip) = text.trim_matches(['[', ']']).parse::<std::net::IpAddr>() {
            let endpoint = std::net::SocketAddr::new(ip, proto::machine::PORT).to_string();
            return Some(Self {
                name: ip.to_string(),
                endpoint,
            });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, port.parse::<u16>().ok()?),
            None => (text, proto::machine::PORT),
        };
        let is_name = host == "localhost" || host.contains('.') && !host.contains([':', '/', ' ']);
        is_name.then(|| Self {
            name: host.to_owned(),
            endpoint: format!("{host}:{port}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_get_the_port_and_bare_words_are_none() {
        for (text, endpoint) in [
            ("10.0.0.1", Some("10.0.0.1:50000")),
            ("10.0.0.1:1", Some("10.0.0.1:1")),
            ("fd00::1", Some("[fd00::1]:50000")),
            ("[fd00::1]:7", Some("[fd00::1]:7")),
            ("n1.example.test:9", Some("n1.example.test:9")),
            ("localhost:9", Some("localhost:9")),
            ("n1", None),
            ("n1.test:http", None),
        ] {
            assert_eq!(
                MachineAddress::from_address(text).map(|m| m.endpoint).as_deref(),
                endpoint,
                "{text}"
            );
        }
    }
}
