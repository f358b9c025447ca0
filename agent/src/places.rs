//! Where on the machine the agent's own files are; tests put them elsewhere.

use std::net::{Ipv6Addr, SocketAddr};
#[cfg(test)]
use std::path::Path;
use std::path::PathBuf;

/// Files and folders, absolute, and the machine API's address.
#[derive(Clone, Debug)]
pub struct Places {
    /// STATE: config and secrets.
    pub state: PathBuf,
    /// QEMU's firmware configuration: `config/raw` and `secrets/raw` below it.
    pub firmware: PathBuf,
    /// What lives until the machine goes down.
    pub run: PathBuf,
    /// The control plane's data.
    pub control_data: PathBuf,
    /// init's socket.
    pub init_socket: PathBuf,
    /// Where init keeps what services write.
    pub logs: PathBuf,
    /// Where the machine API listens.
    pub api: SocketAddr,
}

// === impl Places ===

impl Places {
    /// Those of a Pintle machine.
    pub fn machine() -> Self {
        Self {
            state: "/state".into(),
            firmware: "/sys/firmware/qemu_fw_cfg/by_name/opt/pintle".into(),
            run: "/run/pintle".into(),
            control_data: "/var/lib/pintle/control".into(),
            init_socket: init_protocol::SOCKET.into(),
            logs: init_protocol::LOG_DIR.into(),
            api: (Ipv6Addr::UNSPECIFIED, proto::machine::PORT).into(),
        }
    }

    /// All of them below one folder, for tests.
    #[cfg(test)]
    pub fn below(root: &Path) -> Self {
        Self {
            state: root.join("state"),
            firmware: root.join("firmware"),
            run: root.join("run"),
            control_data: root.join("control"),
            init_socket: root.join("init.sock"),
            logs: root.join("log"),
            api: (std::net::Ipv4Addr::LOCALHOST, 0).into(),
        }
    }

    /// Control's folder for its config and secrets.
    pub fn control_run(&self) -> PathBuf {
        self.run.join("control")
    }
}
