//! What a pod may know about itself: fields and resources, for variables and for files.

use super::super::quantity;
use super::{Machine, Refusal};
use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The value of a field (upstream: pkg/fieldpath and the kubelet's podFieldSelectorRuntimeValue).
pub fn field(pod: &Pod, ips: &[IpAddr], machine: &Machine, path: &str) -> Result<String, Refusal> {
    let meta = &pod.metadata;
    let spec = pod.spec.as_ref();
    if let Some((map, key)) = subscript(path) {
        let entries = if map == "metadata.labels" {
            &meta.labels
        } else {
            &meta.annotations
        };
        return Ok(entries
            .as_ref()
            .and_then(|entries| entries.get(key))
            .cloned()
            .unwrap_or_default());
    }
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    Ok(match path {
        "metadata.name" => text(&meta.name),
        "metadata.namespace" => text(&meta.namespace),
        "metadata.uid" => text(&meta.uid),
        "metadata.labels" => lines(meta.labels.as_ref()),
        "metadata.annotations" => lines(meta.annotations.as_ref()),
        "spec.nodeName" => machine.node.clone(),
        "spec.serviceAccountName" => spec.map_or_else(String::new, |spec| text(&spec.service_account_name)),
        "status.hostIP" => first(&machine.ips),
        "status.hostIPs" => joined(&machine.ips),
        "status.podIP" => first(ips),
        "status.podIPs" => joined(ips),
        _ => return Err(Refusal(format!("unsupported fieldPath: {path}"))),
    })
}

/// The value of a resource of a container, in units of its divisor, rounded up. Without a limit the node's allocatable counts.
pub fn resource(container: &Container, machine: &Machine, selector: &ResourceFieldSelector) -> Result<String, Refusal> {
    let (list, name) = selector.resource.split_once('.').unwrap_or(("", &selector.resource));
    let resources = container.resources.as_ref();
    let entries = |limits: bool| {
        resources.and_then(|resources| {
            if limits {
                resources.limits.as_ref()
            } else {
                resources.requests.as_ref()
            }
        })
    };
    let amount = |limits| {
        entries(limits)
            .and_then(|entries| entries.get(name))
            .and_then(quantity::milli)
    };
    let allocatable = match name {
        "cpu" => machine.cpu_milli,
        "memory" => machine.memory.saturating_mul(1000),
        "ephemeral-storage" => machine.ephemeral_storage.saturating_mul(1000),
        _ => 0,
    };
    let milli = match list {
        // A limit of nothing is no limit (upstream: MergeContainerResourceLimits).
        "limits" => amount(true).filter(|limit| *limit > 0).unwrap_or(allocatable),
        // An absent request is the limit: the API server's default writes it so.
        "requests" => amount(false).or_else(|| amount(true)).unwrap_or(0),
        _ => {
            return Err(Refusal(format!(
                "unsupported container resource: {}",
                selector.resource
            )));
        }
    };
    let divisor = selector
        .divisor
        .as_ref()
        .and_then(quantity::milli)
        .filter(|divisor| *divisor > 0)
        .unwrap_or(1000);
    Ok((milli / divisor + i64::from(milli % divisor > 0)).to_string())
}

/// `metadata.labels['app']` → (`metadata.labels`, `app`).
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, key) = path.strip_suffix("']")?.split_once("['")?;
    ["metadata.labels", "metadata.annotations"]
        .contains(&map)
        .then_some((map, key))
}

/// As upstream writes maps into files: sorted, quoted.
fn lines(entries: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> = entries
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", quoted(value)))
        .collect();
    lines.join("\n")
}

/// As Go's `%q` writes a string: what cannot be printed becomes an escape.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            letter if u32::from(letter) < 0x20 || letter == '\u{7f}' => {
                quoted.push_str(&format!("\\x{:02x}", u32::from(letter)));
            }
            letter if (0x80..0xa1).contains(&u32::from(letter)) || letter == '\u{ad}' => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(letter)));
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

fn first(ips: &[IpAddr]) -> String {
    ips.first().map(ToString::to_string).unwrap_or_default()
}

fn joined(ips: &[IpAddr]) -> String {
    ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_as_go_does() {
        let cases = [
            ("plain", r#""plain""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("line\nnext\ttab", r#""line\nnext\ttab""#),
            ("\u{1}\u{7f}\u{ad}é", r#""\x01\x7f\u00adé""#),
        ];
        for (text, expected) in cases {
            assert_eq!(quoted(text), expected);
        }
    }
}
