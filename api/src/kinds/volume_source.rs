//! Sources of storage that pods and PersistentVolumes have in common, drivers' and vendors' (core `validateISCSIVolumeSource` and
//! its siblings).

use crate::{at::At, field::FieldError, names};

/// Members that must not be empty, for each source.
const NEEDED: &[(&str, &[&str])] = &[
    ("awsElasticBlockStore", &["volumeID"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("azureFile", &["secretName", "shareName"]),
    ("cephfs", &["monitors"]),
    ("cinder", &["volumeID"]),
    ("flexVolume", &["driver"]),
    ("gcePersistentDisk", &["pdName"]),
    ("gitRepo", &["repository"]),
    ("glusterfs", &["endpoints", "path"]),
    ("nfs", &["server", "path"]),
    ("persistentVolumeClaim", &["claimName"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("rbd", &["monitors", "image"]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
    ("vsphereVolume", &["volumePath"]),
];
const HOST_PATH_TYPES: &[&str] = &[
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
];

/// What is wrong with `source`, which is of that kind and not one of those that only pods have.
pub(super) fn validate(kind: &str, source: &At<'_>) -> Vec<FieldError> {
    let needed = NEEDED.iter().filter(|(known, _)| *known == kind);
    let needed = needed.flat_map(|(_, members)| members.iter());
    let is_empty = |member: &str| source.text(member).is_empty() && source.list(member).is_empty();
    let mut errors: Vec<FieldError> = needed
        .filter(|member| is_empty(member))
        .map(|member| source.required(member, ""))
        .collect();
    match kind {
        "hostPath" => errors.extend(host_path(source)),
        "gcePersistentDisk" | "awsElasticBlockStore" => {
            errors.extend(source.judge_number("partition", |n| within(n, 0..=255, "1 and 255")));
        }
        "gitRepo" => errors.extend(source.judge("directory", inside)),
        "nfs" if !source.text("path").starts_with('/') => {
            errors.extend(source.invalid_text("path", ["must be an absolute path"]));
        }
        "iscsi" => errors.extend(iscsi(source)),
        "fc" => errors.extend(fibre_channel(source)),
        "cinder" => errors.extend(secret(source)),
        "flexVolume" => errors.extend(flex(source)),
        "flocker" => errors.extend(flocker(source)),
        "quobyte" => errors.extend(quobyte(source)),
        "storageos" => errors.extend(storage_os(source)),
        "azureDisk" => errors.extend(azure_disk(source)),
        _ => {}
    }
    errors
}

fn within(number: i64, range: std::ops::RangeInclusive<i64>, words: &str) -> Vec<String> {
    if range.contains(&number) {
        return Vec::new();
    }
    vec![format!("must be between {words}, inclusive")]
}

/// A path that stays below where it starts.
pub(super) fn inside(path: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if path.starts_with('/') {
        wrong.push("must be a relative path".to_owned());
    }
    wrong.extend(no_backsteps(path));
    wrong
}

/// A path without `..`.
pub(super) fn no_backsteps(path: &str) -> Vec<String> {
    if path.split('/').any(|part| part == "..") {
        return vec!["must not contain '..'".to_owned()];
    }
    Vec::new()
}

fn host_path(source: &At<'_>) -> Vec<FieldError> {
    if let Some(missing) = source.need("path") {
        return vec![missing];
    }
    let mut errors = source.judge("path", no_backsteps);
    errors.extend(source.one_of("type", HOST_PATH_TYPES));
    errors
}

fn secret(source: &At<'_>) -> Option<FieldError> {
    source.some("secretRef")?.need("name")
}

fn iscsi(source: &At<'_>) -> Vec<FieldError> {
    let mut errors: Vec<FieldError> = source.need("targetPortal").into_iter().collect();
    errors.extend(source.need_judged("iqn", initiator));
    errors.extend(source.invalid("lun", within(source.int("lun"), 0..=255, "0 and 255")));
    if (source.flag("chapAuthDiscovery") || source.flag("chapAuthSession")) && !source.has("secretRef") {
        errors.push(source.required("secretRef", ""));
    }
    let wrong = source.judge("initiatorName", initiator);
    let named = wrong.into_iter().map(|error| FieldError {
        field: source.path("initiatorname"),
        ..error
    });
    errors.extend(named);
    errors
}

/// `iqn.2001-04.com.example:storage`, `eui.` and 16, `naa.` and 32 letters or digits.
fn initiator(name: &str) -> Vec<String> {
    let alphanumeric = |text: &str, length: usize| {
        let rest = text.chars().next().map_or("", |first| &text[first.len_utf8()..]);
        rest.len() == length && rest.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    let good = if let Some(rest) = name.strip_prefix("iqn") {
        is_qualified_iscsi(rest)
    } else if let Some(rest) = name.strip_prefix("eui") {
        alphanumeric(rest, 16)
    } else if let Some(rest) = name.strip_prefix("naa") {
        alphanumeric(rest, 32)
    } else {
        return vec!["must be valid format starting with iqn, eui, or naa".to_owned()];
    };
    if good {
        return Vec::new();
    }
    vec!["must be valid format".to_owned()]
}

/// The rest of an `iqn`: `.YYYY-MM.`, a domain, a colon and something.
fn is_qualified_iscsi(rest: &str) -> bool {
    let digits = |text: &str, length: usize| text.len() == length && text.bytes().all(|b| b.is_ascii_digit());
    let Some((date, named)) = rest.strip_prefix('.').and_then(|rest| rest.split_once('.')) else {
        return false;
    };
    let Some((domain, unique)) = named.split_once(':') else {
        return false;
    };
    let dated = date
        .split_once('-')
        .is_some_and(|(year, month)| digits(year, 4) && digits(month, 2));
    let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
    dated
        && !domain.is_empty()
        && domain.bytes().all(known)
        && !unique.is_empty()
        && !unique.contains(|c: char| c.is_whitespace() || ",;*&$|".contains(c))
}

fn fibre_channel(source: &At<'_>) -> Vec<FieldError> {
    let (targets, wide) = (source.list("targetWWNs"), source.list("wwids"));
    let mut errors = Vec::new();
    match (targets.is_empty(), wide.is_empty()) {
        (true, true) => {
            let why = "must specify either targetWWNs or wwids, but not both";
            errors.push(source.required("targetWWNs", why));
        }
        (false, false) => {
            let why = "targetWWNs and wwids can not be specified simultaneously";
            errors.extend(source.invalid("targetWWNs", [why]));
        }
        _ => {}
    }
    if !targets.is_empty() {
        match source.number("lun") {
            None => errors.push(source.required("lun", "lun is required if targetWWNs is specified")),
            Some(lun) => errors.extend(source.invalid("lun", within(lun, 0..=255, "0 and 255"))),
        }
    }
    errors
}

fn flex(source: &At<'_>) -> Vec<FieldError> {
    let reserved = |key: &str| {
        let domain = key.split('/').next().unwrap_or_default();
        let domain = format!(".{}", domain.to_lowercase());
        domain.ends_with(".kubernetes.io") || domain.ends_with(".k8s.io")
    };
    let options = source.entries("options").into_iter();
    let taken = options.filter(|(key, _)| reserved(key));
    let why = "kubernetes.io and k8s.io namespaces are reserved";
    taken
        .map(|(key, option)| FieldError::invalid(option.path(""), key, why))
        .collect()
}

fn flocker(source: &At<'_>) -> Vec<FieldError> {
    let (name, id) = (source.text("datasetName"), source.text("datasetUUID"));
    let mut errors = Vec::new();
    match (name.is_empty(), id.is_empty()) {
        (true, true) => errors.push(source.required("", "one of datasetName and datasetUUID is required")),
        (false, false) => {
            let why = "datasetName and datasetUUID can not be specified simultaneously";
            errors.push(FieldError::invalid(source.path(""), "resource", why));
        }
        _ => {}
    }
    if name.contains('/') {
        errors.extend(source.invalid("datasetName", ["must not contain '/'"]));
    }
    errors
}

fn quobyte(source: &At<'_>) -> Vec<FieldError> {
    let pairs = "must be a host:port pair or multiple pairs separated by commas";
    let registry = source.text("registry");
    let mut errors = Vec::new();
    if registry.is_empty() {
        errors.push(source.required("registry", pairs));
    } else if source.text("tenant").len() >= 65 {
        let why = "must be a UUID and may not exceed a length of 64 characters";
        errors.push(source.required("tenant", why));
    } else {
        let wrong = registry.split(',').filter(|pair| !pair.contains(':'));
        errors.extend(source.invalid("registry", wrong.map(|_| pairs)));
    }
    errors.extend(source.need("volume"));
    errors
}

fn storage_os(source: &At<'_>) -> Vec<FieldError> {
    let mut errors = source.need_judged("volumeName", names::dns1123_label);
    errors.extend(source.judge("volumeNamespace", names::dns1123_label));
    errors.extend(secret(source));
    errors
}

fn azure_disk(source: &At<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    errors.extend(source.one_of("cachingMode", &["None", "ReadOnly", "ReadWrite"]));
    errors.extend(source.one_of("kind", &["Dedicated", "Managed", "Shared"]));
    let (kind, uri) = (source.text("kind"), source.text("diskURI"));
    let managed = "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}";
    let blob = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd";
    let known = match kind {
        "" => return errors,
        "Managed" if !uri.starts_with("/subscriptions/") => managed,
        "Managed" => return errors,
        _ if !uri.starts_with("https://") => blob,
        _ => return errors,
    };
    errors.push(FieldError::not_supported(source.path("diskURI"), uri, &[known]));
    errors
}

/// What is wrong with the name of a CSI driver.
pub(super) fn csi_driver(source: &At<'_>, member: &str) -> Vec<FieldError> {
    let driver = source.text(member);
    let mut errors: Vec<FieldError> = source.need(member).into_iter().collect();
    if driver.len() > 63 {
        errors.push(FieldError::too_long(source.path(member), 63));
    }
    errors.extend(source.judge(member, |driver| names::dns1123_subdomain(&driver.to_lowercase())));
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn sources_are_judged_as_upstream() {
        let cases: &[(&str, Value, &[&str])] = &[
            ("hostPath", json!({ "path": "/a", "type": "" }), &[]),
            (
                "hostPath",
                json!({ "path": "/a/../b" }),
                &["s.path: Invalid value: \"/a/../b\": must not contain '..'"],
            ),
            (
                "nfs",
                json!({ "server": "s", "path": "a" }),
                &["s.path: Invalid value: \"a\": must be an absolute path"],
            ),
            ("nfs", json!({ "path": "/a" }), &["s.server: Required value"]),
            (
                "iscsi",
                json!({ "targetPortal": "p", "iqn": "iqn.2001-04.com.example:a.b", "lun": 1 }),
                &[],
            ),
            (
                "iscsi",
                json!({ "targetPortal": "p", "iqn": "iqn.2001.com", "lun": 300 }),
                &[
                    "s.iqn: Invalid value: \"iqn.2001.com\": must be valid format",
                    "s.lun: Invalid value: 300: must be between 0 and 255, inclusive",
                ],
            ),
            (
                "fc",
                json!({ "targetWWNs": ["a"] }),
                &["s.lun: Required value: lun is required if targetWWNs is specified"],
            ),
            (
                "flexVolume",
                json!({ "driver": "d", "options": { "x.k8s.io/a": "b" } }),
                &[
                    "s.options[x.k8s.io/a]: Invalid value: \"x.k8s.io/a\": kubernetes.io and k8s.io namespaces are reserved",
                ],
            ),
            ("rbd", json!({ "image": "i" }), &["s.monitors: Required value"]),
            (
                "azureDisk",
                json!({ "diskName": "d", "diskURI": "x", "kind": "Shared" }),
                &[
                    "s.diskURI: Unsupported value: \"x\": supported values: \"https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd\"",
                ],
            ),
            (
                "quobyte",
                json!({ "registry": "a:1,b", "volume": "v" }),
                &[
                    "s.registry: Invalid value: \"a:1,b\": must be a host:port pair or multiple pairs separated by commas",
                ],
            ),
        ];
        for (kind, source, expected) in cases {
            let errors = validate(kind, &At::new(source, "s"));
            let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(said, *expected, "{kind} {source}");
        }
    }
}
