//! What is wrong with requests and limits, of a container and of a whole pod (core `validateResourceRequirements`).

use crate::{
    at::At,
    field::FieldError,
    names,
    quantity::Quantity,
    quota::{self, Amounts},
};
use serde_json::Value;
use std::collections::HashSet;

/// Resources without a domain that upstream knows at all (`IsStandardResourceName`).
const STANDARD: &[&str] = &[
    "configmaps",
    "cpu",
    "ephemeral-storage",
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "memory",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
    "requests.storage",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
    "storage",
];
const OF_CONTAINERS: [&str; 3] = ["cpu", "ephemeral-storage", "memory"];
const OF_PODS: [&str; 2] = ["cpu", "memory"];

fn is_huge_page(resource: &str) -> bool {
    resource.starts_with("hugepages-")
}

/// Kubernetes' own: without a domain, or with Kubernetes'.
fn is_native(resource: &str) -> bool {
    !resource.contains('/') || resource.contains("kubernetes.io/")
}

/// Whether it may be promised more often than it is there.
pub(in crate::kinds) fn overcommits(resource: &str) -> bool {
    is_native(resource) && !is_huge_page(resource)
}

/// What is wrong with the name of any resource, at `field` (core `validateResourceName`).
pub(in crate::kinds) fn resource_name(resource: &str, field: &str) -> Vec<FieldError> {
    let wrong = names::qualified_name(resource);
    if !wrong.is_empty() {
        let wrong = wrong.into_iter();
        return wrong.map(|why| FieldError::invalid(field, resource, why)).collect();
    }
    let huge = is_huge_page(resource) || resource.starts_with("requests.hugepages-");
    if resource.contains('/') || huge || STANDARD.contains(&resource) {
        return Vec::new();
    }
    let why = "must be a standard resource type or fully qualified";
    vec![FieldError::invalid(field, resource, why)]
}

/// What is wrong with the name of a resource that containers have (core `ValidateContainerResourceName`).
pub(in crate::kinds) fn name_for_container(resource: &str, field: &str) -> Vec<FieldError> {
    let mut errors = resource_name(resource, field);
    let why = if !resource.contains('/') && !OF_CONTAINERS.contains(&resource) && !is_huge_page(resource) {
        "must be a standard resource for containers"
    } else if !is_native(resource) && !quota::is_extended(resource) {
        "doesn't follow extended resource name standard"
    } else {
        return errors;
    };
    errors.push(FieldError::invalid(field, resource, why));
    errors
}

fn name_for_pod(resource: &str, field: &str) -> Vec<FieldError> {
    let errors = resource_name(resource, field);
    if errors.is_empty() && !OF_PODS.contains(&resource) && !is_huge_page(resource) {
        return vec![FieldError::not_supported(field, resource, &OF_PODS)];
    }
    errors
}

/// What is wrong with an amount of a resource (core `ValidateResourceQuantityValue`).
pub(in crate::kinds) fn amount(resource: &str, quantity: Quantity, field: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if quantity.is_negative() {
        let why = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(field, quantity.to_string(), why));
    }
    let whole = quota::is_counted(resource) || quota::is_extended(resource);
    if whole && quantity.millis() % 1000 != 0 {
        errors.push(FieldError::invalid(field, quantity.to_string(), "must be an integer"));
    }
    errors
}

fn huge_page(resource: &str, quantity: Quantity, field: &str) -> Option<FieldError> {
    let size = Quantity::parse(resource.strip_prefix("hugepages-")?).ok();
    let size = size.filter(|size| size.units() > 0 && size.millis() % 1000 == 0);
    if size.is_some_and(|size| quantity.units() % size.units() == 0) {
        return None;
    }
    let why = format!("{quantity} is not positive integer multiple of {resource}");
    Some(FieldError::invalid(field, quantity.to_string(), why))
}

type Named = fn(&str, &str) -> Vec<FieldError>;

/// Judges `limits` and `requests` at `holder`.
fn requirements(holder: &At<'_>, named: Named) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let limits = quota::amounts(holder.value, "/limits");
    for part in ["limits", "requests"] {
        for (resource, value) in holder.entries(part) {
            let field = value.path("");
            errors.extend(named(resource, &field));
            let Some(quantity) = Quantity::of(value.value) else {
                continue;
            };
            errors.extend(amount(resource, quantity, &field));
            if part == "requests" {
                errors.extend(against_limit(resource, quantity, &limits, holder));
            }
            if is_huge_page(resource) {
                errors.extend(huge_page(resource, quantity, &field));
            }
        }
    }
    let all = || holder.entries("limits").into_iter().chain(holder.entries("requests"));
    if all().any(|(r, _)| is_huge_page(r)) && !all().any(|(r, _)| OF_PODS.contains(&r)) {
        errors.push(holder.forbidden("", "HugePages require cpu or memory"));
    }
    errors
}

