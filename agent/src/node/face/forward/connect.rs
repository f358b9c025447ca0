//! A connection to a port of a pod: a socket made in its network namespace, to its own loopback.

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};

/// A loopback answers at once, or its listener's queue is full.
const PATIENCE: Duration = Duration::from_secs(30);

/// The pod.
#[derive(Clone)]
pub struct Target {
    /// Where.
    pub sandbox: sandbox::Pod,
    /// For messages.
    pub name: String,
    /// See `name`.
    pub uid: String,
}

// === impl Target ===

impl Target {
    /// Connects by IPv4, else by IPv6; an error is the sentence that the caller is told.
    pub async fn connect(&self, port: u16) -> Result<TcpStream, String> {
        let by_ipv4 = match self.dial(Ipv4Addr::LOCALHOST.into(), port).await {
            Ok(stream) => return Ok(stream),
            Err(cause) => cause,
        };
        let by_ipv6 = match self.dial(Ipv6Addr::LOCALHOST.into(), port).await {
            Ok(stream) => return Ok(stream),
            Err(cause) => cause,
        };
        Err(self.failure(
            port,
            &format!(
                "failed to connect to localhost:{port} inside the pod: IPv4: dial tcp4 127.0.0.1:{port}: {by_ipv4}; \
                 IPv6: dial tcp6 [::1]:{port}: {by_ipv6}"
            ),
        ))
    }

    /// What a caller is told of a connection that failed.
    pub fn failure(&self, port: u16, why: &str) -> String {
        let Target { name, uid, .. } = self;
        format!("error forwarding port {port} to pod {name}, uid {uid}: {why}")
    }

    async fn dial(&self, address: IpAddr, port: u16) -> io::Result<TcpStream> {
        let pid = self.sandbox.pid();
        // A thread of its own, because another namespace is a thread's, and nobody else's may change.
        let made = tokio::task::spawn_blocking(move || make_socket(pid, address)).await;
        let socket = made.map_err(io::Error::other)??;
        let connecting = socket.connect(SocketAddr::new(address, port));
        let stream = tokio::time::timeout(PATIENCE, connecting).await??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

fn make_socket(pid: u32, address: IpAddr) -> io::Result<TcpSocket> {
    let namespace = File::open(format!("/proc/{pid}/ns/net"))?;
    let family = if address.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let make = || socket(family, SockType::Stream, flags, None);
    let made = linux::namespaces::within_network(&namespace, make)
        .map_err(|error| io::Error::other(format!("enter the pod's network: {error}")))?;
    Ok(TcpSocket::from_std_stream(made?.into()))
}
