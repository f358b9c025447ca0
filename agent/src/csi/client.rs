//! Calls to a driver, each with a deadline: a driver that hangs costs whoever waits for it two minutes and nobody else anything.

use hyper_util::rt::TokioIo;
use proto::csi::v1 as api;
use proto::csi::v1::node_client::NodeClient;
use proto::csi::v1::node_service_capability::rpc::Type as Rpc;
use std::path::Path;
use std::time::Duration;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

/// How long a driver may take for one answer (upstream's csiTimeout).
const PATIENCE: Duration = Duration::from_secs(120);

/// A driver's node service; connects when it is first used and again after the connection broke.
#[derive(Clone)]
pub struct Client {
    node: NodeClient<Channel>,
}

/// What a driver can do besides publishing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Mounts a volume once for all pods.
    pub stages: bool,
    /// Knows how full a volume is.
    pub counts: bool,
    /// Makes a volume's file system larger.
    pub expands: bool,
    /// Tells one writer from many on one node.
    pub knows_single_writers: bool,
    /// Gives a volume to a group by itself.
    pub gives_to_group: bool,
}

/// Why a driver did not do it, in the words of upstream's client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rpc error: code = {} desc = {message}", name(*.code))]
pub struct Refused {
    code: Code,
    message: String,
}

// === impl Refused ===

impl Refused {
    /// Whether the driver is surely done with it; else it may yet be at it (upstream's isFinalError).
    pub fn is_final(&self) -> bool {
        !matches!(
            self.code,
            Code::Cancelled | Code::DeadlineExceeded | Code::Unavailable | Code::ResourceExhausted | Code::Aborted
        )
    }

    fn late() -> Self {
        Self {
            code: Code::DeadlineExceeded,
            message: "context deadline exceeded".to_owned(),
        }
    }
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        let mut message = status.message().to_owned();
        // What is behind a broken connection, e.g. a socket that nobody listens on.
        let mut cause = std::error::Error::source(&status);
        while let Some(error) = cause {
            let text = error.to_string();
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            cause = error.source();
        }
        let code = status.code();
        Self { code, message }
    }
}

/// As Go writes it.
fn name(code: Code) -> String {
    match code {
        Code::Cancelled => "Canceled".to_owned(),
        other => format!("{other:?}"),
    }
}

// === impl Client ===

impl Client {
    /// Of the driver that listens on `socket`.
    pub fn of(socket: &Path) -> Self {
        Self {
            node: NodeClient::new(channel(socket)),
        }
    }

    pub async fn info(&self) -> Result<api::NodeGetInfoResponse, Refused> {
        let mut node = self.node.clone();
        in_time(node.node_get_info(api::NodeGetInfoRequest {})).await
    }

    pub async fn capabilities(&self) -> Result<Capabilities, Refused> {
        let mut node = self.node.clone();
        let said = in_time(node.node_get_capabilities(api::NodeGetCapabilitiesRequest {})).await?;
        let rpc = |capability: &api::NodeServiceCapability| {
            let api::node_service_capability::Type::Rpc(rpc) = capability.r#type.as_ref()?;
            Some(rpc.r#type())
        };
        let all: Vec<Rpc> = said.capabilities.iter().filter_map(rpc).collect();
        let can = |wanted| all.contains(&wanted);
        Ok(Capabilities {
            stages: can(Rpc::StageUnstageVolume),
            counts: can(Rpc::GetVolumeStats),
            expands: can(Rpc::ExpandVolume),
            knows_single_writers: can(Rpc::SingleNodeMultiWriter),
            gives_to_group: can(Rpc::VolumeMountGroup),
        })
    }

    pub async fn stage(&self, request: api::NodeStageVolumeRequest) -> Result<(), Refused> {
        let mut node = self.node.clone();
        in_time(node.node_stage_volume(request)).await.map(drop)
    }

    pub async fn unstage(&self, request: api::NodeUnstageVolumeRequest) -> Result<(), Refused> {
        let mut node = self.node.clone();
        in_time(node.node_unstage_volume(request)).await.map(drop)
    }

    pub async fn publish(&self, request: api::NodePublishVolumeRequest) -> Result<(), Refused> {
        let mut node = self.node.clone();
        in_time(node.node_publish_volume(request)).await.map(drop)
    }

    pub async fn unpublish(&self, request: api::NodeUnpublishVolumeRequest) -> Result<(), Refused> {
        let mut node = self.node.clone();
        in_time(node.node_unpublish_volume(request)).await.map(drop)
    }

    pub async fn expand(&self, request: api::NodeExpandVolumeRequest) -> Result<(), Refused> {
        let mut node = self.node.clone();
        in_time(node.node_expand_volume(request)).await.map(drop)
    }

    pub async fn stats(
        &self,
        request: api::NodeGetVolumeStatsRequest,
    ) -> Result<api::NodeGetVolumeStatsResponse, Refused> {
        let mut node = self.node.clone();
        in_time(node.node_get_volume_stats(request)).await
    }
}

async fn in_time<T>(asked: impl Future<Output = Result<tonic::Response<T>, Status>>) -> Result<T, Refused> {
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(said)) => Ok(said.into_inner()),
        Ok(Err(status)) => Err(status.into()),
        Err(_) => Err(Refused::late()),
    }
}

/// A connection to whoever listens on `socket`.
pub fn channel(socket: &Path) -> Channel {
    let socket = socket.to_owned();
    let dial = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://driver").connect_with_connector_lazy(dial)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_read_as_upstreams() {
        let refused = Refused::from(Status::internal("disk is on fire"));
        assert_eq!(refused.to_string(), "rpc error: code = Internal desc = disk is on fire");
        assert!(refused.is_final() && !Refused::late().is_final());
        let cancelled = Refused::from(Status::cancelled("x"));
        assert_eq!(cancelled.to_string(), "rpc error: code = Canceled desc = x");
    }

    #[tokio::test]
    async fn nobody_listening_is_said_with_its_cause() {
        let refused = Client::of(Path::new("/no/such.sock")).info().await.unwrap_err();
        let text = refused.to_string();
        assert!(text.starts_with("rpc error: code = Unavailable desc = "), "{text}");
        assert!(text.contains("No such file"), "{text}");
    }
}
