//! A container's environment: the image's, then envFrom, then env, later ones over earlier ones.

use super::expand::expand;
use super::{Lookups, Machine, References, Refusal, downward, env_file, services};
use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, Pod};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What a container says about its environment, resolved; the image's own variables are not in it.
pub type Environment = BTreeMap<String, String>;

/// Resolves `envFrom` and `env`, over the variables that name services.
pub fn resolve(
    pod: &Pod,
    container: &Container,
    ips: &[IpAddr],
    machine: &Machine,
    lookups: &Lookups,
) -> Result<Environment, Refusal> {
    let mut environment = services::variables(lookups.services.iter().map(|service| &**service));
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        if let Some(from) = &source.config_map_ref {
            let Some(map) = optional(lookups.config_map(&from.name), from.optional)? else {
                continue;
            };
            let data = map.data.iter().flatten();
            environment.extend(data.map(|(key, value)| (format!("{prefix}{key}"), value.clone())));
        }
        if let Some(from) = &source.secret_ref {
            let Some(secret) = optional(lookups.secret(&from.name), from.optional)? else {
                continue;
            };
            for (key, value) in secret.data.iter().flatten() {
                environment.insert(format!("{prefix}{key}"), String::from_utf8_lossy(&value.0).into_owned());
            }
        }
    }
    for variable in container.env.iter().flatten() {
        let value = match &variable.value_from {
            Some(source) => from_source(pod, container, source, ips, machine, lookups)?,
            None => Some(literal(variable, &environment)),
        };
        if let Some(value) = value {
            environment.insert(variable.name.clone(), value);
        }
    }
    Ok(environment)
}

fn literal(variable: &EnvVar, environment: &Environment) -> String {
    let value = variable.value.as_deref().unwrap_or_default();
    expand(value, |name| environment.get(name).map(String::as_str))
}

fn from_source(
    pod: &Pod,
    container: &Container,
    source: &EnvVarSource,
    ips: &[IpAddr],
    machine: &Machine,
    lookups: &Lookups,
) -> Result<Option<String>, Refusal> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(field) = &source.field_ref {
        return downward::field(pod, ips, machine, &field.field_path).map(Some);
    }
    if let Some(selector) = &source.resource_field_ref {
        let other = selector.container_name.as_deref().filter(|name| !name.is_empty());
        let of = other
            .and_then(|name| super::super::spec::container(pod, name))
            .unwrap_or(container);
        return downward::resource(of, machine, selector).map(Some);
    }
    if let Some(from) = &source.config_map_key_ref {
        let Some(map) = optional(lookups.config_map(&from.name), from.optional)? else {
            return Ok(None);
        };
        let value = map.data.as_ref().and_then(|data| data.get(&from.key)).cloned();
        let missing = || {
            Refusal(format!(
                "couldn't find key {} in ConfigMap {namespace}/{}",
                from.key, from.name
            ))
        };
        return optional(value.ok_or_else(missing), from.optional);
    }
    if let Some(from) = &source.secret_key_ref {
        let Some(secret) = optional(lookups.secret(&from.name), from.optional)? else {
            return Ok(None);
        };
        let value = secret.data.as_ref().and_then(|data| data.get(&from.key));
        let value = value.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned());
        let missing = || {
            Refusal(format!(
                "couldn't find key {} in Secret {namespace}/{}",
                from.key, from.name
            ))
        };
        return optional(value.ok_or_else(missing), from.optional);
    }
    if let Some(from) = &source.file_key_ref {
        return env_file::from_file(from, lookups);
    }
    Err(Refusal(
        "an environment variable's valueFrom names no source that this node knows".to_owned(),
    ))
}

fn optional<T>(found: Result<T, Refusal>, may_be_missing: Option<bool>) -> Result<Option<T>, Refusal> {
    match found {
        Ok(value) => Ok(Some(value)),
        Err(_) if may_be_missing == Some(true) => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

/// What `resolve` will look up.
pub fn references(container: &Container) -> References {
    let mut references = References::default();
    for source in container.env_from.iter().flatten() {
        references
            .config_maps
            .extend(source.config_map_ref.iter().map(|from| from.name.clone()));
        references
            .secrets
            .extend(source.secret_ref.iter().map(|from| from.name.clone()));
    }
    for source in container
        .env
        .iter()
        .flatten()
        .filter_map(|variable| variable.value_from.as_ref())
    {
        references
            .config_maps
            .extend(source.config_map_key_ref.iter().map(|from| from.name.clone()));
        references
            .secrets
            .extend(source.secret_key_ref.iter().map(|from| from.name.clone()));
    }
    references
}
