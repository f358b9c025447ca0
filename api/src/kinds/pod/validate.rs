//! What is wrong with a pod and its spec, in upstream's order (core `validation.ValidatePodCreate`, `ValidatePodSpec`).

use super::{
    annotations,
    container::{self, Around},
    ephemeral, placement, security, volume,
};
use crate::{at::At, field::FieldError, metadata, names};
use serde_json::Value;
use std::collections::HashSet;

const DNS_POLICIES: &[&str] = &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
const MAX_SEARCH_CHARACTERS: usize = 2048;
const MAX_HOSTNAME: usize = 64;

/// Whose spec it is: some rules are for pods, some need the pod's name.
#[derive(Clone, Copy, Debug)]
pub(in crate::kinds) enum Owner<'a> {
    /// A pod of that name.
    Pod(&'a str),
    /// A template, out of which pods are made.
    Template,
}

/// The spec of a pod.
pub(super) fn spec_of(pod: &Value) -> At<'_> {
    At::new(pod.get("spec").unwrap_or(&Value::Null), "spec")
}

/// What is wrong with a new pod, its metadata apart.
pub(super) fn validate(pod: &Value) -> Vec<FieldError> {
    let spec = spec_of(pod);
    let mut errors = metadata_and_spec(pod);
    if !spec.list("ephemeralContainers").is_empty() {
        errors.push(spec.forbidden("ephemeralContainers", "cannot be set on create"));
    }
    if !spec.text("nodeName").is_empty() && !spec.list("schedulingGates").is_empty() {
        let why = "cannot be set until all schedulingGates have been cleared";
        errors.push(spec.forbidden("nodeName", why));
    }
    errors.extend(annotations::match_fields(&pod["metadata"], &spec));
    errors
}

/// What is wrong with a pod, new or changed (core `validatePodMetadataAndSpec`).
pub(super) fn metadata_and_spec(pod: &Value) -> Vec<FieldError> {
    let spec = spec_of(pod);
    let mut errors = annotations::validate(&pod["metadata"], "metadata.annotations", &spec);
    errors.extend(validate_spec(&spec, Owner::Pod(metadata::name(pod))));
    if spec.text("serviceAccountName").is_empty() {
        let volumes = spec.items("volumes").into_iter();
        let sources = volumes.flat_map(|volume| volume.child("projected").items("sources"));
        let why = "must not be specified when serviceAccountName is not set";
        errors.extend(
            sources
                .filter(|source| source.has("serviceAccountToken"))
                .map(|source| source.forbidden("serviceAccountToken", why)),
        );
    }
    for kind in ["containers", "initContainers"] {
        errors.extend(spec.items(kind).iter().flat_map(container::image_of_pod));
    }
    errors
}

/// What is wrong with a defaulted pod spec.
pub(in crate::kinds) fn validate_spec(spec: &At<'_>, owner: Owner<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let volumes = volume::validate(spec, owner, &mut errors);
    errors.extend(claims(spec));
    let around = Around {
        spec,
        volumes: &volumes,
    };
    container::validate_all(&around, &mut errors);
    errors.extend(ephemeral::containers(&around));
    errors.extend(container::of_pod(spec));
    errors.extend(host_ports(spec, owner));
    errors.extend(spec.must_be_one_of("restartPolicy", &["Always", "OnFailure", "Never"]));
    errors.extend(spec.must_be_one_of("dnsPolicy", DNS_POLICIES));
    errors.extend(metadata::labels(
        spec.value.get("nodeSelector"),
        &spec.path("nodeSelector"),
    ));
    errors.extend(security::of_pod(spec));
    errors.extend(placement::affinity(spec));
    errors.extend(dns(spec));
    errors.extend(gates(spec));
    errors.extend(placement::spread(spec));
    errors.extend(security::host_process(spec));
    errors.extend(security::host_users(spec));
    errors.extend(hostname_override(spec));
    errors.extend(names_in(spec));
    errors.extend(container::overhead(spec));
    errors.extend(security::os(spec));
    errors.extend(container::file_volumes(spec));
    errors
}

/// The single values after the security context, in upstream's order.
fn names_in(spec: &At<'_>) -> Vec<FieldError> {
    let mut errors = spec.judge("serviceAccountName", names::dns1123_subdomain);
    errors.extend(spec.judge("nodeName", names::dns1123_subdomain));
    errors.extend(spec.judge_number("activeDeadlineSeconds", |seconds| {
        if (1..=i64::from(i32::MAX)).contains(&seconds) {
            return Vec::new();
        }
        vec!["must be between 1 and 2147483647, inclusive".to_owned()]
    }));
    errors.extend(spec.judge("hostname", names::dns1123_label));
    errors.extend(spec.judge("subdomain", names::dns1123_label));
    errors.extend(placement::tolerations(spec));
    for alias in spec.items("hostAliases") {
        errors.extend(alias.invalid_text("ip", names::ip(alias.text("ip"))));
        let hostnames = alias.items("hostnames");
        errors.extend(
            hostnames
                .iter()
                .flat_map(|name| name.invalid("", names::dns1123_subdomain(name.as_text()))),
        );
    }
    errors.extend(spec.judge("priorityClassName", names::dns1123_subdomain));
    if let Some(class) = spec.some("runtimeClassName") {
        errors.extend(class.invalid("", names::dns1123_subdomain(class.as_text())));
    }
    if spec.has("preemptionPolicy") {
        errors.extend(spec.must_be_one_of("preemptionPolicy", &["PreemptLowerPriority", "Never"]));
    }
    errors
}

