//! RuntimeService: each call hands on to the file that does it.

use super::exec::program;
use super::images::{Many, chunks};
use super::streams::{Planned, wanted};
use super::{Calls, Cri, now, status};
use crate::machine::refuse;
use crate::node::face::forward::Target;
use crate::node::face::remote::{Task, What};
use proto::cri::runtime::v1 as cri;
use proto::cri::runtime::v1::runtime_service_server::RuntimeService;
use tokio::sync::broadcast::error::RecvError;
use tonic::{Request, Response, Status};

/// The version of the kubelet's runtime API, which has been this for ever.
const API: &str = "0.1.0";

type Answer<T> = Result<Response<T>, Status>;

fn answer<T>(value: T) -> Answer<T> {
    Ok(Response::new(value))
}

#[tonic::async_trait]
impl RuntimeService for Calls {
    async fn version(&self, _: Request<cri::VersionRequest>) -> Answer<cri::VersionResponse> {
        answer(cri::VersionResponse {
            version: API.to_owned(),
            runtime_name: "pintle".to_owned(),
            runtime_version: env!("CARGO_PKG_VERSION").to_owned(),
            runtime_api_version: "v1".to_owned(),
        })
    }

    async fn run_pod_sandbox(&self, request: Request<cri::RunPodSandboxRequest>) -> Answer<cri::RunPodSandboxResponse> {
        let request = request.into_inner();
        let pod_sandbox_id = self
            .to_its_end(move |cri| async move { cri.run_sandbox(request).await })
            .await?;
        answer(cri::RunPodSandboxResponse { pod_sandbox_id })
    }

    async fn stop_pod_sandbox(
        &self,
        request: Request<cri::StopPodSandboxRequest>,
    ) -> Answer<cri::StopPodSandboxResponse> {
        let id = request.into_inner().pod_sandbox_id;
        self.to_its_end(move |cri| async move { cri.stop_sandbox(&id).await })
            .await?;
        answer(cri::StopPodSandboxResponse {})
    }

    async fn remove_pod_sandbox(
        &self,
        request: Request<cri::RemovePodSandboxRequest>,
    ) -> Answer<cri::RemovePodSandboxResponse> {
        let id = request.into_inner().pod_sandbox_id;
        self.to_its_end(move |cri| async move { cri.remove_sandbox(&id).await })
            .await?;
        answer(cri::RemovePodSandboxResponse {})
    }

    async fn pod_sandbox_status(
        &self,
        request: Request<cri::PodSandboxStatusRequest>,
    ) -> Answer<cri::PodSandboxStatusResponse> {
        let request = request.into_inner();
        let record = self.sandbox(&request.pod_sandbox_id)?;
        answer(cri::PodSandboxStatusResponse {
            status: Some(status::sandbox(&record)),
            info: self.sandbox_info(&record, request.verbose),
            containers_statuses: self.containers_of(&record.id).iter().map(status::container).collect(),
            timestamp: now(),
        })
    }

    async fn list_pod_sandbox(
        &self,
        request: Request<cri::ListPodSandboxRequest>,
    ) -> Answer<cri::ListPodSandboxResponse> {
        let items = self.sandbox_items(request.into_inner().filter);
        answer(cri::ListPodSandboxResponse { items })
    }

    type StreamPodSandboxesStream = Many<cri::StreamPodSandboxesResponse>;

    async fn stream_pod_sandboxes(
        &self,
        request: Request<cri::StreamPodSandboxesRequest>,
    ) -> Answer<Self::StreamPodSandboxesStream> {
        let items = self.sandbox_items(request.into_inner().filter);
        answer(chunks(&items, |pod_sandboxes| cri::StreamPodSandboxesResponse {
            pod_sandboxes,
        }))
    }

    async fn create_container(
        &self,
        request: Request<cri::CreateContainerRequest>,
    ) -> Answer<cri::CreateContainerResponse> {
        let container_id = Cri::create_container(self, request.into_inner()).await?;
        answer(cri::CreateContainerResponse { container_id })
    }

    async fn start_container(
        &self,
        request: Request<cri::StartContainerRequest>,
    ) -> Answer<cri::StartContainerResponse> {
        let id = request.into_inner().container_id;
        self.to_its_end(move |cri| async move { cri.start_container(&id).await })
            .await?;
        answer(cri::StartContainerResponse {})
    }

    async fn stop_container(&self, request: Request<cri::StopContainerRequest>) -> Answer<cri::StopContainerResponse> {
        let request = request.into_inner();
        Cri::stop_container(self, &request.container_id, request.timeout).await?;
        answer(cri::StopContainerResponse {})
    }

    async fn remove_container(
        &self,
        request: Request<cri::RemoveContainerRequest>,
    ) -> Answer<cri::RemoveContainerResponse> {
        let id = request.into_inner().container_id;
        self.to_its_end(move |cri| async move { cri.remove_container(&id).await })
            .await?;
        answer(cri::RemoveContainerResponse {})
    }

    async fn list_containers(
        &self,
        request: Request<cri::ListContainersRequest>,
    ) -> Answer<cri::ListContainersResponse> {
        let containers = self.container_items(request.into_inner().filter);
        answer(cri::ListContainersResponse { containers })
    }

