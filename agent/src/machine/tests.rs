//! The machine API as its callers see it: a real server on a loopback port, real certificates, the real client.

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

#[tokio::test]
async fn a_reader_sees_the_machine() {
    let world = World::running().await;
    let connection = world.connect(Role::Reader).await;
    let info = connection.info().get(GetInfoRequest {}).await.unwrap().into_inner();
    assert_eq!(
        (info.name.as_str(), info.cluster.as_str(), info.stage()),
        ("n1", "test", Stage::Booting)
    );
    assert_eq!(info.roles, ["worker"]);
    assert!(info.uptime_ms > 0 && info.cpus > 0 && info.memory_bytes > 0 && !info.kernel_version.is_empty());
    let config = connection.config().get(GetConfigRequest {}).await.unwrap().into_inner();
    assert_eq!((config.config, config.source.as_str()), (world.text(), "fw_cfg"));
    let processes = connection
        .resources()
        .processes(ProcessesRequest {})
        .await
        .unwrap()
        .into_inner()
        .processes;
    let own = i32::try_from(std::process::id()).unwrap();
    assert!(processes.iter().any(|process| process.pid == own));
    assert!(
        !connection
            .resources()
            .mounts(MountsRequest {})
            .await
            .unwrap()
            .into_inner()
            .mounts
            .is_empty()
    );
    assert!(
        connection
            .resources()
            .memory(MemoryRequest {})
            .await
            .unwrap()
            .into_inner()
            .total_bytes
            > 0
    );
}

#[tokio::test]
async fn each_refusal_names_the_role_that_is_needed() {
    let world = World::running().await;
    let reader = world.connect(Role::Reader).await;
    let operator = world.connect(Role::Operator).await;
    let refused = |status: Status, role: &str, own: &str| {
        assert_eq!(status.code(), Code::PermissionDenied);
        let said = explain(&status);
        assert!(
            said.contains(&format!("needs the role {role}")) && said.contains(own),
            "{said}"
        );
    };
    refused(
        reader.power().reboot(RebootRequest { force: true }).await.unwrap_err(),
        "os:operator",
        "has os:reader",
    );
    refused(
        operator
            .config()
            .apply(request(world.text(), ApplyMode::DryRun))
            .await
            .unwrap_err(),
        "os:admin",
        "has os:operator",
    );
    refused(
        operator.power().reset(ResetRequest { data: true }).await.unwrap_err(),
        "os:admin",
        "has os:operator",
    );
}

#[tokio::test]
async fn strangers_do_not_get_past_tls() {
    let world = World::running().await;
    let own = world.identity(Role::Admin);
    let other = identity::cluster::new_bundle().unwrap();
    let foreign = identity::cluster::admin(&other, Role::Admin).unwrap();

    let said = refusal(&IdentityFile {
        certificate: foreign.certificate,
        key: foreign.key,
        ..own.clone()
    })
    .await;
    assert!(said.contains("belongs to another cluster"), "{said}");

    let said = refusal(&IdentityFile {
        ca: other.machine_ca.certificate,
        ..own.clone()
    })
    .await;
    assert!(said.contains("of another CA than your identity's"), "{said}");

    // A certificate of the Kubernetes CA opens nothing here.
    let running = world.machine.running().unwrap();
    let node = &running.secrets.node;
    let said = refusal(&IdentityFile {
        certificate: node.certificate.clone(),
        key: node.key.clone(),
        ..own.clone()
    })
    .await;
    assert!(said.contains("belongs to another cluster"), "{said}");

    let address = own.machine(None).unwrap();
    let shown = &identity::tls::certificates(&running.secrets.machine.certificate).unwrap()[0];
    let anonymous = connect(&address, Credentials::Fingerprint(&identity::fingerprint(shown)))
        .await
        .unwrap();
    let said = explain(&anonymous.info().get(GetInfoRequest {}).await.unwrap_err());
    assert!(said.contains("wants a certificate"), "{said}");
}

#[tokio::test]
async fn a_certificate_without_a_role_may_nothing() {
    let world = World::running().await;
    let ca = identity::Authority::from_pem(&world.bundle.machine_ca.certificate, &world.bundle.machine_ca.key).unwrap();
    let leaf = Leaf {
        common_name: "guest".into(),
        purpose: identity::Purpose::Client,
        ..Leaf::default()
    };
    let pair = ca.issue(&leaf).unwrap();
    let guest = IdentityFile {
        certificate: pair.certificate,
        key: pair.key,
        ..world.identity(Role::Reader)
    };
    let status = called(&guest)
        .await
        .unwrap()
        .info()
        .get(GetInfoRequest {})
        .await
        .unwrap_err();
    assert!(status.message().contains("(guest) has no role"), "{}", status.message());
}

