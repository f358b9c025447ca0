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
        self.ask(down(Down::Reboot, request.into_inner().force)).await?;
        Ok(Response::new(RebootResponse {}))
    }

    async fn shutdown(&self, request: Request<ShutdownRequest>) -> Result<Response<ShutdownResponse>, Status> {
        self.ask(down(Down::PowerOff, request.into_inner().force)).await?;
        Ok(Response::new(ShutdownResponse {}))
    }

    async fn reset(&self, request: Request<ResetRequest>) -> Result<Response<ResetResponse>, Status> {
        self.ask(InitRequest::Reset {
            data: request.into_inner().data,
        })
        .await?;
        Ok(Response::new(ResetResponse {}))
    }
}

fn down(down: Down, force: bool) -> InitRequest {
    if force {
        InitRequest::ForceDown(down)
    } else {
        InitRequest::Down(down)
    }
}

// === impl Calls ===

impl Calls {
    async fn ask(&self, request: InitRequest) -> Result<(), Status> {
        self.0
            .events
            .note(Kind::Power, &request.to_string(), "a caller asked for it");
        self.0.init.ask(request).await.map_err(refuse::init)?;
        Ok(())
    }
}
