//! Rules of `[machine]` and `[control-plane]`.

use super::words::{is_dns_label, is_dns_name, is_label_key, is_label_value};
use crate::machine::{AuditLog, MachineConfig, Role};
use crate::place::Place;
use std::net::IpAddr;

pub(super) fn check(config: &MachineConfig) -> Vec<(Place, String)> {
    let mut broken = Vec::new();
    let mut refuse = |place: Place, message: String| broken.push((place, message));
    let machine = &config.machine;
    if !is_dns_label(&machine.name) {
        refuse(Place::of("machine.name"), not_a_label("machine.name", &machine.name));
    }
    let roles = Place::of("machine.roles");
    if machine.roles.is_empty() {
        refuse(
            roles.clone(),
            "`machine.roles` is empty; name at least one of control-plane, worker".to_owned(),
        );
    }
    for (nth, role) in machine.roles.iter().enumerate() {
        if machine.roles[..nth].contains(role) {
            refuse(roles.index(nth), "`machine.roles` names this role twice".to_owned());
        }
    }
    for (key, value) in &machine.labels {
        let place = Place::of("machine.labels").key(key);
        if !is_label_key(key) {
            refuse(
                place,
                format!("{key:?} is no label key; write name or prefix.example/name"),
            );
        } else if !is_label_value(value) {
            refuse(
                place,
                format!("{value:?} is no label value; at most 63 letters, digits, `-`, `_`, `.`"),
            );
        }
    }
    broken.extend(control_plane(config));
    broken
}

pub(super) fn not_a_label(key: &str, word: &str) -> String {
    format!("`{key}` is {word:?}, which is no DNS label; use a-z, 0-9 and dashes, at most 63")
}

fn control_plane(config: &MachineConfig) -> Vec<(Place, String)> {
    let Some(table) = &config.control_plane else {
        return Vec::new();
    };
    let mut broken = Vec::new();
    if !config.machine.roles.contains(&Role::ControlPlane) {
        let message =
            "`[control-plane]` stands here, but `machine.roles` lacks control-plane; add the role or drop the table";
        broken.push((Place::of("control-plane"), message.to_owned()));
    }
    broken.extend(table.audit.iter().flat_map(audit));
    for (nth, name) in table.cert_sans.iter().enumerate() {
        if name.parse::<IpAddr>().is_err() && !is_dns_name(name) {
            let message = format!("{name:?} is neither a DNS name nor an IP address");
            broken.push((Place::of("control-plane.cert-sans").index(nth), message));
        }
    }
    broken
}

/// Whether the policy's rules are good shows where it is used.
fn audit(log: &AuditLog) -> Vec<(Place, String)> {
    let place = Place::of("control-plane.audit");
    let mut broken = Vec::new();
    if !log.policy.contains("audit.k8s.io/v1") {
        let message =
            "`control-plane.audit.policy` is no Policy of audit.k8s.io/v1; write its YAML here, not a file's name";
        broken.push((place.key("policy"), message.to_owned()));
    }
    if log.max_mib == 0 {
        let message = "`control-plane.audit.max-mib` is 0, which holds no event; write at least 1";
        broken.push((place.key("max-mib"), message.to_owned()));
    }
    broken
}
