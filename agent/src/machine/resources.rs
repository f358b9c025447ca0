//! Resources: processes, memory, mounts; each read from /proc in its own file.

use super::{memory, mounts, processes, refuse};
use proto::machine::v1::resources_server::Resources;
use proto::machine::v1::{
    MemoryRequest, MemoryResponse, MountsRequest, MountsResponse, ProcessesRequest, ProcessesResponse,
};
use tonic::{Request, Response, Status};

pub struct Calls;

#[tonic::async_trait]
impl Resources for Calls {
    async fn processes(&self, _: Request<ProcessesRequest>) -> Result<Response<ProcessesResponse>, Status> {
        let processes = refuse::blocking(|| Ok(processes::all())).await?;
        Ok(Response::new(ProcessesResponse { processes }))
    }

    async fn memory(&self, _: Request<MemoryRequest>) -> Result<Response<MemoryResponse>, Status> {
        refuse::blocking(|| Ok(Response::new(memory::now()))).await
    }

    async fn mounts(&self, _: Request<MountsRequest>) -> Result<Response<MountsResponse>, Status> {
        let mounts = refuse::blocking(|| Ok(mounts::all())).await?;
        Ok(Response::new(MountsResponse { mounts }))
    }
}
