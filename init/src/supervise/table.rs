//! The services: a row each, compiled in. Requests name rows, they cannot add any.

use init_protocol::Service;
use linux::service::User;
use std::time::Duration;

/// One service.
#[derive(Debug)]
pub struct Row {
    pub service: Service,
    /// Program and arguments.
    pub command: &'static [&'static str],
    /// Nothing means root.
    pub user: Option<User>,
    /// Its group below the root of cgroup2.
    pub cgroup: &'static str,
    /// Whether it runs without being asked for, and cannot be stopped but with the machine.
    pub always: bool,
    /// From SIGTERM to SIGKILL.
    pub grace: Duration,
}

/// Control's files come from the agent, see the machine's contract in ARCHITECTURE.md.
pub const TABLE: [Row; 3] = [
    Row {
        service: Service::Agent,
        command: &["/usr/bin/agent"],
        user: None,
        cgroup: "system/agent",
        always: true,
        grace: Duration::from_secs(10),
    },
    Row {
        service: Service::Control,
        command: &[
            "/usr/bin/control",
            "run",
            "--config",
            "/run/pintle/control/config.toml",
            "--secrets",
            "/run/pintle/control/secrets.toml",
            "--data",
            "/var/lib/pintle/control",
        ],
        user: Some(User { uid: 60, gid: 60 }),
        cgroup: "system/control",
        always: false,
        grace: Duration::from_secs(10),
    },
    Row {
        service: Service::Etcd,
        command: &[
            "/usr/lib/pintle/tools/ld-linux-x86-64.so.2",
            "--library-path",
            "/usr/lib/pintle/tools",
            "/usr/lib/pintle/tools/etcd",
            "--config-file",
            "/run/pintle/etcd/config.yaml",
        ],
        user: Some(User { uid: 61, gid: 61 }),
        cgroup: "system/etcd",
        always: false,
        grace: Duration::from_secs(20),
    },
];
