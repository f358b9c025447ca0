//! A machine without a config: it asks DHCP everywhere, shows a fingerprint on its console and waits for a config.

use crate::host;
use crate::machine::{self, Machine, ServeError};
use config::KeyPair;
use identity::{IssueError, Leaf, Purpose, tls};
use proto::machine::PORT;
use proto::machine::v1::Stage;
use std::convert::Infallible;
use std::fmt::Write;
use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// How often addresses are looked at: a person at the console waits for nothing else.
const LOOK: Duration = Duration::from_secs(2);

/// Why the machine cannot even wait.
#[derive(Debug, thiserror::Error)]
pub enum MaintenanceError {
    /// No certificate to be called by.
    #[error("make a certificate for maintenance: {0}")]
    Certificate(#[from] IssueError),
    /// The certificate just made is unreadable.
    #[error("read the certificate just made: {0}")]
    Tls(#[from] tls::TlsError),
    /// No API.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The config came, but the process did not start again; init starts it.
    #[error("start again with the new config: {0}")]
    Restart(std::io::Error),
}

/// Serves the few calls of maintenance until one of them brings a config, which is on STATE by then; the process
/// starts afresh with it, so that nothing of maintenance stays behind, DHCP clients least of all.
pub async fn wait_for_config(machine: &Arc<Machine>, reasons: &[String]) -> MaintenanceError {
    match serve_until_configured(machine, reasons).await {
        Ok(()) => MaintenanceError::Restart(Command::new("/proc/self/exe").args(std::env::args_os().skip(1)).exec()),
        Err(error) => error,
    }
}

async fn serve_until_configured(machine: &Arc<Machine>, reasons: &[String]) -> Result<(), MaintenanceError> {
    machine.enter(Stage::Maintenance);
    for reason in reasons {
        tracing::error!("{reason}");
    }
    let own = certificate()?;
    let (api, installed) = machine::serve_maintenance(machine, &own).await?;
    machine.mark("maintenance");
    let fingerprint = identity::fingerprint(&tls::certificates(&own.certificate)?[0]);
    let installed = tokio::select! {
        installed = installed => Some(installed),
        never = keep_console(reasons, &fingerprint) => match never {},
        () = crate::told_to_end() => None,
    };
    // The caller gets its answer before its connection goes.
    api.end().await;
    match installed {
        Some(installed) => installed
            .map(|_| ())
            .map_err(|_| MaintenanceError::Serve(ServeError::Ended)),
        None => std::process::exit(0),
    }
}

/// Shows what to type, again whenever the machine's addresses change.
async fn keep_console(reasons: &[String], fingerprint: &str) -> Infallible {
    if let Err(error) = host::by_dhcp().await {
        tracing::error!("{error}");
    }
    let mut shown = None;
    loop {
        let addresses = host::addresses().await;
        if shown.as_ref() != Some(&addresses) {
            eprintln!("{}", banner(reasons, &addresses, fingerprint));
            shown = Some(addresses);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn certificate() -> Result<KeyPair, IssueError> {
    identity::self_signed(&Leaf {
        common_name: "pintle maintenance".to_owned(),
        names: vec!["maintenance.pintle".to_owned()],
        purpose: Purpose::Server,
        ..Leaf::default()
    })
}

fn banner(reasons: &[String], addresses: &[IpAddr], fingerprint: &str) -> String {
    let mut text = String::from("\n=== This machine has no usable config and waits for one. ===\n");
    for reason in reasons {
        let _ = writeln!(text, "{reason}");
    }
    let reached = match addresses {
        [] => "no address yet: no DHCP server answered".to_owned(),
        some => some.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    let address = addresses
        .first()
        .map_or_else(|| "ADDRESS".to_owned(), ToString::to_string);
    let _ = writeln!(text, "address:     {reached} (port {PORT})");
    let _ = writeln!(text, "fingerprint: {fingerprint}");
    let _ = writeln!(
        text,
        "type:        pintlectl --node {address} --fingerprint {fingerprint} config apply --secrets secrets.toml config.toml"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_says_what_is_wrong_and_what_to_type() {
        let said = banner(&["version is 2".into()], &["10.0.2.15".parse().unwrap()], "aa:bb");
        for part in [
            "version is 2",
            "10.0.2.15 (port 50000)",
            "--node 10.0.2.15 --fingerprint aa:bb config apply",
        ] {
            assert!(said.contains(part), "{part} in {said}");
        }
        assert!(banner(&[], &[], "aa").contains("no DHCP server answered"));
    }
}
