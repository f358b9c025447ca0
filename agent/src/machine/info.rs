//! Info: what the machine is, its events, its boot's timeline.

use super::{Machine, refuse};
use crate::events::Kind;
use crate::{boottime, host};
use config::Role;
use init_protocol::{Phase, Request as InitRequest, ServiceState, VOLUMES, VolumeReport};
use proto::machine::v1::info_server::Info;
use proto::machine::v1::{
    Event, EventsRequest, GetInfoRequest, GetInfoResponse, Mark, Stage, TimelineRequest, TimelineResponse,
};
use std::fs;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};

/// How often services are compared with what they were while somebody follows the events; a restart between two looks
/// still shows in the count of restarts.
const LOOK: Duration = Duration::from_secs(1);

pub struct Calls(pub Arc<Machine>);

#[tonic::async_trait]
impl Info for Calls {
    async fn get(&self, _: Request<GetInfoRequest>) -> Result<Response<GetInfoResponse>, Status> {
        let running = self.0.running();
        let config = running.as_ref().map(|running| &running.config);
        let roles = config.iter().flat_map(|config| &config.machine.roles).map(role_word);
        Ok(Response::new(GetInfoResponse {
            name: config.map(|config| config.machine.name.clone()).unwrap_or_default(),
            cluster: config.map(|config| config.cluster.name.clone()).unwrap_or_default(),
            stage: self.0.stage().into(),
            roles: roles.map(str::to_owned).collect(),
            addresses: host::addresses().await.iter().map(ToString::to_string).collect(),
            pintle_version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel_version: line("/proc/sys/kernel/osrelease"),
            boot_id: line("/proc/sys/kernel/random/boot_id"),
            uptime_ms: boottime::now_us() / 1000,
            unix_ms: boottime::unix_ms(),
            provider: provider(),
            cpus: std::thread::available_parallelism().map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX)),
            memory_bytes: super::memory::meminfo().total_bytes,
            lacks: lacks(),
        }))
    }

    type EventsStream = Pin<Box<dyn Stream<Item = Result<Event, Status>> + Send>>;

    async fn events(&self, request: Request<EventsRequest>) -> Result<Response<Self::EventsStream>, Status> {
        let (kept, new) = self.0.events.follow();
        let kept = tokio_stream::iter(kept.into_iter().map(Ok));
        if !request.into_inner().follow {
            return Ok(Response::new(Box::pin(kept)));
        }
        let (sender, receiver) = mpsc::channel(16);
        tokio::spawn(follow(Arc::clone(&self.0), new, sender));
        Ok(Response::new(Box::pin(kept.chain(ReceiverStream::new(receiver)))))
    }

    async fn timeline(&self, _: Request<TimelineRequest>) -> Result<Response<TimelineResponse>, Status> {
        let marks = self
            .0
            .init
            .list::<init_protocol::Mark>(InitRequest::Marks)
            .await
            .map_err(refuse::init)?;
        let mut marks = marks
            .into_iter()
            .map(|mark| Mark {
                at_us: mark.at_us,
                name: mark.name,
            })
            .collect::<Vec<_>>();
        marks.sort_by_key(|mark| mark.at_us);
        Ok(Response::new(TimelineResponse { marks }))
    }
}

/// A stage as people read it.
pub fn stage_word(stage: Stage) -> &'static str {
    match stage {
        Stage::Unspecified => "unknown",
        Stage::Maintenance => "maintenance",
        Stage::Booting => "booting",
        Stage::Running => "running",
    }
}

async fn follow(machine: Arc<Machine>, mut new: broadcast::Receiver<Event>, to: mpsc::Sender<Result<Event, Status>>) {
    let mut seen = None;
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            event = new.recv() => match event {
                Ok(event) => if to.send(Ok(event)).await.is_err() { return },
                // The gap shows in the numbers.
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            },
            _ = look.tick() => seen = note_services(&machine, seen).await,
            () = to.closed() => return,
        }
    }
}

/// Makes an event of each service that is in another phase than before, or was started again since.
async fn note_services(machine: &Machine, before: Option<Vec<ServiceState>>) -> Option<Vec<ServiceState>> {
    let now = machine.init.list::<ServiceState>(InitRequest::Services).await.ok()?;
    for state in now.iter().filter(|_| before.is_some()) {
        let old = before.iter().flatten().find(|old| old.service == state.service);
        if old.is_none_or(|old| (old.phase, old.restarts) != (state.phase, state.restarts)) {
            machine
                .events
                .note(Kind::Service, &state.service.to_string(), in_words(state));
        }
    }
    Some(now)
}

fn in_words(state: &ServiceState) -> String {
    let ended = match state.last_end.as_str() {
        "" => String::new(),
        end => format!(" after {end}"),
    };
    match state.phase {
        Phase::Down => format!("down{ended}"),
        Phase::Up if state.restarts == 0 => "up".to_owned(),
        Phase::Up => format!("up{ended}, started {} times", state.restarts + 1),
        Phase::BackOff => format!("waits for its next start{ended}"),
        Phase::Stopping => "stopping".to_owned(),
    }
}

fn role_word(role: &Role) -> &'static str {
    match role {
        Role::ControlPlane => "control-plane",
        Role::Worker => "worker",
    }
}

fn line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn provider() -> String {
    if boottime::is_namespaces() {
        return "namespaces".to_owned();
    }
    match line("/sys/class/dmi/id/sys_vendor").as_str() {
        "" => "unknown".to_owned(),
        "QEMU" => "qemu".to_owned(),
        vendor => vendor.to_owned(),
    }
}

/// What Pintle promises and this machine cannot keep, found by looking.
fn lacks() -> Vec<String> {
    let mut lacks = Vec::new();
    let controllers = line("/sys/fs/cgroup/cgroup.controllers");
    let missing = ["cpu", "memory", "pids", "io"].into_iter();
    let missing = missing
        .filter(|wanted| !controllers.split(' ').any(|c| c == *wanted))
        .collect::<Vec<_>>();
    if !missing.is_empty() {
        lacks.push(format!(
            "cgroup v2 has no controller for {}: pods run without these limits",
            missing.join(", ")
        ));
    }
    if !super::mounts::root_is_verified() {
        lacks.push("the root file system is not on dm-verity: nothing checks its bytes".to_owned());
    }
    let volumes = fs::read_to_string(VOLUMES).unwrap_or_default();
    let reports = volumes.lines().filter_map(|line| line.parse::<VolumeReport>().ok());
    lacks.extend(
        reports
            .filter(|report| !report.note.is_empty())
            .map(|report| format!("{}: {}", report.volume, report.note)),
    );
    lacks
}
