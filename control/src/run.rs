//! `control run`: the control plane of a machine, from the files that its agent wrote.

use crate::plane::{Plane, advertised};
use crate::{audit, seal, serve};
use anyhow::{Context, anyhow};
use config::{MachineConfig, Secrets};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use tokio::net::TcpListener;

/// Where every machine of a cluster expects the API server.
const PORT: u16 = 6443;

/// Runs until told to stop.
pub async fn run(config: &Path, secrets: &Path, data: &Path) -> anyhow::Result<()> {
    let (config, secrets) = read(config, secrets)?;
    let seals = secrets.control_plane.as_ref().map(seal::seals).unwrap_or_default();
    let audit = audit::of_machine(&config, data)?;
    let plane = Plane::new(&config, &secrets, serve::open(data, seals)?)?.audited(audit);
    let listener = listen().await?;
    plane.run(listener, &advertised(&config, PORT)).await
}

fn read(config_path: &Path, secrets_path: &Path) -> anyhow::Result<(MachineConfig, Secrets)> {
    let text = |path: &Path| std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()));
    let refused =
        |path: &Path, problems: &[config::Problem]| anyhow!("{}: {}", path.display(), config::sentence(problems));
    let config = config::parse(&text(config_path)?).map_err(|problems| refused(config_path, &problems))?;
    let secrets =
        config::parse_secrets(&text(secrets_path)?, &config).map_err(|problems| refused(secrets_path, &problems))?;
    Ok((config, secrets))
}

/// On all addresses of both families; on IPv4 alone where the kernel has no other.
async fn listen() -> anyhow::Result<TcpListener> {
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT))).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)))
            .await
            .with_context(|| format!("listen on port {PORT}")),
    }
}