    type StreamContainersStream = Many<cri::StreamContainersResponse>;

    async fn stream_containers(
        &self,
        request: Request<cri::StreamContainersRequest>,
    ) -> Answer<Self::StreamContainersStream> {
        let items = self.container_items(request.into_inner().filter);
        answer(chunks(&items, |containers| cri::StreamContainersResponse {
            containers,
        }))
    }

    async fn container_status(
        &self,
        request: Request<cri::ContainerStatusRequest>,
    ) -> Answer<cri::ContainerStatusResponse> {
        let request = request.into_inner();
        let record = self.container(&request.container_id)?;
        answer(cri::ContainerStatusResponse {
            status: Some(status::container(&record)),
            info: self.container_info(&record, request.verbose).await,
        })
    }

    async fn update_container_resources(
        &self,
        request: Request<cri::UpdateContainerResourcesRequest>,
    ) -> Answer<cri::UpdateContainerResourcesResponse> {
        let request = request.into_inner();
        let wanted = request
            .linux
            .ok_or_else(|| refuse::invalid("nothing is said of Linux resources"))?;
        self.update_container(&request.container_id, &wanted).await?;
        answer(cri::UpdateContainerResourcesResponse {})
    }

    async fn reopen_container_log(
        &self,
        request: Request<cri::ReopenContainerLogRequest>,
    ) -> Answer<cri::ReopenContainerLogResponse> {
        self.reopen_log(&request.into_inner().container_id).await?;
        answer(cri::ReopenContainerLogResponse {})
    }

    async fn exec_sync(&self, request: Request<cri::ExecSyncRequest>) -> Answer<cri::ExecSyncResponse> {
        answer(Cri::exec_sync(self, request.into_inner()).await?)
    }

    async fn exec(&self, request: Request<cri::ExecRequest>) -> Answer<cri::ExecResponse> {
        let request = request.into_inner();
        let wanted = wanted(request.stdin, request.stdout, request.stderr, request.tty)?;
        if request.cmd.is_empty() {
            return Err(refuse::invalid("exec needs a command"));
        }
        let (record, sandbox) = self.running_container(&request.container_id)?;
        let mut plan = program(&record.id, request.cmd);
        (plan.tty, plan.stdin) = (request.tty, request.stdin);
        let what = What::Exec(Box::new(plan));
        let url = self
            .streams
            .add("exec", Planned::Task(Task { sandbox, what, wanted }))?;
        answer(cri::ExecResponse { url })
    }

    async fn attach(&self, request: Request<cri::AttachRequest>) -> Answer<cri::AttachResponse> {
        let request = request.into_inner();
        let wanted = wanted(request.stdin, request.stdout, request.stderr, request.tty)?;
        let (record, sandbox) = self.running_container(&request.container_id)?;
        let what = What::Attach(record.id);
        let url = self
            .streams
            .add("attach", Planned::Task(Task { sandbox, what, wanted }))?;
        answer(cri::AttachResponse { url })
    }

    async fn port_forward(&self, request: Request<cri::PortForwardRequest>) -> Answer<cri::PortForwardResponse> {
        let record = self.sandbox(&request.into_inner().pod_sandbox_id)?;
        let metadata = record.config.and_then(|config| config.metadata).unwrap_or_default();
        let target = Target {
            sandbox: self.running(&record.id)?,
            name: format!("{}_{}", metadata.name, metadata.namespace),
            uid: metadata.uid,
        };
        let url = self.streams.add("portforward", Planned::Forward(target))?;
        answer(cri::PortForwardResponse { url })
    }

    async fn container_stats(
        &self,
        request: Request<cri::ContainerStatsRequest>,
    ) -> Answer<cri::ContainerStatsResponse> {
        let (record, _) = self.running_container(&request.into_inner().container_id)?;
        let filter = cri::ContainerStatsFilter {
            id: record.id.clone(),
            pod_sandbox_id: record.sandbox_id,
            ..cri::ContainerStatsFilter::default()
        };
        let stats = Cri::container_stats(self, Some(&filter)).await?.into_iter().next();
        let stats = stats.ok_or_else(|| refuse::not_now(format!("container {:?} has just ended", record.id)))?;
        answer(cri::ContainerStatsResponse { stats: Some(stats) })
    }

    async fn list_container_stats(
        &self,
        request: Request<cri::ListContainerStatsRequest>,
    ) -> Answer<cri::ListContainerStatsResponse> {
        let stats = Cri::container_stats(self, request.into_inner().filter.as_ref()).await?;
        answer(cri::ListContainerStatsResponse { stats })
    }

    type StreamContainerStatsStream = Many<cri::StreamContainerStatsResponse>;

    async fn stream_container_stats(
        &self,
        request: Request<cri::StreamContainerStatsRequest>,
    ) -> Answer<Self::StreamContainerStatsStream> {
        let stats = Cri::container_stats(self, request.into_inner().filter.as_ref()).await?;
        answer(chunks(&stats, |container_stats| cri::StreamContainerStatsResponse {
            container_stats,
        }))
    }

