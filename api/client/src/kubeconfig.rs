//! A transport out of a kubeconfig: its current context's server, CA and client certificate.

use crate::http::{ConnectError, Http, Identity};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use std::io;
use std::path::{Path, PathBuf};

/// Why a kubeconfig gives no transport.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// It, or a file that it names, cannot be read.
    #[error("read {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// It is no kubeconfig.
    #[error("{path} is not a kubeconfig: {cause}")]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: Box<serde_saphyr::Error>,
    },
    /// It names something that is not in it, or lacks something.
    #[error("{path} has no {what}")]
    Missing {
        /// Which file.
        path: PathBuf,
        /// What.
        what: String,
    },
    /// Embedded data is not base64.
    #[error("{path}: {field} is not base64")]
    Base64 {
        /// Which file.
        path: PathBuf,
        /// Which field.
        field: &'static str,
        /// Why.
        #[source]
        cause: base64::DecodeError,
    },
    /// Its server or certificates cannot be used.
    #[error("{path}: {cause}")]
    Connect {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: ConnectError,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Kubeconfig {
    #[serde(default)]
    current_context: String,
    #[serde(default)]
    clusters: Vec<NamedCluster>,
    #[serde(default)]
    contexts: Vec<NamedContext>,
    #[serde(default)]
    users: Vec<NamedUser>,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: String,
    certificate_authority_data: Option<String>,
    certificate_authority: Option<PathBuf>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: Context,
}

#[derive(Deserialize)]
struct Context {
    cluster: String,
    #[serde(default)]
    user: String,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    user: User,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct User {
    client_certificate_data: Option<String>,
    client_certificate: Option<PathBuf>,
    client_key_data: Option<String>,
    client_key: Option<PathBuf>,
}

impl Http {
    /// The server of the current context of the kubeconfig at `path`. Only client certificates are known as credentials.
    pub fn from_kubeconfig(path: &Path) -> Result<Http, KubeconfigError> {
        let text = std::fs::read_to_string(path).map_err(|cause| KubeconfigError::Read {
            path: path.to_owned(),
            cause,
        })?;
        let config: Kubeconfig = serde_saphyr::from_str(&text).map_err(|cause| KubeconfigError::Parse {
            path: path.to_owned(),
            cause: Box::new(cause),
        })?;
        let missing = |what: String| KubeconfigError::Missing {
            path: path.to_owned(),
            what,
        };
        let wanted = &config.current_context;
        let context = config.contexts.iter().find(|context| context.name == *wanted);
        let context = &context.ok_or_else(|| missing(format!("context {wanted:?}")))?.context;
        let cluster = config.clusters.iter().find(|cluster| cluster.name == context.cluster);
        let cluster = &cluster
            .ok_or_else(|| missing(format!("cluster {:?}", context.cluster)))?
            .cluster;
        let ca = (
            "certificate-authority-data",
            &cluster.certificate_authority_data,
            &cluster.certificate_authority,
        );
        let ca = material(path, ca)?.ok_or_else(|| missing("certificate-authority-data".into()))?;
        let user = config
            .users
            .iter()
            .find(|user| user.name == context.user)
            .map(|user| &user.user);
        let identity = user.map(|user| identity(path, user)).transpose()?.flatten();
        Http::new(&cluster.server, &ca, identity.as_ref()).map_err(|cause| KubeconfigError::Connect {
            path: path.to_owned(),
            cause,
        })
    }
}

fn identity(path: &Path, user: &User) -> Result<Option<Identity>, KubeconfigError> {
    let certificate = material(
        path,
        (
            "client-certificate-data",
            &user.client_certificate_data,
            &user.client_certificate,
        ),
    )?;
    let key = material(path, ("client-key-data", &user.client_key_data, &user.client_key))?;
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(Identity { certificate, key })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(KubeconfigError::Missing {
            path: path.to_owned(),
            what: "client-key-data".into(),
        }),
        (None, Some(_)) => Err(KubeconfigError::Missing {
            path: path.to_owned(),
            what: "client-certificate-data".into(),
        }),
    }
}

/// Embedded base64, or the file named instead, relative to the kubeconfig.
fn material(
    config: &Path,
    (field, data, file): (&'static str, &Option<String>, &Option<PathBuf>),
) -> Result<Option<Vec<u8>>, KubeconfigError> {
    match (data, file) {
        (Some(data), _) => BASE64_STANDARD
            .decode(data.trim())
            .map(Some)
            .map_err(|cause| KubeconfigError::Base64 {
                path: config.to_owned(),
                field,
                cause,
            }),
        (None, Some(file)) => {
            let path = config.parent().unwrap_or(Path::new("")).join(file);
            std::fs::read(&path)
                .map(Some)
                .map_err(|cause| KubeconfigError::Read { path, cause })
        }
        (None, None) => Ok(None),
    }
}
