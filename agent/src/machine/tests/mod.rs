//! The machine API as its callers see it: a real server on a loopback port, real certificates, the real client.

mod applying;
mod asking;
mod callers;

use super::testing;
use super::{Machine, serve, serve_maintenance};
use crate::acquire::{self, Running, Source};
use crate::events::Kind;
use crate::places::Places;
use config::Bundle;
use identity::{Leaf, Role};
use init_protocol::Request as InitRequest;
use machine_client::{Connection, Credentials, IdentityFile, MachineAddress, connect, explain};
use proto::machine::v1::*;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_stream::StreamExt;
use tonic::{Code, Status};

/// Far more than any of these takes.
const DEADLINE: Duration = Duration::from_secs(20);

/// A machine `n1` that runs with a config, in a folder of its own.
struct World {
    _root: tempfile::TempDir,
    bundle: Bundle,
    machine: Arc<Machine>,
    endpoint: String,
}

// === impl World ===

impl World {
    async fn running() -> Self {
        let root = tempfile::tempdir().unwrap();
        let bundle = identity::cluster::new_bundle().unwrap();
        let (config, secrets) = testing::machine_of(&bundle, "n1", "worker");
        let machine = Machine::new(Places::below(root.path()));
        fs::create_dir(&machine.places.state).unwrap();
        let running = acquire::check(&config, &secrets, Source::Firmware)
            .map_err(|e| e.to_string())
            .unwrap();
        let running = Arc::new(running);
        machine.run_with(Arc::clone(&running));
        let api = serve(&machine, &running.secrets)
            .await
            .map_err(|e| e.to_string())
            .unwrap();
        Self {
            _root: root,
            bundle,
            machine,
            endpoint: api.address.to_string(),
        }
    }

    fn identity(&self, role: Role) -> IdentityFile {
        let pair = identity::cluster::admin(&self.bundle, role).unwrap();
        IdentityFile {
            version: 1,
            cluster: "test".into(),
            ca: self.bundle.machine_ca.certificate.clone(),
            certificate: pair.certificate,
            key: pair.key,
            machines: vec![MachineAddress {
                name: "n1".into(),
                endpoint: self.endpoint.clone(),
            }],
        }
    }

    async fn connect(&self, role: Role) -> Connection {
        called(&self.identity(role)).await.unwrap()
    }

    fn text(&self) -> String {
        self.machine.running().unwrap().text.clone()
    }
}

async fn called(identity: &IdentityFile) -> Result<Connection, String> {
    let machine = identity.machine(None).unwrap();
    connect(&machine, Credentials::Identity(identity))
        .await
        .map_err(|error| error.to_string())
}

fn request(config: impl Into<String>, mode: ApplyMode) -> ApplyConfigRequest {
    ApplyConfigRequest {
        config: config.into(),
        secrets: String::new(),
        mode: mode.into(),
        try_seconds: 0,
    }
}

/// What a call by a caller that TLS must refuse is told, at the handshake or at the first call.
async fn refusal(identity: &IdentityFile) -> String {
    match called(identity).await {
        Err(said) => said,
        Ok(connection) => explain(&connection.info().get(GetInfoRequest {}).await.unwrap_err()),
    }
}

/// Answers like init and notes what it was asked.
fn play_init(socket: &Path) -> std::sync::mpsc::Receiver<InitRequest> {
    let listener = UnixListener::bind(socket).unwrap();
    let (sender, asked) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            BufReader::new(stream.try_clone().unwrap())
                .read_line(&mut line)
                .unwrap();
            let request: InitRequest = line.trim_end().parse().unwrap();
            let answer = match &request {
                InitRequest::Services => "agent up 7 0 100 \ncontrol back-off 0 2 200 exit 1\nok\n",
                InitRequest::Marks => "20 b\n10 a\nok\n",
                _ => "ok\n",
            };
            stream.write_all(answer.as_bytes()).unwrap();
            if !matches!(request, InitRequest::Services | InitRequest::Marks) && sender.send(request).is_err() {
                return;
            }
        }
    });
    asked
}