fn claims(spec: &At<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut seen = HashSet::new();
    for claim in spec.items("resourceClaims") {
        let name = claim.text("name");
        if name.is_empty() {
            errors.push(claim.required("name", ""));
        } else if !seen.insert(name) {
            errors.push(FieldError::duplicate(claim.path("name"), name));
        } else {
            errors.extend(claim.judge("name", names::dns1123_label));
        }
        match (claim.has("resourceClaimName"), claim.has("resourceClaimTemplateName")) {
            (true, true) => {
                let why = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified";
                errors.extend(claim.invalid("", [why]));
            }
            (false, false) => {
                let why = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`";
                errors.extend(claim.invalid("", [why]));
            }
            _ => {}
        }
        for member in ["resourceClaimName", "resourceClaimTemplateName"] {
            if let Some(name) = claim.some(member) {
                errors.extend(name.invalid("", names::dns1123_subdomain(name.as_text())));
            }
        }
    }
    errors
}

/// On the host's network a container's port is the host's; a template may leave it open.
fn host_ports(spec: &At<'_>, owner: Owner<'_>) -> Vec<FieldError> {
    if !spec.flag("hostNetwork") {
        return Vec::new();
    }
    let containers = spec.items("containers");
    let ports = containers.iter().flat_map(|container| container.items("ports"));
    let differs = |port: &At<'_>| {
        let (host, own) = (port.int("hostPort"), port.int("containerPort"));
        host != own && (host != 0 || matches!(owner, Owner::Pod(_)))
    };
    let why = "must match `containerPort` when `hostNetwork` is true";
    ports
        .filter(differs)
        .map(|port| FieldError::invalid(port.path("hostPort"), port.int("hostPort"), why))
        .collect()
}

fn dns(spec: &At<'_>) -> Vec<FieldError> {
    let own = spec.text("dnsPolicy") == "None";
    let Some(config) = spec.some("dnsConfig") else {
        let why = "must provide `dnsConfig` when `dnsPolicy` is None";
        return own.then(|| spec.required("dnsConfig", why)).into_iter().collect();
    };
    let (servers, searches) = (config.items("nameservers"), config.items("searches"));
    if own && servers.is_empty() {
        let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        return vec![config.required("nameservers", why)];
    }
    let mut errors = Vec::new();
    if servers.len() > MAX_NAMESERVERS {
        let why = format!("must not have more than {MAX_NAMESERVERS} nameservers");
        errors.extend(config.invalid("nameservers", [why]));
    }
    errors.extend(
        servers
            .iter()
            .flat_map(|server| server.invalid("", names::ip(server.as_text()))),
    );
    if searches.len() > MAX_SEARCHES {
        let why = format!("must not have more than {MAX_SEARCHES} search paths");
        errors.extend(config.invalid("searches", [why]));
    }
    let characters: usize = searches.iter().map(|search| search.as_text().len() + 1).sum();
    if characters.saturating_sub(1) > MAX_SEARCH_CHARACTERS {
        let why =
            format!("must not have more than {MAX_SEARCH_CHARACTERS} characters (including spaces) in the search list");
        errors.extend(config.invalid("searches", [why]));
    }
    for search in searches.iter().filter(|search| search.as_text() != ".") {
        let name = search.as_text();
        let name = name.strip_suffix('.').unwrap_or(name);
        let wrong = names::dns1123_subdomain_with_underscores(name).into_iter();
        errors.extend(wrong.map(|why| FieldError::invalid(search.path(""), name, why)));
    }
    for option in config.items("options") {
        if option.text("name").is_empty() {
            errors.push(option.required("", "must not be empty"));
        }
    }
    errors
}

fn gates(spec: &At<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for gate in spec.items("readinessGates") {
        let kind = gate.text("conditionType");
        errors.extend(gate.invalid_text("conditionType", names::qualified_name(kind)));
    }
    let mut seen = HashSet::new();
    for gate in spec.items("schedulingGates") {
        let name = gate.text("name");
        let wrong = names::qualified_name(name).into_iter();
        errors.extend(wrong.map(|why| FieldError::invalid(gate.path(""), name, why)));
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(gate.path(""), name));
        }
    }
    errors
}

fn hostname_override(spec: &At<'_>) -> Vec<FieldError> {
    let Some(hostname) = spec.some("hostnameOverride") else {
        return Vec::new();
    };
    let mut errors = Vec::new();
    for other in ["setHostnameAsFQDN", "hostNetwork"] {
        if spec.flag(other) {
            errors.push(hostname.forbidden("", format!("may not be specified when {other} is true")));
        }
    }
    if hostname.as_text().len() > MAX_HOSTNAME {
        errors.push(FieldError::too_long(hostname.path(""), MAX_HOSTNAME));
    }
    errors.extend(hostname.invalid("", names::dns1123_subdomain(hostname.as_text())));
    errors
}

#[cfg(test)]
mod tests;
