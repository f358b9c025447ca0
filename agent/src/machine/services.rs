//! Services: what PID 1 keeps running.

use super::{Machine, refuse};
use crate::boottime;
use crate::events::Kind;
use init_protocol::{Request as InitRequest, Service};
use proto::machine::v1::services_server::Services;
use proto::machine::v1::{
    ListServicesRequest, ListServicesResponse, RestartServiceRequest, RestartServiceResponse, ServiceState,
};
use std::sync::Arc;
use tonic::{Request, Response, Status};

pub struct Calls(pub Arc<Machine>);

#[tonic::async_trait]
impl Services for Calls {
    async fn list(&self, _: Request<ListServicesRequest>) -> Result<Response<ListServicesResponse>, Status> {
        let states = self
            .0
            .init
            .list::<init_protocol::ServiceState>(InitRequest::Services)
            .await;
        let now = boottime::now_us() / 1000;
        let state = |state: init_protocol::ServiceState| ServiceState {
            name: state.service.to_string(),
            phase: state.phase.to_string(),
            pid: state.pid.unwrap_or(0),
            restarts: state.restarts,
            last_end: state.last_end,
            phase_ms: now.saturating_sub(state.since_ms),
        };
        let services = states.map_err(refuse::init)?.into_iter().map(state).collect();
        Ok(Response::new(ListServicesResponse { services }))
    }

    async fn restart(
        &self,
        request: Request<RestartServiceRequest>,
    ) -> Result<Response<RestartServiceResponse>, Status> {
        let RestartServiceRequest { name, kill } = request.into_inner();
        let service = service(&name)?;
        self.0
            .events
            .note(Kind::Service, &service.to_string(), "a caller asked for its restart");
        match (service, kill) {
            (Service::Agent, true) => self.0.ask_after_the_answer(InitRequest::Kill(service)).await?,
            (_, kill) => {
                let request = match kill {
                    true => InitRequest::Kill(service),
                    false => InitRequest::Restart(service),
                };
                self.0.init.ask(request).await.map_err(refuse::init)?;
            }
        }
        Ok(Response::new(RestartServiceResponse {}))
    }
}

/// The service of a name.
pub fn service(name: &str) -> Result<Service, Status> {
    let known = [Service::Agent, Service::Control, Service::Etcd]
        .map(|service| service.to_string())
        .join(", ");
    name.parse()
        .map_err(|_| refuse::invalid(format!("no service {name:?}; this machine knows {known}")))
}
