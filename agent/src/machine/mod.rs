//! The machine API: what a person asks of this machine. One file a group of calls, one line a call in `roles.rs`.

mod config;
mod images;
mod info;
mod kernel_log;
mod listen;
mod logs;
mod memory;
mod mounts;
mod power;
mod processes;
pub mod refuse;
mod resources;
mod roles;
mod services;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;

pub use listen::{Api, ServeError};

use crate::acquire::Running;
use crate::events::{Events, Kind};
use crate::init::Init;
use crate::places::Places;
use crate::pods::images::Images;
use ::config::{KeyPair, Secrets};
use identity::tls::{self, Callers};
use proto::machine::v1::Stage;
use proto::machine::v1::{
    config_server::ConfigServer, images_server::ImagesServer, info_server::InfoServer, logs_server::LogsServer,
    power_server::PowerServer, resources_server::ResourcesServer, services_server::ServicesServer,
};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tonic::Status;
use tonic::service::Routes;

/// From an answer to what ends the one who gives it. Writing an answer takes well below a millisecond; this is for a busy
/// machine under emulation.
const ANSWER_LEAD: Duration = Duration::from_millis(300);

/// What the calls work on.
pub struct Machine {
    /// Where files are.
    pub places: Places,
    /// PID 1.
    pub init: Init,
    /// What happened.
    pub events: Events,
    running: watch::Sender<Option<Arc<Running>>>,
    stage: watch::Sender<Stage>,
    /// Container images, where it runs pods.
    images: OnceLock<Images>,
    /// In maintenance: where the config goes that a call brought.
    installer: Mutex<Option<oneshot::Sender<Running>>>,
}

/// Serves a machine that runs with a config, from now on.
pub async fn serve(machine: &Arc<Machine>, secrets: &Secrets) -> Result<Api, ServeError> {
    let tls = tls::server(&secrets.machine, Callers::Of(&secrets.machine_ca), &["h2"])?;
    listen::serve(machine.places.api, tls, listen::Gate::Roles, routes(machine)).await
}

/// Serves a machine without a config; the receiver gets the one that a call brings.
pub async fn serve_maintenance(
    machine: &Arc<Machine>,
    own: &KeyPair,
) -> Result<(Api, oneshot::Receiver<Running>), ServeError> {
    let (installer, installed) = oneshot::channel();
    machine.await_config(installer);
    let tls = tls::server(own, Callers::Anybody, &["h2"])?;
    let api = listen::serve(machine.places.api, tls, listen::Gate::Maintenance, routes(machine)).await?;
    Ok((api, installed))
}

fn routes(machine: &Arc<Machine>) -> Routes {
    let machine = || Arc::clone(machine);
    Routes::new(ConfigServer::new(config::Calls(machine())))
        .add_service(InfoServer::new(info::Calls(machine())))
        .add_service(ServicesServer::new(services::Calls(machine())))
        .add_service(LogsServer::new(logs::Calls(machine())))
        .add_service(ResourcesServer::new(resources::Calls))
        .add_service(ImagesServer::new(images::Calls(machine())))
        .add_service(PowerServer::new(power::Calls(machine())))
}

// === impl Machine ===

impl Machine {
    /// A machine that starts; call it inside the runtime.
    pub fn new(places: Places) -> Arc<Self> {
        Arc::new(Self {
            init: Init::on(&places.init_socket),
            places,
            events: Events::new(),
            running: watch::Sender::new(None),
            stage: watch::Sender::new(Stage::Booting),
            images: OnceLock::new(),
            installer: Mutex::new(None),
        })
    }

    /// Notes a moment of the boot.
    pub fn mark(&self, name: &str) {
        self.init.mark(name);
        self.events.note(Kind::Mark, name, "");
    }

    /// Notes a new stage; no-op where it is in it already.
    pub fn enter(&self, stage: Stage) {
        if self.stage.send_replace(stage) != stage {
            self.events.note(Kind::Stage, info::stage_word(stage), "");
        }
    }

    /// The stage it is in.
    pub fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// From now on it runs with this config.
    pub fn run_with(&self, running: Arc<Running>) {
        self.running.send_replace(Some(running));
    }

    /// What it runs with; `None` in maintenance.
    pub fn running(&self) -> Option<Arc<Running>> {
        self.running.borrow().clone()
    }

    /// What it runs with, and each change of that.
    pub fn configs(&self) -> watch::Receiver<Option<Arc<Running>>> {
        self.running.subscribe()
    }

    /// It runs pods, from these images.
    pub fn run_pods_from(&self, images: Images) {
        // A machine starts to run pods once.
        let _ = self.images.set(images);
    }

    /// Asks init for what leaves no time for answers, once the caller has its own; that init is there at all is known
    /// before.
    async fn ask_after_the_answer(&self, request: init_protocol::Request) -> Result<(), Status> {
        self.init
            .ask(init_protocol::Request::Services)
            .await
            .map_err(refuse::init)?;
        let init = self.init.clone();
        tokio::spawn(async move {
            tokio::time::sleep(ANSWER_LEAD).await;
            if let Err(error) = init.ask(request).await {
                tracing::error!("{error}");
            }
        });
        Ok(())
    }

    /// In maintenance: a config goes there when a call brings one.
    fn await_config(&self, installer: oneshot::Sender<Running>) {
        *self.lock_installer() = Some(installer);
    }

    /// Where a config goes; to the first who asks.
    fn take_installer(&self) -> Option<oneshot::Sender<Running>> {
        self.lock_installer().take()
    }

    fn lock_installer(&self) -> std::sync::MutexGuard<'_, Option<oneshot::Sender<Running>>> {
        self.installer.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