fn against_limit(resource: &str, request: Quantity, limits: &Amounts, holder: &At<'_>) -> Option<FieldError> {
    let field = holder.path("requests");
    match limits.get(resource) {
        Some(limit) if request != *limit && !overcommits(resource) => {
            let why = format!("must be equal to {resource} limit of {limit}");
            Some(FieldError::invalid(field, request.to_string(), why))
        }
        Some(limit) if request > *limit => {
            let why = format!("must be less than or equal to {resource} limit of {limit}");
            Some(FieldError::invalid(field, request.to_string(), why))
        }
        None if !overcommits(resource) => {
            Some(holder.required("limits", "Limit must be set for non overcommitable resources"))
        }
        Some(_) | None => None,
    }
}

pub(super) fn of_container(container: &At<'_>, spec: &At<'_>) -> Vec<FieldError> {
    let Some(resources) = container.some("resources") else {
        return Vec::new();
    };
    let mut errors = requirements(&resources, name_for_container);
    errors.extend(claims(&resources, spec));
    errors
}

/// What is kept for the pod besides its containers.
pub(in crate::kinds::pod) fn overhead(spec: &At<'_>) -> Vec<FieldError> {
    let Some(overhead) = spec.some("overhead") else {
        return Vec::new();
    };
    let holder = serde_json::json!({ "limits": overhead.value });
    requirements(&At::new(&holder, overhead.path("")), name_for_container)
}

/// The devices that a container uses must be the pod's.
fn claims(resources: &At<'_>, spec: &At<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let of_pod: Vec<&str> = spec.items("resourceClaims").iter().map(|c| c.text("name")).collect();
    let mut seen: HashSet<String> = HashSet::new();
    for claim in resources.items("claims") {
        let (name, request) = (claim.text("name"), claim.text("request"));
        if name.is_empty() {
            errors.push(claim.required("", ""));
            continue;
        }
        let key = if request.is_empty() {
            name.to_owned()
        } else {
            format!("{name}/{request}")
        };
        let prefix = format!("{name}/");
        if seen.contains(name) || request.is_empty() && seen.iter().any(|s| s.starts_with(&prefix)) {
            errors.push(FieldError::duplicate(claim.path(""), name));
        } else {
            errors.extend(claim.judge("request", names::dns1123_label));
            if !seen.insert(key.clone()) {
                errors.push(FieldError::duplicate(claim.path(""), key));
            }
        }
        if !of_pod.contains(&name) {
            let mut sorted = of_pod.clone();
            sorted.sort_unstable();
            let which = match sorted.is_empty() {
                true => " which is empty".to_owned(),
                false => format!(": {}", sorted.join(", ")),
            };
            errors.push(FieldError {
                detail: format!("must be one of the names in pod.spec.resourceClaims{which}"),
                ..FieldError::not_found(claim.path(""), name)
            });
        }
    }
    errors
}

/// Resources of the pod as a whole: no less than its containers', each of which has no higher limit.
pub(in crate::kinds::pod) fn of_pod(spec: &At<'_>) -> Vec<FieldError> {
    let Some(resources) = spec.some("resources") else {
        return Vec::new();
    };
    if spec.child("os").text("name") == "windows" {
        return vec![resources.forbidden("", "may not be set for a windows pod")];
    }
    let mut errors = Vec::new();
    if resources.has("claims") {
        errors.push(resources.forbidden("claims", "claims may not be set for Resources at pod-level"));
    }
    errors.extend(requirements(&resources, name_for_pod));
    for part in ["requests", "limits"] {
        let sums = quota::container_resources(spec.value, part);
        let own = quota::amounts(resources.value, &format!("/{part}"));
        for (resource, sum) in sums.iter().filter(|(r, _)| part == "requests" || is_huge_page(r)) {
            if let Some(own) = own.get(resource).filter(|own| sum > own) {
                let field = format!("{}[{resource}]", resources.path(part));
                let why = format!("must be greater than or equal to aggregate container {part} of {sum}");
                errors.push(FieldError::invalid(field, own.to_string(), why));
            }
        }
    }
    for (index, container) in spec.list("containers").iter().enumerate() {
        errors.extend(below_pod(container, index, &resources));
    }
    errors
}

fn below_pod(container: &Value, index: usize, resources: &At<'_>) -> Vec<FieldError> {
    let own = quota::amounts(resources.value, "/limits");
    let limits = quota::amounts(container, "/resources/limits");
    let above = limits
        .iter()
        .filter_map(|(resource, limit)| Some((resource, limit, own.get(resource).filter(|own| limit > own)?)));
    above
        .map(|(resource, limit, own)| {
            let field = format!("{}[{index}][{resource}].limits", resources.path("containers"));
            let why = format!("must be less than or equal to pod limits of {own}");
            FieldError::invalid(field, limit.to_string(), why)
        })
        .collect()
}
