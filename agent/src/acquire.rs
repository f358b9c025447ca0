//! Which config this machine runs with: one on trial, else that on STATE, else the firmware's, else none.
//!
//! A config that is there and broken stops the search: what a person put there is never passed over in silence.

use crate::places::Places;
use crate::pods::static_pods::{self, BadStaticPod};
use crate::state;
use crate::trial::{self, Found};
use config::{MachineConfig, Secrets, sentence};
use identity::tls::{Callers, Trust};
use identity::{Subject, tls};
use jiff::Timestamp;
use std::fmt;
use std::fs;

/// A config to run with, checked, with its secrets.
pub struct Running {
    /// The config.
    pub config: MachineConfig,
    /// Its text, as a person wrote it.
    pub text: String,
    /// This machine's secrets.
    pub secrets: Secrets,
    /// Their text.
    pub secrets_text: String,
    /// Where both came from.
    pub source: Source,
}

/// Where a config came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The machine's own STATE.
    State,
    /// QEMU's fw_cfg.
    Firmware,
    /// STATE, but for this boot only unless it is confirmed.
    Trial,
}

/// What the search ended with.
pub enum Acquired {
    /// A good config; boxed since it is much larger than nothing.
    Config(Box<Running>),
    /// None; a sentence for each place that had something unusable.
    Nothing(Vec<String>),
}

/// Why a config with its secrets cannot be run with.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The config itself.
    #[error("{0}")]
    Config(String),
    /// Its secrets.
    #[error("{0}")]
    Secrets(String),
    /// Certificates that TLS does not take.
    #[error("secrets.toml: {0}")]
    Tls(#[from] tls::TlsError),
    /// A registry's CA that TLS does not take.
    #[error("`oci.registry` {host:?}: `ca`: {cause}")]
    Registry {
        /// The registry.
        host: String,
        /// Why.
        cause: tls::TlsError,
    },
    /// A static pod that cannot be.
    #[error(transparent)]
    StaticPod(#[from] BadStaticPod),
    /// Certificates of another machine.
    #[error("secrets.toml: `node` was issued for {found:?}, but `machine.name` is {name:?}; {REMEDY}")]
    OtherMachine {
        /// What the certificate says.
        found: String,
        /// What the config says.
        name: String,
    },
}

const REMEDY: &str = "make new secrets with `pintlectl config secrets --bundle bundle.toml CONFIG`";

/// Looks in all places, in order.
pub fn acquire(places: &Places) -> Acquired {
    match trial::find(&places.state, &places.run) {
        Ok(Found::OnTrial(trial)) => match found(&trial.config, &trial.secrets, Source::Trial) {
            Acquired::Config(running) => return Acquired::Config(running),
            // It was good for the Pintle that took it, which may be another than this.
            Acquired::Nothing(reasons) => {
                tracing::error!("{}; the one before is back", reasons.join("; "));
                if let Err(error) = trial::drop_it(&places.state, &places.run) {
                    tracing::error!("{error}");
                }
            }
        },
        Ok(Found::Reverted) => {
            tracing::warn!(
                "the config on trial was not confirmed before the machine went down; the one before is back"
            );
        }
        Ok(Found::Nothing) => {}
        // What is stored is the better choice, and there to be loaded.
        Err(error) => tracing::error!("the config on trial is passed over: {error}"),
    }
    match state::load(&places.state) {
        Ok(Some(stored)) => return found(&stored.config, &stored.secrets, Source::State),
        Ok(None) => {}
        Err(error) => return Acquired::Nothing(vec![error.to_string()]),
    }
    let firmware = |key: &str| fs::read_to_string(places.firmware.join(key).join("raw"));
    match (firmware("config"), firmware("secrets")) {
        (Ok(config), secrets) => found(&config, &secrets.unwrap_or_default(), Source::Firmware),
        (Err(_), _) => Acquired::Nothing(Vec::new()),
    }
}

fn found(config: &str, secrets: &str, source: Source) -> Acquired {
    match check(config, secrets, source) {
        Ok(running) => Acquired::Config(Box::new(running)),
        Err(unusable) => Acquired::Nothing(vec![format!(
            "the machine config from {source} is unusable: {unusable}"
        )]),
    }
}

/// Everything that can be known to be wrong before running with it.
pub fn check(config_text: &str, secrets_text: &str, source: Source) -> Result<Running, Unusable> {
    let config = config::parse(config_text).map_err(|problems| Unusable::Config(sentence(&problems)))?;
    let secrets =
        config::parse_secrets(secrets_text, &config).map_err(|problems| Unusable::Secrets(sentence(&problems)))?;
    tls::server(&secrets.machine, Callers::Of(&secrets.machine_ca), &[])?;
    tls::server(&secrets.node, Callers::Of(&secrets.cluster_ca), &[])?;
    if let Some(plane) = &secrets.control_plane {
        tls::server(&plane.server, Callers::Anybody, &[])?;
    }
    for registry in &config.oci.registries {
        let unusable = |cause| Unusable::Registry {
            host: registry.host.clone(),
            cause,
        };
        if let Some(ca) = &registry.ca {
            tls::client(Trust::Authority(ca), None, &[]).map_err(unusable)?;
        }
    }
    static_pods::read(&config.node.static_pods, &config.machine.name, Timestamp::now())?;
    let wanted = format!("system:node:{}", config.machine.name);
    let found = tls::certificates(&secrets.node.certificate)?
        .first()
        .and_then(|der| Subject::of(der).ok());
    match found.map(|subject| subject.common_name) {
        Some(found) if found == wanted => {}
        found => {
            return Err(Unusable::OtherMachine {
                found: found.unwrap_or_default(),
                name: config.machine.name,
            });
        }
    }
    Ok(Running {
        config,
        text: config_text.to_owned(),
        secrets,
        secrets_text: secrets_text.to_owned(),
        source,
    })
}

// === impl Source ===

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::State => "state",
            Source::Firmware => "fw_cfg",
            Source::Trial => "trial",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::testing;

    #[test]
    fn state_comes_before_the_firmware_and_a_broken_state_stops_the_search() {
        let root = tempfile::tempdir().unwrap();
        let places = Places::below(root.path());
        assert!(matches!(acquire(&places), Acquired::Nothing(reasons) if reasons.is_empty()));

        let (config, secrets) = testing::machine("n1", "worker");
        for (key, text) in [("config", &config), ("secrets", &secrets)] {
            fs::create_dir_all(places.firmware.join(key)).unwrap();
            fs::write(places.firmware.join(key).join("raw"), text).unwrap();
        }
        assert!(matches!(acquire(&places), Acquired::Config(running) if running.source == Source::Firmware));

        fs::create_dir(&places.state).unwrap();
        fs::write(places.state.join("config.toml"), config.replace("worker", "worke")).unwrap();
        fs::write(places.state.join("secrets.toml"), &secrets).unwrap();
        let Acquired::Nothing(reasons) = acquire(&places) else {
            panic!("a broken config was taken")
        };
        assert!(
            reasons[0].contains("from state") && reasons[0].contains("did you mean `worker`?"),
            "{reasons:?}"
        );

        fs::write(places.state.join("config.toml"), config.replace("\"n1\"", "\"n2\"")).unwrap();
        let Acquired::Nothing(reasons) = acquire(&places) else {
            panic!("another machine's secrets were taken")
        };
        assert!(reasons[0].contains("issued for \"system:node:n1\""), "{reasons:?}");

        state::store(&places.state, &config, &secrets).unwrap();
        assert!(matches!(acquire(&places), Acquired::Config(running) if running.source == Source::State));
    }
}
