//! Config: get, validate, apply. A config takes effect whole or not at all.

use super::{Machine, refuse};
use crate::acquire::{self, Running, Source};
use crate::events::Kind;
use crate::state::{self, StateError};
use crate::trial::{self, Trial};
use config::{Changes, Effect, MachineConfig, diff};
use init_protocol::{Down, Request as InitRequest};
use proto::machine::v1::config_server::Config;
use proto::machine::v1::{
    Applied, ApplyConfigRequest, ApplyConfigResponse, ApplyMode, ConfirmConfigRequest, ConfirmConfigResponse,
    GetConfigRequest, GetConfigResponse, Problem, ValidateConfigRequest, ValidateConfigResponse,
};
use std::path::Path;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// How long a trial lasts where the caller does not say: a reboot and a look around.
const TRY_SECONDS: u32 = 300;

const ON_TRIAL: &str =
    "a config is on trial: keep it with `pintlectl config confirm`, or wait until its time is up; nothing was applied";

pub struct Calls(pub Arc<Machine>);

#[tonic::async_trait]
impl Config for Calls {
    async fn get(&self, _: Request<GetConfigRequest>) -> Result<Response<GetConfigResponse>, Status> {
        let running = self
            .0
            .running()
            .ok_or_else(|| refuse::not_now("this machine has no config"))?;
        Ok(Response::new(GetConfigResponse {
            config: running.text.clone(),
            source: running.source.to_string(),
        }))
    }

    async fn validate(
        &self,
        request: Request<ValidateConfigRequest>,
    ) -> Result<Response<ValidateConfigResponse>, Status> {
        let problems = config::parse(&request.into_inner().config).err().unwrap_or_default();
        let problem = |problem: config::Problem| Problem {
            line: u32::try_from(problem.line).unwrap_or(u32::MAX),
            column: u32::try_from(problem.column).unwrap_or(u32::MAX),
            message: problem.message,
        };
        Ok(Response::new(ValidateConfigResponse {
            problems: problems.into_iter().map(problem).collect(),
        }))
    }

    async fn apply(&self, request: Request<ApplyConfigRequest>) -> Result<Response<ApplyConfigResponse>, Status> {
        let request = request.into_inner();
        let mode = request.mode();
        let trial = (mode == ApplyMode::Try).then_some(request.try_seconds);
        if mode != ApplyMode::DryRun && trial::is_there(&self.0.places.state) {
            return Err(refuse::not_now(ON_TRIAL));
        }
        let old = self.0.running();
        let new = checked(request, old.as_deref())?;
        let changes = old.as_ref().map(|old| diff(&old.config, &new.config));
        let text = changes
            .as_ref()
            .map_or_else(|| everything(&new.config), ToString::to_string);
        let applied = match plan(mode, old.as_deref(), changes.as_ref(), &new)? {
            Applied::Unspecified | Applied::Nothing => Applied::Nothing,
            Applied::Starting => self.start_with(new).await?,
            Applied::Live => self.apply_live(new, trial, old).await?,
            Applied::Rebooting => self.reboot_into(new, trial).await?,
            Applied::Staged => self.stage(new).await?,
        };
        Ok(Response::new(ApplyConfigResponse {
            applied: applied.into(),
            diff: text,
        }))
    }

    async fn confirm(&self, _: Request<ConfirmConfigRequest>) -> Result<Response<ConfirmConfigResponse>, Status> {
        let (state, run) = (self.0.places.state.clone(), self.0.places.run.clone());
        let confirmed = refuse::blocking(move || trial::confirm(&state, &run).map_err(refuse::failed)).await?;
        if !confirmed {
            return Err(refuse::not_now(
                "no config is on trial: it was confirmed before, or its time is up and the one before is in effect",
            ));
        }
        let name = self.0.running().map(|running| running.config.machine.name.clone());
        let events = &self.0.events;
        events.note(Kind::Config, &name.unwrap_or_default(), "confirmed; it stays");
        Ok(Response::new(ConfirmConfigResponse {}))
    }
}

/// The config that is asked for, good as far as can be known; without secrets of its own, with those of the machine.
fn checked(request: ApplyConfigRequest, old: Option<&Running>) -> Result<Running, Status> {
    let secrets = match (request.secrets.is_empty(), old) {
        (false, _) => request.secrets,
        (true, Some(old)) => old.secrets_text.clone(),
        (true, None) => {
            config::parse(&request.config).map_err(|problems| refuse::invalid(config::sentence(&problems)))?;
            return Err(refuse::invalid(
                "this machine has no secrets yet: give them too, with --secrets FILE",
            ));
        }
    };
    acquire::check(&request.config, &secrets, Source::State).map_err(refuse::invalid)
}