#[tokio::test]
async fn a_bad_config_changes_nothing_and_says_where_it_is_bad() {
    let world = World::running().await;
    let mut config = world.connect(Role::Admin).await.config();
    let bad = world.text().replace("roles = [\"worker\"]", "rolse = [\"worker\"]");
    let problems = config
        .validate(ValidateConfigRequest { config: bad.clone() })
        .await
        .unwrap()
        .into_inner()
        .problems;
    assert_eq!((problems[0].line, problems[0].column), (5, 1));
    assert!(
        problems[0].message.contains("did you mean `roles`?"),
        "{}",
        problems[0].message
    );

    let status = config.apply(request(bad, ApplyMode::Auto)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("line 5, column 1"), "{}", status.message());

    let renamed = world.text().replace("\"n1\"", "\"n2\"");
    let status = config.apply(request(renamed, ApplyMode::Auto)).await.unwrap_err();
    assert!(
        status.message().contains("issued for \"system:node:n1\""),
        "{}",
        status.message()
    );

    let promoted = world.text().replace("\"worker\"", "\"control-plane\"");
    let status = config.apply(request(promoted, ApplyMode::Auto)).await.unwrap_err();
    assert!(
        status.message().contains("secrets.toml: `control-plane` is missing"),
        "{}",
        status.message()
    );

    let status = config.apply(request(world.text(), ApplyMode::Try)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert_eq!(
        fs::read_dir(&world.machine.places.state).unwrap().count(),
        0,
        "nothing was stored"
    );
}

#[tokio::test]
async fn without_init_calls_to_it_fail_in_a_sentence_and_nothing_is_half_applied() {
    let world = World::running().await;
    let connection = world.connect(Role::Admin).await;
    let status = connection.services().list(ListServicesRequest {}).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(
        status.message().contains("init.sock") && status.message().contains("No such file"),
        "{}",
        status.message()
    );
    let labelled = world.text() + "\n[machine.labels]\nzone = \"a\"\n";
    let status = connection
        .config()
        .apply(request(labelled, ApplyMode::Auto))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(
        fs::read_dir(&world.machine.places.state).unwrap().count(),
        0,
        "nothing was stored"
    );
    let status = connection
        .services()
        .restart(RestartServiceRequest { name: "sshd".into() })
        .await
        .unwrap_err();
    assert!(status.message().contains("no service \"sshd\""), "{}", status.message());
}

#[tokio::test]
async fn live_changes_apply_at_once_and_others_reboot() {
    let world = World::running().await;
    let asked = play_init(&world.machine.places.init_socket);
    let mut config = world.connect(Role::Admin).await.config();
    let named = world.text() + "\n[network]\nnameservers = [\"10.0.2.3\"]\n";

    let dry = config
        .apply(request(named.clone(), ApplyMode::DryRun))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(dry.applied(), Applied::Nothing);
    assert_eq!(dry.diff, "+ network.nameservers = [\"10.0.2.3\"]  # applies live\n");
    assert_eq!(fs::read_dir(&world.machine.places.state).unwrap().count(), 0);

    let live = config
        .apply(request(named.clone(), ApplyMode::Auto))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(live.applied(), Applied::Live);
    assert_eq!(world.text(), named);
    assert_eq!(
        fs::read_to_string(world.machine.places.state.join("config.toml")).unwrap(),
        named
    );
    let again = config
        .apply(request(named.clone(), ApplyMode::Auto))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again.applied(), Applied::Nothing);

    let labelled = named + "\n[machine.labels]\nzone = \"a\"\n";
    let reboot = config
        .apply(request(labelled.clone(), ApplyMode::Auto))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(reboot.applied(), Applied::Rebooting);
    assert!(reboot.diff.contains("needs a reboot"), "{}", reboot.diff);
    assert_eq!(
        asked.recv_timeout(DEADLINE).unwrap(),
        InitRequest::Down(init_protocol::Down::Reboot)
    );
    assert!(
        matches!(acquire::acquire(&world.machine.places), acquire::Acquired::Config(next) if next.text == labelled)
    );
}

#[tokio::test]
async fn init_is_asked_for_services_power_and_the_timeline() {
    let world = World::running().await;
    let asked = play_init(&world.machine.places.init_socket);
    let admin = world.connect(Role::Admin).await;
    let services = admin
        .services()
        .list(ListServicesRequest {})
        .await
        .unwrap()
        .into_inner()
        .services;
    assert_eq!(
        (services[1].name.as_str(), services[1].phase.as_str()),
        ("control", "back-off")
    );
    assert_eq!((services[1].restarts, services[1].last_end.as_str()), (2, "exit 1"));
    let marks = admin
        .info()
        .timeline(TimelineRequest {})
        .await
        .unwrap()
        .into_inner()
        .marks;
    assert_eq!(
        marks.iter().map(|mark| mark.name.as_str()).collect::<Vec<_>>(),
        ["a", "b"]
    );
    admin
        .services()
        .restart(RestartServiceRequest { name: "control".into() })
        .await
        .unwrap();
    admin.power().reboot(RebootRequest { force: true }).await.unwrap();
    admin.power().reset(ResetRequest { data: false }).await.unwrap();
    let lines = (0..3)
        .map(|_| asked.recv_timeout(DEADLINE).unwrap().to_string())
        .collect::<Vec<_>>();
    assert_eq!(lines, ["restart control", "force-down reboot", "reset state"]);
}

