//! The files that a configMap, secret, downwardAPI or projected volume shows: pure.

use super::Source;
use crate::pods::plan::{Refusal, downward};
use crate::pods::spec;
use crate::pods::tokens::TokenReference;
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, DownwardAPIVolumeFile, KeyToPath, Pod, Secret, Volume, VolumeProjection,
};
use std::collections::BTreeMap;
use std::path::{Component, Path};

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Content.
    pub bytes: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Who owns it, root if nobody is named.
    pub owner: Option<u32>,
}

/// Relative path to file.
pub type Files = BTreeMap<String, File>;

const DEFAULT_MODE: i32 = 0o644;

/// Upstream's name of the volume's kind; None for kinds that are not made of files.
pub fn kind(volume: &Volume) -> Option<&'static str> {
    match volume {
        Volume {
            config_map: Some(_), ..
        } => Some("configmap"),
        Volume { secret: Some(_), .. } => Some("secret"),
        Volume {
            downward_api: Some(_), ..
        } => Some("downward-api"),
        Volume { projected: Some(_), .. } => Some("projected"),
        _ => None,
    }
}

/// All files of the volume.
pub fn files(source: &Source<'_>, volume: &Volume) -> Result<Files, Refusal> {
    if let Some(from) = &volume.config_map {
        let mode = from.default_mode.unwrap_or(DEFAULT_MODE);
        return config_map(source, &from.name, from.items.as_deref(), from.optional, mode);
    }
    if let Some(from) = &volume.secret {
        let name = from.secret_name.as_deref().unwrap_or_default();
        return secret(
            source,
            name,
            from.items.as_deref(),
            from.optional,
            from.default_mode.unwrap_or(DEFAULT_MODE),
        );
    }
    if let Some(from) = &volume.downward_api {
        return downward_files(source, from.items.as_deref(), from.default_mode.unwrap_or(DEFAULT_MODE));
    }
    let Some(projected) = &volume.projected else {
        return Ok(Files::new());
    };
    let mode = projected.default_mode.unwrap_or(DEFAULT_MODE);
    let mut all = Files::new();
    for part in projected.sources.iter().flatten() {
        all.extend(projection(source, part, mode)?);
    }
    Ok(all)
}

fn projection(source: &Source<'_>, part: &VolumeProjection, mode: i32) -> Result<Files, Refusal> {
    if let Some(from) = &part.config_map {
        config_map(source, &from.name, from.items.as_deref(), from.optional, mode)
    } else if let Some(from) = &part.secret {
        secret(source, &from.name, from.items.as_deref(), from.optional, mode)
    } else if let Some(from) = &part.downward_api {
        downward_files(source, from.items.as_deref(), mode)
    } else if let Some(from) = &part.service_account_token {
        token(source, part, &from.path, mode)
    } else {
        Err(Refusal(
            "this node projects configMap, secret, downwardAPI and serviceAccountToken".to_owned(),
        ))
    }
}

fn token(source: &Source<'_>, part: &VolumeProjection, path: &str, mode: i32) -> Result<Files, Refusal> {
    let token = TokenReference::of(part).and_then(|wanted| source.lookups.tokens.get(&wanted));
    let token = token.ok_or_else(|| Refusal("failed to fetch token: the API server gave none".to_owned()))?;
    // Where it is known who will read it, nobody else may learn who the pod is.
    let owner = only_user(source.pod);
    let mode = if super::fs_group(source.pod).is_some() || owner.is_some() {
        0o600
    } else {
        mode
    };
    let file = File {
        bytes: token.clone().into_bytes(),
        mode: u32::try_from(mode).unwrap_or(0o600),
        owner,
    };
    Ok(Files::from([(inside(path)?, file)]))
}