/// What is to be done.
fn plan(mode: ApplyMode, old: Option<&Running>, changes: Option<&Changes>, new: &Running) -> Result<Applied, Status> {
    let same_secrets = old.is_some_and(|old| old.secrets_text == new.secrets_text);
    let same = same_secrets && old.is_some_and(|old| old.text == new.text);
    match (mode, changes) {
        (ApplyMode::Unspecified, _) => Err(refuse::invalid(
            "say how to apply: dry-run, auto, try, staged or reboot",
        )),
        (ApplyMode::DryRun, _) => Ok(Applied::Nothing),
        (ApplyMode::Try | ApplyMode::Staged, None) => Err(refuse::not_now(
            "this machine has no config that could stay or come back: apply its first with auto",
        )),
        (ApplyMode::Reboot, _) => Ok(Applied::Rebooting),
        (ApplyMode::Auto, None) => Ok(Applied::Starting),
        (ApplyMode::Auto | ApplyMode::Try | ApplyMode::Staged, Some(_)) if same => Ok(Applied::Nothing),
        (ApplyMode::Staged, Some(_)) => Ok(Applied::Staged),
        (ApplyMode::Auto | ApplyMode::Try, Some(changes)) if same_secrets && changes.effect() == Effect::Live => {
            Ok(Applied::Live)
        }
        (ApplyMode::Auto | ApplyMode::Try, Some(_)) => Ok(Applied::Rebooting),
    }
}

fn everything(config: &MachineConfig) -> String {
    format!(
        "+ everything: {} of cluster {}\n",
        config.machine.name, config.cluster.name
    )
}

// === impl Calls ===

impl Calls {
    async fn start_with(&self, new: Running) -> Result<Applied, Status> {
        let late = "another call brought a config just before; the machine is starting with that one";
        let installer = self.0.take_installer().ok_or_else(|| refuse::not_now(late))?;
        match self.store(new).await {
            Ok(new) => {
                self.0.events.note(
                    Kind::Config,
                    &new.config.machine.name,
                    "applied; the machine leaves maintenance",
                );
                installer
                    .send(new)
                    .map_err(|_| refuse::failed("the config is stored, but the agent ends; reboot"))?;
                Ok(Applied::Starting)
            }
            Err(status) => {
                self.0.await_config(installer);
                Err(status)
            }
        }
    }

    async fn apply_live(&self, new: Running, trial: Option<u32>, old: Option<Arc<Running>>) -> Result<Applied, Status> {
        let new = match trial {
            None => self.store(new).await?,
            Some(seconds) => {
                let run = self.0.places.run.clone();
                self.try_it(new, seconds, move |state, trial| trial::begin(state, &run, trial))
                    .await?
            }
        };
        let said = match trial {
            None => "applied while everything runs",
            Some(_) => "on trial; it goes unless it is confirmed",
        };
        self.0.events.note(Kind::Config, &new.config.machine.name, said);
        self.0.run_with(Arc::new(new));
        if trial.is_some() {
            trial::watch(&self.0, old);
        }
        Ok(Applied::Live)
    }

    async fn reboot_into(&self, new: Running, trial: Option<u32>) -> Result<Applied, Status> {
        // Without init there is no reboot: learn that before anything is stored.
        self.0.init.ask(InitRequest::Services).await.map_err(refuse::init)?;
        let new = match trial {
            None => self.store(new).await?,
            Some(seconds) => self.try_it(new, seconds, trial::put).await?,
        };
        let said = match trial {
            None => "stored; the machine reboots into it",
            Some(_) => "the machine reboots into its trial; it goes unless it is confirmed",
        };
        self.0.events.note(Kind::Config, &new.config.machine.name, said);
        self.0
            .init
            .ask(InitRequest::Down(Down::Reboot))
            .await
            .map_err(refuse::init)?;
        Ok(Applied::Rebooting)
    }

    async fn stage(&self, new: Running) -> Result<Applied, Status> {
        let new = self.store(new).await?;
        let name = &new.config.machine.name;
        self.0.events.note(Kind::Config, name, "stored for the next start");
        Ok(Applied::Staged)
    }

    /// Keeps `new` beside what is stored, by `how`.
    async fn try_it(
        &self,
        new: Running,
        seconds: u32,
        how: impl FnOnce(&Path, &Trial) -> Result<(), StateError> + Send + 'static,
    ) -> Result<Running, Status> {
        let state = self.0.places.state.clone();
        refuse::blocking(move || {
            let trial = Trial {
                seconds: if seconds == 0 { TRY_SECONDS } else { seconds },
                config: new.text.clone(),
                secrets: new.secrets_text.clone(),
            };
            how(&state, &trial).map_err(|error| refuse::failed(format!("nothing was applied: {error}")))?;
            Ok(Running {
                source: Source::Trial,
                ..new
            })
        })
        .await
    }

    async fn store(&self, new: Running) -> Result<Running, Status> {
        let folder = self.0.places.state.clone();
        refuse::blocking(move || {
            state::store(&folder, &new.text, &new.secrets_text)
                .map_err(|error| refuse::failed(format!("nothing was applied: {error}")))?;
            Ok(new)
        })
        .await
    }
}
