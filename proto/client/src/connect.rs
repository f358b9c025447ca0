//! One connection to one machine.

use config::KeyPair;
use hyper_util::rt::TokioIo;
use identity::tls::{self, TlsError, Trust};
use proto::machine::v1::{
    config_client::ConfigClient, images_client::ImagesClient, info_client::InfoClient, logs_client::LogsClient,
    power_client::PowerClient, resources_client::ResourcesClient, services_client::ServicesClient,
};
use rustls::pki_types::ServerName;
use std::error::Error;
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status};

use crate::identity_file::{IdentityFile, MachineAddress};

/// A machine that does not answer a TCP handshake and TLS in this time is not there: a slow one under emulation
/// took half a second.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// The slowest call writes a config to a disk or lists a thousand processes; under emulation on a busy host that was seconds.
pub(crate) const CALL_DEADLINE: Duration = Duration::from_secs(60);
/// So that a follower notices a machine that lost its power.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// How both sides prove who they are.
#[derive(Clone, Copy)]
pub enum Credentials<'a> {
    /// By the cluster's machine CA.
    Identity(&'a IdentityFile),
    /// A machine without config: it is known by the fingerprint on its console, the caller is anybody.
    Fingerprint(&'a str),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Bad identity.
    #[error("prepare TLS: {0}")]
    Tls(#[from] TlsError),
    /// A name that cannot stand in a certificate.
    #[error("call {0:?}: this is neither a DNS name nor an IP address")]
    Name(String),
    /// Not there, or not who it should be.
    #[error("call machine {name} at {endpoint}: {cause}")]
    Unreachable {
        /// Its name.
        name: String,
        /// Its address.
        endpoint: String,
        /// Why.
        cause: String,
    },
}

/// A connection that answered; its clients share it.
#[derive(Clone)]
pub struct Connection(Channel);

/// Connects to a machine, and fails if it does not answer within ten seconds.
pub async fn connect(machine: &MachineAddress, credentials: Credentials<'_>) -> Result<Connection, ConnectError> {
    let tls = match credentials {
        Credentials::Identity(file) => {
            let own = KeyPair {
                certificate: file.certificate.clone(),
                key: file.key.clone(),
            };
            tls::client(Trust::Authority(&file.ca), Some(&own), &["h2"])?
        }
        Credentials::Fingerprint(fingerprint) => tls::client(Trust::Fingerprint(fingerprint), None, &["h2"])?,
    };
    let name = ServerName::try_from(machine.name.clone()).map_err(|_| ConnectError::Name(machine.name.clone()))?;
    let address = machine.endpoint.clone();
    let connector = TlsConnector::from(tls);
    let connector = tower::service_fn(move |_: Uri| {
        let (connector, name, address) = (connector.clone(), name.clone(), address.clone());
        async move { open(&connector, name, &address).await.map(TokioIo::new) }
    });
    // The connector knows where to go; the URI only fills the `:authority` of requests.
    let endpoint = Endpoint::from_static("http://machine")
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .keep_alive_timeout(KEEP_ALIVE);
    let channel = endpoint
        .connect_with_connector(connector)
        .await
        .map_err(|error| ConnectError::Unreachable {
            name: machine.name.clone(),
            endpoint: machine.endpoint.clone(),
            cause: in_words(deepest(&error)),
        })?;
    Ok(Connection(channel))
}

async fn open(connector: &TlsConnector, name: ServerName<'static>, address: &str) -> io::Result<TlsStream<TcpStream>> {
    let late = || {
        io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no answer in {} s", CONNECT_DEADLINE.as_secs()),
        )
    };
    let opening = async {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        connector.connect(name, tcp).await
    };
    tokio::time::timeout(CONNECT_DEADLINE, opening)
        .await
        .map_err(|_| late())?
}

/// What TLS says about the other side's certificate, for a person.
fn in_words(cause: String) -> String {
    let is = |word: &str| cause.contains("invalid peer certificate") && cause.contains(word);
    if is("BadSignature") || is("UnknownIssuer") {
        return "its certificate is of another CA than your identity's: it belongs to another cluster, or is in maintenance (then give --fingerprint)".to_owned();
    }
    if is("NotValidForName") {
        return format!("its certificate bears other names: call it by its name from the identity file ({cause})");
    }
    cause
}

/// The innermost cause: what the layers above it say is only that they failed.
pub(crate) fn deepest(error: &dyn Error) -> String {
    let mut here = error;
    while let Some(next) = here.source() {
        here = next;
    }
    here.to_string()
}

// === impl Connection ===

impl Connection {
    /// The machine config.
    pub fn config(&self) -> ConfigClient<Timed> {
        ConfigClient::new(self.timed())
    }

    /// What the machine is and what happened on it.
    pub fn info(&self) -> InfoClient<Timed> {
        InfoClient::new(self.timed())
    }

    /// The programs that PID 1 keeps running.
    pub fn services(&self) -> ServicesClient<Timed> {
        ServicesClient::new(self.timed())
    }

    /// What programs and the kernel wrote.
    pub fn logs(&self) -> LogsClient<Timed> {
        LogsClient::new(self.timed())
    }

    /// Processes, memory, mounts.
    pub fn resources(&self) -> ResourcesClient<Timed> {
        ResourcesClient::new(self.timed())
    }

    /// Its container images. Archives take as long as they take, so only a machine that is gone ends these calls.
    pub fn images(&self) -> ImagesClient<Channel> {
        ImagesClient::new(self.0.clone())
    }

    /// Its power.
    pub fn power(&self) -> PowerClient<Timed> {
        PowerClient::new(self.timed())
    }

    fn timed(&self) -> Timed {
        InterceptedService::new(self.0.clone(), set_deadline)
    }
}

/// A connection whose calls have a deadline for the beginning of their answer; a stream that has begun goes on for good.
pub type Timed = InterceptedService<Channel, fn(Request<()>) -> Result<Request<()>, Status>>;

fn set_deadline(mut request: Request<()>) -> Result<Request<()>, Status> {
    request.set_timeout(CALL_DEADLINE);
    Ok(request)
}