/// The user that all containers are to run as, if they say so and agree (upstream: volume/util.FsUserFrom).
fn only_user(pod: &Pod) -> Option<u32> {
    let of_pod = pod
        .spec
        .as_ref()?
        .security_context
        .as_ref()
        .and_then(|context| context.run_as_user);
    let containers = spec::init_containers(pod).iter().chain(spec::containers(pod));
    let of = |container: &Container| {
        container
            .security_context
            .as_ref()
            .and_then(|context| context.run_as_user)
    };
    let mut users = containers.map(|container| of(container).or(of_pod));
    let first = users.next()??;
    let agree = users.all(|user| user == Some(first));
    u32::try_from(first).ok().filter(|_| agree)
}

fn config_map(
    source: &Source<'_>,
    name: &str,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
    mode: i32,
) -> Result<Files, Refusal> {
    let map: &ConfigMap = match source.lookups.config_map(name) {
        Ok(map) => map,
        Err(_) if optional == Some(true) => return Ok(Files::new()),
        Err(refusal) => return Err(refusal),
    };
    let mut all: BTreeMap<&str, &[u8]> = BTreeMap::new();
    all.extend(
        map.data
            .iter()
            .flatten()
            .map(|(key, text)| (key.as_str(), text.as_bytes())),
    );
    all.extend(
        map.binary_data
            .iter()
            .flatten()
            .map(|(key, bytes)| (key.as_str(), bytes.0.as_slice())),
    );
    choose(
        &all,
        items,
        mode,
        optional,
        "configmap references non-existent config key: ",
    )
}

fn secret(
    source: &Source<'_>,
    name: &str,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
    mode: i32,
) -> Result<Files, Refusal> {
    let secret: &Secret = match source.lookups.secret(name) {
        Ok(secret) => secret,
        Err(_) if optional == Some(true) => return Ok(Files::new()),
        Err(refusal) => return Err(refusal),
    };
    let all = secret
        .data
        .iter()
        .flatten()
        .map(|(key, bytes)| (key.as_str(), bytes.0.as_slice()))
        .collect();
    choose(&all, items, mode, optional, "references non-existent secret key: ")
}

fn choose(
    all: &BTreeMap<&str, &[u8]>,
    items: Option<&[KeyToPath]>,
    mode: i32,
    optional: Option<bool>,
    missing: &str,
) -> Result<Files, Refusal> {
    let file = |bytes: &[u8], mode: i32| File {
        bytes: bytes.to_vec(),
        mode: u32::try_from(mode).unwrap_or(0o644),
        owner: None,
    };
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        return Ok(all
            .iter()
            .map(|(key, bytes)| ((*key).to_owned(), file(bytes, mode)))
            .collect());
    };
    let mut files = Files::new();
    for item in items {
        match all.get(item.key.as_str()) {
            Some(bytes) => drop(files.insert(inside(&item.path)?, file(bytes, item.mode.unwrap_or(mode)))),
            None if optional == Some(true) => {}
            None => return Err(Refusal(format!("{missing}{}", item.key))),
        }
    }
    Ok(files)
}

fn downward_files(source: &Source<'_>, items: Option<&[DownwardAPIVolumeFile]>, mode: i32) -> Result<Files, Refusal> {
    let mut files = Files::new();
    for item in items.unwrap_or_default() {
        let value = match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), _) => downward::field(source.pod, source.ips, source.machine, &field.field_path)?,
            (None, Some(selector)) => {
                let name = selector.container_name.as_deref().unwrap_or_default();
                let container =
                    spec::container(source.pod, name).ok_or_else(|| Refusal(format!("container {name} not found")))?;
                downward::resource(container, source.machine, selector)?
            }
            (None, None) => continue,
        };
        let mode = u32::try_from(item.mode.unwrap_or(mode)).unwrap_or(0o644);
        files.insert(
            inside(&item.path)?,
            File {
                bytes: value.into_bytes(),
                mode,
                owner: None,
            },
        );
    }
    Ok(files)
}

/// The path, if it stays in the volume and is not one of the volume's own names.
fn inside(path: &str) -> Result<String, Refusal> {
    let normal = Path::new(path)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    match normal && !path.is_empty() && !path.starts_with("..") {
        true => Ok(path.to_owned()),
        false => Err(Refusal(format!(
            "invalid path {path:?}: must be relative and must not begin with or contain '..'"
        ))),
    }
}
