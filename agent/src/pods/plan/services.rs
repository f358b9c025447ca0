//! Variables that name the services of a pod's namespace (upstream: pkg/kubelet/envvars).

use super::env::Environment;
use k8s_openapi::api::core::v1::{Service, ServicePort};
use std::net::IpAddr;

/// Of every service with an address of its own, later ones over earlier ones.
pub fn variables<'a>(services: impl Iterator<Item = &'a Service>) -> Environment {
    services.filter_map(of).flatten().collect()
}

fn of(service: &Service) -> Option<Vec<(String, String)>> {
    let spec = service.spec.as_ref()?;
    // None and "None" (a headless service) are no address.
    let address: IpAddr = spec.cluster_ip.as_deref()?.parse().ok()?;
    let name = in_capitals(service.metadata.name.as_deref()?);
    let ports = spec.ports.as_deref().unwrap_or_default();
    let mut variables = vec![(format!("{name}_SERVICE_HOST"), address.to_string())];
    if let Some(first) = ports.first() {
        variables.push((format!("{name}_SERVICE_PORT"), first.port.to_string()));
        variables.push((format!("{name}_PORT"), url(address, first)));
    }
    for port in ports {
        if let Some(named) = port.name.as_deref().filter(|named| !named.is_empty()) {
            variables.push((
                format!("{name}_SERVICE_PORT_{}", in_capitals(named)),
                port.port.to_string(),
            ));
        }
        let link = format!("{name}_PORT_{}_{}", port.port, protocol(port).to_uppercase());
        variables.extend([
            (format!("{link}_PROTO"), protocol(port)),
            (format!("{link}_PORT"), port.port.to_string()),
            (format!("{link}_ADDR"), address.to_string()),
            (link, url(address, port)),
        ]);
    }
    Some(variables)
}

fn url(address: IpAddr, port: &ServicePort) -> String {
    format!(
        "{}://{}",
        protocol(port),
        std::net::SocketAddr::new(address, port.port as u16)
    )
}

fn protocol(port: &ServicePort) -> String {
    let protocol = port.protocol.as_deref().filter(|protocol| !protocol.is_empty());
    protocol.unwrap_or("TCP").to_lowercase()
}

fn in_capitals(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn service(spec: Value) -> Service {
        serde_json::from_value(json!({"metadata": {"name": "my-db"}, "spec": spec})).unwrap()
    }

    #[test]
    fn a_service_is_named_as_upstream_names_it() {
        let ports = json!([{"name": "sql-in", "port": 5432}, {"port": 53, "protocol": "UDP"}]);
        let found = variables([service(json!({"clusterIP": "10.0.0.9", "ports": ports}))].iter());
        let lines: Vec<String> = found.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            lines,
            [
                "MY_DB_PORT=tcp://10.0.0.9:5432",
                "MY_DB_PORT_53_UDP=udp://10.0.0.9:53",
                "MY_DB_PORT_53_UDP_ADDR=10.0.0.9",
                "MY_DB_PORT_53_UDP_PORT=53",
                "MY_DB_PORT_53_UDP_PROTO=udp",
                "MY_DB_PORT_5432_TCP=tcp://10.0.0.9:5432",
                "MY_DB_PORT_5432_TCP_ADDR=10.0.0.9",
                "MY_DB_PORT_5432_TCP_PORT=5432",
                "MY_DB_PORT_5432_TCP_PROTO=tcp",
                "MY_DB_SERVICE_HOST=10.0.0.9",
                "MY_DB_SERVICE_PORT=5432",
                "MY_DB_SERVICE_PORT_SQL_IN=5432",
            ]
        );
        let six = variables([service(json!({"clusterIP": "fd00::9", "ports": [{"port": 80}]}))].iter());
        assert_eq!(six["MY_DB_PORT"], "tcp://[fd00::9]:80");
    }

    #[test]
    fn a_service_without_an_address_has_no_variables() {
        for spec in [
            json!({"clusterIP": "None"}),
            json!({"type": "ExternalName"}),
            json!({"clusterIP": ""}),
        ] {
            assert!(variables([service(spec)].iter()).is_empty());
        }
    }
}