#[tokio::test]
async fn events_and_logs_are_followed() {
    let world = World::running().await;
    let reader = world.connect(Role::Reader).await;
    world.machine.events.note(Kind::Mark, "before", "");
    let mut events = reader
        .info()
        .events(EventsRequest { follow: true })
        .await
        .unwrap()
        .into_inner();
    let next = tokio::time::timeout(DEADLINE, events.next());
    assert_eq!(next.await.unwrap().unwrap().unwrap().subject, "before");
    world.machine.events.note(Kind::Service, "control", "up");
    let event = tokio::time::timeout(DEADLINE, events.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(
        (event.subject.as_str(), event.message.as_str(), event.number),
        ("control", "up", 2)
    );

    let ask = |follow| ServiceLogRequest {
        service: "agent".into(),
        follow,
        tail_lines: 1,
    };
    let status = reader.logs().service(ask(false)).await.unwrap_err();
    assert!(
        status.message().starts_with("agent has no log yet"),
        "{}",
        status.message()
    );
    let log = world.machine.places.logs.join("agent.log");
    fs::create_dir(&world.machine.places.logs).unwrap();
    fs::write(&log, "one\ntwo\n").unwrap();
    let mut chunks = reader.logs().service(ask(true)).await.unwrap().into_inner();
    let mut next = async || {
        tokio::time::timeout(DEADLINE, chunks.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap()
            .data
    };
    assert_eq!(next().await, b"two\n");
    fs::OpenOptions::new()
        .append(true)
        .open(&log)
        .unwrap()
        .write_all(b"three\n")
        .unwrap();
    assert_eq!(next().await, b"three\n");
}

#[tokio::test]
async fn maintenance_answers_little_and_takes_a_config() {
    let root = tempfile::tempdir().unwrap();
    let machine = Machine::new(Places::below(root.path()));
    machine.enter(Stage::Maintenance);
    fs::create_dir(&machine.places.state).unwrap();
    let leaf = Leaf {
        common_name: "maintenance".into(),
        names: vec!["x".into()],
        ..Leaf::default()
    };
    let own = identity::self_signed(&leaf).unwrap();
    let (api, installed) = serve_maintenance(&machine, &own)
        .await
        .map_err(|e| e.to_string())
        .unwrap();
    let address = MachineAddress {
        name: "n1".into(),
        endpoint: api.address.to_string(),
    };

    let wrong = connect(&address, Credentials::Fingerprint("aa:bb"))
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(wrong.contains("shows a certificate with fingerprint"), "{wrong}");

    let fingerprint = identity::fingerprint(&identity::tls::certificates(&own.certificate).unwrap()[0]);
    let anybody = connect(&address, Credentials::Fingerprint(&fingerprint)).await.unwrap();
    let info = anybody.info().get(GetInfoRequest {}).await.unwrap().into_inner();
    assert_eq!(info.stage(), Stage::Maintenance);
    let status = anybody.resources().processes(ProcessesRequest {}).await.unwrap_err();
    assert!(
        status.message().contains("does not answer in maintenance"),
        "{}",
        status.message()
    );

    let (config, secrets) = testing::machine("n1", "worker");
    let status = anybody
        .config()
        .apply(request(config.clone(), ApplyMode::Auto))
        .await
        .unwrap_err();
    assert!(status.message().contains("--secrets FILE"), "{}", status.message());
    let whole = ApplyConfigRequest {
        secrets: secrets.clone(),
        ..request(config.clone(), ApplyMode::Auto)
    };
    let applied = anybody.config().apply(whole.clone()).await.unwrap().into_inner();
    assert_eq!(applied.applied(), Applied::Starting);
    let running: Running = tokio::time::timeout(DEADLINE, installed).await.unwrap().unwrap();
    assert_eq!(
        (running.text.as_str(), running.source),
        (config.as_str(), Source::State)
    );
    assert!(matches!(
        acquire::acquire(&machine.places),
        acquire::Acquired::Config(_)
    ));
    let status = anybody.config().apply(whole).await.unwrap_err();
    assert!(status.message().contains("just before"), "{}", status.message());
    api.end().await;
    assert!(connect(&address, Credentials::Fingerprint(&fingerprint)).await.is_err());
}
