//! How drivers come and go: each has a socket in a folder, on which it says its name and is told whether it is welcome (upstream:
//! pkg/kubelet/pluginmanager).

use super::client::{Client, channel};
use super::node_info::Cluster;
use super::{Driver, Drivers};
use client::{Backoff, Transport};
use proto::pluginregistration::v1 as api;
use proto::pluginregistration::v1::registration_client::RegistrationClient;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;
use tonic::transport::Channel;

/// How often the folder is looked at, as upstream's manager comes round.
const LOOK: Duration = Duration::from_secs(1);
/// How deep below the folder sockets may be.
const DEPTH: usize = 3;
/// How long a plugin may take to say who it is.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between attempts, the first and the longest pause.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(122));
/// The only kind of plugin that registers here.
const KIND: &str = "CSIPlugin";

/// Which file a socket is: another one under the same name is another registration.
type Identity = (u64, i64, i64);

impl Drivers {
    /// Lets drivers come and go, for ever.
    pub async fn serve(self, transport: Arc<dyn Transport>, node: String) {
        let cluster = Cluster { transport, node };
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        while let Err(why) = self.begin(&cluster).await {
            tracing::warn!(why, "the CSINode is not there yet, trying again");
            tokio::time::sleep(backoff.fail()).await;
        }
        if let Err(error) = fs::create_dir_all(&self.shared.places.registry) {
            tracing::error!(%error, "the folder where drivers register cannot be made");
        }
        let mut known: BTreeMap<PathBuf, (Identity, AbortHandle)> = BTreeMap::new();
        loop {
            let mut found = BTreeMap::new();
            sockets(&self.shared.places.registry, DEPTH, &mut found);
            known.retain(|socket, (identity, task)| {
                let stays = found.get(socket) == Some(identity);
                if !stays {
                    task.abort();
                    self.lose(&cluster, socket);
                }
                stays
            });
            for (socket, identity) in found {
                known.entry(socket.clone()).or_insert_with(|| {
                    let (drivers, cluster) = (self.clone(), cluster.clone());
                    let task = tokio::spawn(async move { drivers.register(&cluster, &socket).await });
                    (identity, task.abort_handle())
                });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Tries until the plugin is registered.
    async fn register(&self, cluster: &Cluster, socket: &Path) {
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        loop {
            match self.try_register(cluster, socket).await {
                Ok(driver) => {
                    tracing::info!(driver, socket = %socket.display(), "storage driver registered");
                    return;
                }
                Err(why) => {
                    tracing::warn!(socket = %socket.display(), why, "plugin is not registered, trying again");
                    tokio::time::sleep(backoff.fail()).await;
                }
            }
        }
    }

    async fn try_register(&self, cluster: &Cluster, socket: &Path) -> Result<String, String> {
        let mut plugin = RegistrationClient::new(channel(socket));
        let info = tokio::time::timeout(PATIENCE, plugin.get_info(api::InfoRequest {})).await;
        let info = info.map_err(|_| "it does not say who it is".to_owned())?;
        let info = info.map_err(|status| format!("failed to get plugin info: {}", status.message()))?;
        let info = info.into_inner();
        let result = self.admit(cluster, socket, &info).await;
        let error = result.as_ref().err().cloned().unwrap_or_default();
        tell(&mut plugin, error).await;
        result.map(|()| info.name)
    }

    async fn admit(&self, cluster: &Cluster, socket: &Path, info: &api::PluginInfo) -> Result<(), String> {
        let driver = &info.name;
        if info.r#type != KIND {
            let (kind, socket) = (&info.r#type, socket.display());
            return Err(format!(
                "no handler registered for plugin type: {kind} at socket {socket}"
            ));
        }
        if !is_name(driver) {
            return Err(format!("{driver:?} is no name of a CSI driver"));
        }
        if !info.supported_versions.iter().any(|version| is_supported(version)) {
            let versions = &info.supported_versions;
            return Err(format!(
                "validation failed for CSI Driver {driver}: none of the versions specified {versions:?} are supported"
            ));
        }
        let endpoint = match info.endpoint.as_str() {
            "" => socket.to_owned(),
            endpoint => PathBuf::from(endpoint.strip_prefix("unix://").unwrap_or(endpoint)),
        };
        let client = Client::of(&endpoint);
        let said = client.info().await.map_err(|refused| refused.to_string())?;
        if said.node_id.is_empty() {
            return Err("error adding CSI driver node info: driverNodeID must not be empty".to_owned());
        }
        let entry = Driver {
            socket: socket.to_owned(),
            client,
        };
        self.lock().drivers.insert(driver.clone(), entry);
        let introduced = self.introduce(cluster, driver, &said).await;
        if introduced.is_err() {
            self.lock().drivers.remove(driver);
        }
        introduced
    }

    /// The socket has gone, and with it the driver that registered on it.
    fn lose(&self, cluster: &Cluster, socket: &Path) {
        let mut state = self.lock();
        let lost = state.drivers.iter().find(|(_, driver)| driver.socket == socket);
        let Some(name) = lost.map(|(name, _)| name.clone()) else {
            return;
        };
        state.drivers.remove(&name);
        drop(state);
        tracing::info!(driver = %name, "storage driver has gone");
        let (drivers, cluster) = (self.clone(), cluster.clone());
        tokio::spawn(async move {
            let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
            while let Err(why) = drivers.take_leave(&cluster, &name).await {
                tracing::warn!(driver = %name, why, "the driver is still listed, trying again");
                tokio::time::sleep(backoff.fail()).await;
            }
        });
    }
}

/// Says whether it is welcome.
async fn tell(plugin: &mut RegistrationClient<Channel>, error: String) {
    let status = api::RegistrationStatus {
        plugin_registered: error.is_empty(),
        error,
    };
    let told = tokio::time::timeout(PATIENCE, plugin.notify_registration_status(status)).await;
    if !matches!(told, Ok(Ok(_))) {
        tracing::debug!("a plugin did not hear whether it is registered");
    }
}

/// Sockets below a folder; names that begin with a dot are none (upstream's watcher).
fn sockets(folder: &Path, depth: usize, found: &mut BTreeMap<PathBuf, Identity>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if kind.is_dir() && depth > 0 {
            sockets(&entry.path(), depth - 1, found);
        } else if kind.is_socket()
            && let Ok(file) = entry.metadata()
        {
            found.insert(entry.path(), (file.ino(), file.ctime(), file.ctime_nsec()));
        }
    }
}

/// It becomes part of paths.
fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    name.len() <= 63 && bytes.iter().copied().all(fits) && ends(bytes.first()) && ends(bytes.last())
}

/// Version 1 of the interface, whatever its minor number.
fn is_supported(version: &str) -> bool {
    let version = version.strip_prefix('v').unwrap_or(version);
    let mut parts = version.split('.');
    parts.next() == Some("1") && parts.all(|part| part.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_folder_and_versions_are_the_first() {
        for (name, fits) in [
            ("hostpath.csi.k8s.io", true),
            ("a", true),
            ("", false),
            ("..", false),
            ("../../etc", false),
            ("a/b", false),
        ] {
            assert_eq!(is_name(name), fits, "{name}");
        }
        for (version, fits) in [
            ("1.0.0", true),
            ("v1.11", true),
            ("0.3.0", false),
            ("2.0", false),
            ("x", false),
        ] {
            assert_eq!(is_supported(version), fits, "{version}");
        }
    }

    #[test]
    fn only_sockets_are_plugins() {
        let dir = tempfile::tempdir().unwrap();
        let bind = |name: &str| std::os::unix::net::UnixListener::bind(dir.path().join(name)).unwrap();
        fs::create_dir(dir.path().join("deep")).unwrap();
        let _open = [bind("a.sock"), bind(".hidden"), bind("deep/b.sock")];
        fs::write(dir.path().join("file"), "").unwrap();
        let mut found = BTreeMap::new();
        sockets(dir.path(), DEPTH, &mut found);
        let names: Vec<_> = found
            .keys()
            .map(|path| path.strip_prefix(dir.path()).unwrap())
            .collect();
        assert_eq!(names, [Path::new("a.sock"), Path::new("deep/b.sock")]);
    }
}
