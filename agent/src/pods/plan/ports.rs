//! The ports of the machine that a pod asks for.

use crate::pods::spec::is_sidecar;
use k8s_openapi::api::core::v1::{ContainerPort, PodSpec};
use net::pods::{HostPort, Protocol};

/// Those of its containers that run for as long as it does.
pub fn wanted(spec: &PodSpec) -> impl Iterator<Item = &ContainerPort> {
    let sidecars = spec.init_containers.iter().flatten().filter(|init| is_sidecar(init));
    let containers = spec.containers.iter().chain(sidecars);
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    ports.filter(|port| port.host_port.is_some_and(|port| port > 0))
}

/// The same in plain words; a pod in the machine's own network needs none of them opened.
pub fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    wanted(spec).filter_map(plain).collect()
}

/// The API server stores no port or protocol that has no number or name here.
fn plain(port: &ContainerPort) -> Option<HostPort> {
    let protocol = port.protocol.as_deref().filter(|name| !name.is_empty());
    let address = port.host_ip.as_deref().filter(|ip| !ip.is_empty());
    Some(HostPort {
        protocol: protocol.map_or(Some(Protocol::Tcp), |name| name.parse().ok())?,
        address: address.map(str::parse).transpose().ok()?,
        port: port.host_port.and_then(|port| u16::try_from(port).ok())?,
        pod_port: u16::try_from(port.container_port).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn host_ports_of_containers_and_sidecars_are_asked_for() {
        let spec: PodSpec = serde_json::from_value(json!({
            "containers": [{"name": "a", "ports": [
                {"containerPort": 80, "hostPort": 8080, "protocol": "TCP"},
                {"containerPort": 53, "hostPort": 53, "protocol": "UDP", "hostIP": "127.0.0.1"},
                {"containerPort": 81}]}],
            "initContainers": [
                {"name": "once", "ports": [{"containerPort": 1, "hostPort": 1}]},
                {"name": "side", "restartPolicy": "Always", "ports": [{"containerPort": 2, "hostPort": 2, "protocol": "SCTP"}]}],
        }))
        .unwrap();
        let port = |protocol, address: Option<&str>, port, pod_port| HostPort {
            protocol,
            address: address.map(|address| address.parse().unwrap()),
            port,
            pod_port,
        };
        assert_eq!(
            host_ports(&spec),
            [
                port(Protocol::Tcp, None, 8080, 80),
                port(Protocol::Udp, Some("127.0.0.1"), 53, 53),
                port(Protocol::Sctp, None, 2, 2)
            ]
        );
    }
}
