//! The kinds that are served: one file and one line each.

mod admission_policy;
mod admission_policy_binding;
mod admission_rules;
mod amount;
pub mod api_service;
mod binding;
mod certificate_signing_request;
mod cluster_role;
mod cluster_role_binding;
mod component_status;
mod config_map;
mod controller_revision;
pub mod cron_job;
mod csi_driver;
mod csi_node;
mod csi_storage_capacity;
mod custom_resource_definition;
mod daemon_set;
mod deployment;
mod device_class;
mod device_rules;
mod endpoint_slice;
mod endpoints;
mod event;
mod events_event;
pub mod flow_control;
mod flow_schema;
mod horizontal_pod_autoscaler;
mod ingress;
mod ingress_class;
mod ip_address;
mod job;
mod lease;
mod limit_range;
mod local_subject_access_review;
mod namespace;
mod network_policy;
mod node;
mod persistent_volume;
mod persistent_volume_claim;
pub(crate) mod pod;
mod pod_disruption_budget;
mod pod_template;
pub mod priority_class;
mod priority_level_configuration;
mod replica_set;
mod replication_controller;
mod resource_claim;
mod resource_claim_template;
mod resource_quota;
mod resource_slice;
mod role;
mod role_binding;
mod runtime_class;
mod secret;
mod self_subject_access_review;
mod self_subject_review;
mod self_subject_rules_review;
pub mod service;
mod service_account;
mod service_cidr;
mod stateful_set;
mod storage_class;
mod subject_access_review;
mod template;
mod token_review;
mod usage;
mod volume_attachment;
mod volume_attributes_class;
mod volume_source;
mod webhook_configuration;

pub use pod::Pod;

use crate::rules::Rules;

/// Every kind, in discovery's order within its group.
pub static KINDS: &[&Rules] = &[
    &Rules::of::<binding::Binding>(),
    &Rules::of::<component_status::ComponentStatus>(),
    &Rules::of::<config_map::ConfigMap>(),
    &Rules::of::<endpoints::Endpoints>(),
    &Rules::of::<event::Event>(),
    &Rules::of::<limit_range::LimitRange>(),
    &Rules::of::<namespace::Namespace>(),
    &Rules::of::<node::Node>(),
    &Rules::of::<persistent_volume_claim::PersistentVolumeClaim>(),
    &Rules::of::<persistent_volume::PersistentVolume>(),
    &Rules::of::<pod::Pod>(),
    &Rules::of::<pod_template::PodTemplate>(),
    &Rules::of::<replication_controller::ReplicationController>(),
    &Rules::of::<resource_quota::ResourceQuota>(),
    &Rules::of::<secret::Secret>(),
    &Rules::of::<service_account::ServiceAccount>(),
    &Rules::of::<service::Service>(),
    &Rules::of::<controller_revision::ControllerRevision>(),
    &Rules::of::<daemon_set::DaemonSet>(),
    &Rules::of::<deployment::Deployment>(),
    &Rules::of::<replica_set::ReplicaSet>(),
    &Rules::of::<stateful_set::StatefulSet>(),
    &Rules::of::<events_event::Event>(),
    &Rules::of::<horizontal_pod_autoscaler::HorizontalPodAutoscaler>(),
    &Rules::of::<horizontal_pod_autoscaler::HorizontalPodAutoscalerV1>(),
    &Rules::of::<cron_job::CronJob>(),
    &Rules::of::<job::Job>(),
    &Rules::of::<ingress_class::IngressClass>(),
    &Rules::of::<ingress::Ingress>(),
    &Rules::of::<ip_address::IpAddress>(),
    &Rules::of::<network_policy::NetworkPolicy>(),
    &Rules::of::<service_cidr::ServiceCidr>(),
    &Rules::of::<pod_disruption_budget::PodDisruptionBudget>(),
    &Rules::of::<csi_driver::CsiDriver>(),
    &Rules::of::<csi_node::CsiNode>(),
    &Rules::of::<csi_storage_capacity::CsiStorageCapacity>(),
    &Rules::of::<storage_class::StorageClass>(),
    &Rules::of::<volume_attachment::VolumeAttachment>(),
    &Rules::of::<volume_attributes_class::VolumeAttributesClass>(),
    &Rules::of::<priority_class::PriorityClass>(),
    &Rules::of::<lease::Lease>(),
    &Rules::of::<runtime_class::RuntimeClass>(),
    &Rules::of::<endpoint_slice::EndpointSlice>(),
    &Rules::of::<admission_policy::Mutating>(),
    &Rules::of::<admission_policy_binding::Mutating>(),
    &Rules::of::<webhook_configuration::Mutating>(),
    &Rules::of::<admission_policy::Validating>(),
    &Rules::of::<admission_policy_binding::Validating>(),
    &Rules::of::<webhook_configuration::Validating>(),
    &Rules::of::<flow_schema::FlowSchema>(),
    &Rules::of::<priority_level_configuration::PriorityLevelConfiguration>(),
    &Rules::of::<device_class::DeviceClass>(),
    &Rules::of::<resource_claim::ResourceClaim>(),
    &Rules::of::<resource_claim_template::ResourceClaimTemplate>(),
    &Rules::of::<resource_slice::ResourceSlice>(),
    &Rules::of::<api_service::ApiService>(),
    &Rules::of::<token_review::TokenReview>(),
    &Rules::of::<self_subject_review::SelfSubjectReview>(),
    &Rules::of::<local_subject_access_review::LocalSubjectAccessReview>(),
    &Rules::of::<self_subject_access_review::SelfSubjectAccessReview>(),
    &Rules::of::<self_subject_rules_review::SelfSubjectRulesReview>(),
    &Rules::of::<subject_access_review::SubjectAccessReview>(),
    &Rules::of::<certificate_signing_request::CertificateSigningRequest>(),
    &Rules::of::<cluster_role_binding::ClusterRoleBinding>(),
    &Rules::of::<cluster_role::ClusterRole>(),
    &Rules::of::<role_binding::RoleBinding>(),
    &Rules::of::<role::Role>(),
    &Rules::of::<custom_resource_definition::CustomResourceDefinition>(),
    &Rules::of::<usage::NodeMetrics>(),
    &Rules::of::<usage::PodMetrics>(),
];

/// The rules of what a path names.
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Rules> {
    KINDS
        .iter()
        .copied()
        .find(|r| r.plural == plural && r.group == group && r.version == version)
}

/// The rules of what `apiVersion` and `kind` name.
pub fn find_kind(api_version: &str, kind: &str) -> Option<&'static Rules> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    KINDS
        .iter()
        .copied()
        .find(|r| r.kind == kind && r.group == group && r.version == version)
}
