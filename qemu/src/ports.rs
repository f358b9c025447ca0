//! Free loopback ports, chosen once per cluster so that its addresses outlive restarts.

use anyhow::{Context, Result};
use std::net::{Ipv4Addr, TcpListener};

/// `count` different ports that nobody listens on now. Somebody may take one before we do; whoever binds says so then.
pub fn free(count: usize) -> Result<Vec<u16>> {
    let mut held = Vec::new();
    for _ in 0..count {
        held.push(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port on 127.0.0.1")?);
    }
    held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}
