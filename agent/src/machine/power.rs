//! Power: reboot, shutdown, reset; init does them, in order or by force.

use super::{Machine, refuse};
use crate::events::Kind;
use init_protocol::{Down, Request as InitRequest};
use proto::machine::v1::power_server::Power;
use proto::machine::v1::{
    RebootRequest, RebootResponse, ResetRequest, ResetResponse, ShutdownRequest, ShutdownResponse,
};
use std::sync::Arc;
use tonic::{Request, Response, Status};

pub struct Calls(pub Arc<Machine>);

#[tonic::async_trait]
impl Power for Calls {
    async fn reboot(&self, request: Request<RebootRequest>) -> Result<Response<RebootResponse>, Status> {
        self.down(Down::Reboot, request.into_inner().force).await?;
        Ok(Response::new(RebootResponse {}))
    }

    async fn shutdown(&self, request: Request<ShutdownRequest>) -> Result<Response<ShutdownResponse>, Status> {
        self.down(Down::PowerOff, request.into_inner().force).await?;
        Ok(Response::new(ShutdownResponse {}))
    }

    async fn reset(&self, request: Request<ResetRequest>) -> Result<Response<ResetResponse>, Status> {
        let request = InitRequest::Reset {
            data: request.into_inner().data,
        };
        self.note(&request);
        self.0.init.ask(request).await.map_err(refuse::init)?;
        Ok(Response::new(ResetResponse {}))
    }
}

// === impl Calls ===

impl Calls {
    /// On an orderly way down init tells the agent to end, which answers its callers first; a forced one ends all at once.
    async fn down(&self, down: Down, force: bool) -> Result<(), Status> {
        let request = match force {
            true => InitRequest::ForceDown(down),
            false => InitRequest::Down(down),
        };
        self.note(&request);
        match force {
            true => self.0.ask_after_the_answer(request).await,
            false => self.0.init.ask(request).await.map(drop).map_err(refuse::init),
        }
    }

    fn note(&self, request: &InitRequest) {
        let events = &self.0.events;
        events.note(Kind::Power, &request.to_string(), "a caller asked for it");
    }
}