    async fn pod_sandbox_stats(
        &self,
        request: Request<cri::PodSandboxStatsRequest>,
    ) -> Answer<cri::PodSandboxStatsResponse> {
        let record = self.sandbox(&request.into_inner().pod_sandbox_id)?;
        let filter = cri::PodSandboxStatsFilter {
            id: record.id.clone(),
            ..cri::PodSandboxStatsFilter::default()
        };
        let stats = self.sandbox_stats(Some(&filter)).await?.into_iter().next();
        let stats = stats.ok_or_else(|| refuse::not_now(format!("pod sandbox {:?} is not running", record.id)))?;
        answer(cri::PodSandboxStatsResponse { stats: Some(stats) })
    }

    async fn list_pod_sandbox_stats(
        &self,
        request: Request<cri::ListPodSandboxStatsRequest>,
    ) -> Answer<cri::ListPodSandboxStatsResponse> {
        let stats = self.sandbox_stats(request.into_inner().filter.as_ref()).await?;
        answer(cri::ListPodSandboxStatsResponse { stats })
    }

    type StreamPodSandboxStatsStream = Many<cri::StreamPodSandboxStatsResponse>;

    async fn stream_pod_sandbox_stats(
        &self,
        request: Request<cri::StreamPodSandboxStatsRequest>,
    ) -> Answer<Self::StreamPodSandboxStatsStream> {
        let stats = self.sandbox_stats(request.into_inner().filter.as_ref()).await?;
        answer(chunks(&stats, |pod_sandbox_stats| cri::StreamPodSandboxStatsResponse {
            pod_sandbox_stats,
        }))
    }

    /// The node has its pod CIDR from the cluster, and so has nothing to take over.
    async fn update_runtime_config(
        &self,
        _: Request<cri::UpdateRuntimeConfigRequest>,
    ) -> Answer<cri::UpdateRuntimeConfigResponse> {
        answer(cri::UpdateRuntimeConfigResponse {})
    }

    async fn status(&self, request: Request<cri::StatusRequest>) -> Answer<cri::StatusResponse> {
        answer(self.runtime_status(request.into_inner().verbose))
    }

    async fn checkpoint_container(
        &self,
        _: Request<cri::CheckpointContainerRequest>,
    ) -> Answer<cri::CheckpointContainerResponse> {
        Err(Status::unimplemented("containers cannot be checkpointed"))
    }

    type GetContainerEventsStream = Many<cri::ContainerEventResponse>;

    async fn get_container_events(&self, _: Request<cri::GetEventsRequest>) -> Answer<Self::GetContainerEventsStream> {
        let events = self.events.subscribe();
        let each = futures_util::stream::unfold(Some(events), |events| async move {
            let mut events = events?;
            match events.recv().await {
                Ok(event) => Some((Ok(event), Some(events))),
                // It lists what there is and listens anew.
                Err(RecvError::Lagged(missed)) => {
                    Some((Err(Status::data_loss(format!("{missed} events were missed"))), None))
                }
                Err(RecvError::Closed) => None,
            }
        });
        answer(Box::pin(each))
    }

    async fn list_metric_descriptors(
        &self,
        _: Request<cri::ListMetricDescriptorsRequest>,
    ) -> Answer<cri::ListMetricDescriptorsResponse> {
        answer(cri::ListMetricDescriptorsResponse {
            descriptors: super::metrics::descriptors(),
        })
    }

    async fn list_pod_sandbox_metrics(
        &self,
        _: Request<cri::ListPodSandboxMetricsRequest>,
    ) -> Answer<cri::ListPodSandboxMetricsResponse> {
        let pod_metrics = self.sandbox_metrics().await?;
        answer(cri::ListPodSandboxMetricsResponse { pod_metrics })
    }

    type StreamPodSandboxMetricsStream = Many<cri::StreamPodSandboxMetricsResponse>;

    async fn stream_pod_sandbox_metrics(
        &self,
        _: Request<cri::StreamPodSandboxMetricsRequest>,
    ) -> Answer<Self::StreamPodSandboxMetricsStream> {
        let metrics = self.sandbox_metrics().await?;
        answer(chunks(&metrics, |pod_sandbox_metrics| {
            cri::StreamPodSandboxMetricsResponse { pod_sandbox_metrics }
        }))
    }

    async fn runtime_config(&self, _: Request<cri::RuntimeConfigRequest>) -> Answer<cri::RuntimeConfigResponse> {
        answer(cri::RuntimeConfigResponse {
            linux: Some(cri::LinuxRuntimeConfiguration {
                cgroup_driver: cri::CgroupDriver::Cgroupfs.into(),
            }),
        })
    }

    async fn update_pod_sandbox_resources(
        &self,
        request: Request<cri::UpdatePodSandboxResourcesRequest>,
    ) -> Answer<cri::UpdatePodSandboxResourcesResponse> {
        let request = request.into_inner();
        self.note_resources(&request.pod_sandbox_id, request.overhead, request.resources)?;
        answer(cri::UpdatePodSandboxResourcesResponse {})
    }
}
