//! A connection to a plugin, made when it is first used and again after it broke.

use hyper_util::rt::TokioIo;
use proto::deviceplugin::v1beta1::device_plugin_client::DevicePluginClient;
use std::path::Path;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

/// Calls a plugin.
pub type Client = DevicePluginClient<Channel>;

/// Of the plugin that listens on `socket`.
pub fn client(socket: &Path) -> Client {
    let socket = socket.to_owned();
    let dial = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    DevicePluginClient::new(Endpoint::from_static("http://plugin").connect_with_connector_lazy(dial))
}
