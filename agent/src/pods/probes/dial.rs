//! Where a probe or a hook goes: ports by name, connections, and Go's words for what fails, which people search for.

use k8s_openapi::api::core::v1::Container;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::io;
use tokio::net::TcpStream;

/// The number of a port that a container may name.
pub fn port(container: &Container, port: &IntOrString) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => u16::try_from(*number).ok(),
        IntOrString::String(name) => {
            let ports = container.ports.iter().flatten();
            let named = ports.filter(|port| port.name.as_deref() == Some(name));
            let number = named.map(|port| u16::try_from(port.container_port).ok()).next();
            // As upstream: a name that no port has may still be a number.
            number.unwrap_or_else(|| name.parse().ok())
        }
    };
    match (number, port) {
        (Some(number), _) if number > 0 => Ok(number),
        (_, IntOrString::Int(number)) => Err(format!("invalid port number: {number}")),
        (_, IntOrString::String(name)) => Err(format!(
            "couldn't find port: {name:?} in container {:?}",
            container.name
        )),
    }
}

/// `host:port`, an IPv6 address in brackets.
pub fn authority(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

/// A connection; an error is Go's sentence.
pub async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let failed = |error: io::Error| tcp_error(&authority(host, port), &error);
    TcpStream::connect((host, port)).await.map_err(failed)
}

/// What Go says when `net.Dial` fails.
pub fn tcp_error(authority: &str, error: &io::Error) -> String {
    let why = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        io::ErrorKind::ConnectionReset => "connect: connection reset by peer".to_owned(),
        io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
        _ => error.to_string(),
    };
    format!("dial tcp {authority}: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ports_are_numbers_or_names_of_the_container() {
        let container: Container =
            serde_json::from_value(json!({"name": "a", "ports": [{"name": "web", "containerPort": 8080}]})).unwrap();
        let of = |text: &str| port(&container, &IntOrString::String(text.to_owned()));
        assert_eq!(port(&container, &IntOrString::Int(80)), Ok(80));
        assert_eq!((of("web"), of("81")), (Ok(8080), Ok(81)));
        assert_eq!(
            port(&container, &IntOrString::Int(0)),
            Err("invalid port number: 0".to_owned())
        );
        assert_eq!(
            of("no"),
            Err("couldn't find port: \"no\" in container \"a\"".to_owned())
        );
        assert_eq!(authority("fd00::1", 80), "[fd00::1]:80");
    }
}
