//! A UDP socket on port 68 of one interface, which may have no address yet.

use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrIn, bind, setsockopt, socket, sockopt,
};
use std::ffi::OsString;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use tokio::net::UdpSocket;

pub(super) struct Socket(UdpSocket);

impl Socket {
    /// Bound to the device before the port, so that each interface has a port 68 of its own.
    pub fn open(interface: &str) -> io::Result<Self> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let fd = socket(AddressFamily::Inet, SockType::Datagram, flags, SockProtocol::Udp)?;
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
        setsockopt(&fd, sockopt::Broadcast, &true)?;
        setsockopt(&fd, sockopt::BindToDevice, &OsString::from(interface))?;
        bind(fd.as_raw_fd(), &SockaddrIn::new(0, 0, 0, 0, 68))?;
        Ok(Self(UdpSocket::from_std(std::net::UdpSocket::from(fd))?))
    }

    pub async fn send(&self, message: &[u8], to: Ipv4Addr) -> io::Result<()> {
        self.0.send_to(message, (to, 67)).await.map(drop)
    }

    /// The next datagram. Errors of the socket are those of datagrams sent before (ICMP): they are nobody's reply.
    pub async fn receive(&self) -> Vec<u8> {
        let mut buffer = vec![0; 1500];
        loop {
            if let Ok(length) = self.0.recv(&mut buffer).await {
                buffer.truncate(length);
                return buffer;
            }
        }
    }
}
