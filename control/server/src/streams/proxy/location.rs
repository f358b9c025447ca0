//! Where a proxied request goes: `[scheme:]NAME[:port]` of a pod, a service or a node.

use crate::call::Call;
use crate::encode;
use crate::verbs::existing;
use api::read;
use api::status::{self, Status};
use serde_json::Value;
use std::net::IpAddr;

/// What is behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS, whose certificate nobody knows.
    Https,
    /// The face of the node of that name.
    Face(String),
}

/// Where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// Address and port, to be connected to.
    pub address: String,
    /// What is there.
    pub backend: Backend,
}

/// `[scheme:]NAME[:port]`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked<'a> {
    scheme: &'a str,
    name: &'a str,
    port: &'a str,
}

// === impl Location ===

impl Location {
    fn new(scheme: &str, ip: &str, port: &str) -> Self {
        let backend = match scheme {
            "https" => Backend::Https,
            _ => Backend::Http,
        };
        let port = match (port, &backend) {
            ("", Backend::Https) => "443",
            ("", _) => "80",
            (port, _) => port,
        };
        Self {
            address: join(ip, port),
            backend,
        }
    }

    /// As a place names it.
    pub fn host(&self) -> &str {
        &self.address
    }

    /// Without the port.
    pub fn ip(&self) -> &str {
        let host = self
            .address
            .rsplit_once(':')
            .map_or(self.address.as_str(), |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }
}

fn join(ip: &str, port: &str) -> String {
    match ip.contains(':') {
        true => format!("[{ip}]:{port}"),
        false => format!("{ip}:{port}"),
    }
}

/// A path up to and with its `proxy`, and what is below.
pub fn split(path: &str) -> (&str, &str) {
    // /api/v1/namespaces/NS/pods/NAME/proxy or /api/v1/nodes/NAME/proxy.
    let is_namespaced = path.split('/').nth(3) == Some("namespaces");
    let segments = if is_namespaced { 7 } else { 5 };
    let below = path.match_indices('/').map(|(at, _)| at).nth(segments);
    path.split_at(below.unwrap_or(path.len()))
}

/// A path without `.`, `..` and doubled slashes, its last slash kept: Go's `path.Join`, and `JoinPreservingTrailingSlash`.
pub fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut clean: String = parts.iter().flat_map(|part| ["/", part]).collect();
    if path.ends_with('/') {
        clean.push('/');
    }
    clean
}

/// Where the call's object is.
pub fn find(call: &Call) -> Result<Location, Status> {
    let kind = call.rules.singular;
    let asked = Asked::parse(&call.name)
        .ok_or_else(|| status::bad_request(format!("invalid {kind} request {:?}", call.name)))?;
    match call.rules.key {
        "services" => service(call, &asked),
        "nodes" => node(call, &asked),
        _ => pod(call, &asked),
    }
}

fn object(call: &Call, name: &str) -> Result<Value, Status> {
    existing(&call.of_object(&call.namespace, name)).map(|entry| encode::object(&entry))
}

/// Upstream's `ResourceLocation` (registry/core/pod/strategy.go).
fn pod(call: &Call, asked: &Asked<'_>) -> Result<Location, Status> {
    let pod = object(call, asked.name)?;
    let first = || {
        let containers = read::list(&pod, "/spec/containers").iter();
        let ports = containers.filter_map(|container| read::list(container, "/ports").first());
        ports.map(|port| read::int(port, "/containerPort").to_string()).next()
    };
    let port = match asked.port {
        "" => first().unwrap_or_default(),
        port => port.to_owned(),
    };
    let ip = read::text(&pod, "/status/podIPs/0/ip");
    if !ip.parse().is_ok_and(is_global_unicast) {
        return Err(status::bad_request("address not allowed"));
    }
    Ok(Location::new(asked.scheme, ip, &port))
}

/// As Go's `net.IP.IsGlobalUnicast`: private addresses are, the machine's own are not.
fn is_global_unicast(ip: IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !(ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || link_local)
}

/// Upstream's `ResourceLocation` (registry/core/node/strategy.go).
fn node(call: &Call, asked: &Asked<'_>) -> Result<Location, Status> {
    let node = object(call, asked.name)?;
    let face = super::super::node::address(&node)?;
    let (host, port) = face.rsplit_once(':').unwrap_or((&face, ""));
    if asked.port.is_empty() || asked.port == port {
        return Ok(Location {
            address: face.clone(),
            backend: Backend::Face(asked.name.to_owned()),
        });
    }
    let ip = host.trim_start_matches('[').trim_end_matches(']');
    if !ip.parse().is_ok_and(is_global_unicast) {
        return Err(status::bad_request("address not allowed"));
    }
    Ok(Location::new(asked.scheme, ip, asked.port))
}

/// Upstream's `ResourceLocation` (registry/core/service/storage/storage.go).
fn service(call: &Call, asked: &Asked<'_>) -> Result<Location, Status> {
    let service = object(call, asked.name)?;
    let name = asked.name;
    let mut port = asked.port.to_owned();
    if let Ok(number) = asked.port.parse::<i64>() {
        let ports = read::list(&service, "/spec/ports");
        let found = ports.iter().find(|port| read::int(port, "/port") == number);
        let found =
            found.ok_or_else(|| status::unavailable(format!("no service port {number} found for service {name:?}")))?;
        port = read::text(found, "/name").to_owned();
    }
    let mut candidates = by_slices(call, name, &port);
    if candidates.is_empty() {
        candidates = by_endpoints(call, name, &port);
    }
    candidates.retain(|candidate| is_the_pods(call, candidate));
    // A version 4 UUID is random in its last bytes; which of a few pods it is has no need to be even.
    let drawn = usize::from(uuid::Uuid::new_v4().as_bytes()[15]);
    let chosen = candidates.get(drawn % candidates.len().max(1));
    chosen
        .map(|chosen| Location::new(asked.scheme, &chosen.ip, &chosen.port.to_string()))
        .ok_or_else(|| status::unavailable(format!("no endpoints available for service {:?}", call.name)))
}

/// One way to a service.
struct Candidate {
    ip: String,
    port: i64,
    pod: String,
    namespace: String,
}

fn by_endpoints(call: &Call, service: &str, port: &str) -> Vec<Candidate> {
    let catalog = call.server.catalog();
    let endpoints = catalog.find("", "v1", "endpoints");
    let entry = endpoints.and_then(|rules| call.server.store.get(&rules.key_of(&call.namespace, service)));
    let Some(endpoints) = entry.map(|entry| encode::object(&entry)) else {
        return Vec::new();
    };
    let mut candidates = Vec::new();
    for subset in read::list(&endpoints, "/subsets") {
        let Some(number) = port_of(subset, port) else { continue };
        for address in read::list(subset, "/addresses") {
            candidates.push(candidate(read::text(address, "/ip"), number, address));
        }
    }
    candidates
}

fn by_slices(call: &Call, service: &str, port: &str) -> Vec<Candidate> {
    let catalog = call.server.catalog();
    let Some(rules) = catalog.find("discovery.k8s.io", "v1", "endpointslices") else {
        return Vec::new();
    };
    let mut candidates = Vec::new();
    let slices = call
        .server
        .store
        .range(&rules.key_prefix(Some(&call.namespace)), None, 0);
    for entry in slices.entries {
        let slice = encode::object(&entry);
        if read::text(&slice, "/metadata/labels/kubernetes.io~1service-name") != service {
            continue;
        }
        let Some(number) = port_of(&slice, port) else { continue };
        for endpoint in read::list(&slice, "/endpoints") {
            // Not said is ready.
            if endpoint.pointer("/conditions/ready") != Some(&Value::Bool(false)) {
                candidates.push(candidate(read::text(endpoint, "/addresses/0"), number, endpoint));
            }
        }
    }
    candidates
}

fn port_of(holder: &Value, name: &str) -> Option<i64> {
    let ports = read::list(holder, "/ports");
    let port = ports.iter().find(|port| read::text(port, "/name") == name)?;
    Some(read::int(port, "/port"))
}

fn candidate(ip: &str, port: i64, holder: &Value) -> Candidate {
    Candidate {
        ip: ip.to_owned(),
        port,
        pod: read::text(holder, "/targetRef/name").to_owned(),
        namespace: read::text(holder, "/targetRef/namespace").to_owned(),
    }
}

/// Only addresses that are truly pods are asked: whoever may write Endpoints must not reach everything.
fn is_the_pods(call: &Call, candidate: &Candidate) -> bool {
    let catalog = call.server.catalog();
    let pods = catalog
        .find("", "v1", "pods")
        .filter(|_| candidate.namespace == call.namespace);
    let entry = pods.and_then(|pods| call.server.store.get(&pods.key_of(&call.namespace, &candidate.pod)));
    let pod = entry.map(|entry| encode::object(&entry)).unwrap_or_default();
    let ips = read::list(&pod, "/status/podIPs");
    ips.iter().any(|ip| read::text(ip, "/ip") == candidate.ip)
}

// === impl Asked ===

impl<'a> Asked<'a> {
    /// Upstream's `SplitSchemeNamePort`.
    fn parse(text: &'a str) -> Option<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let (scheme, name, port) = match parts.as_slice() {
            [name] => ("", *name, ""),
            [name, port] => ("", *name, *port),
            [scheme @ ("" | "http" | "https"), name, port] => (*scheme, *name, *port),
            _ => return None,
        };
        (!name.is_empty()).then_some(Self { scheme, name, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let parse = |text| Asked::parse(text).map(|asked| (asked.scheme, asked.name, asked.port));
        assert_eq!(parse("web"), Some(("", "web", "")));
        assert_eq!(parse("web:http"), Some(("", "web", "http")));
        assert_eq!(parse("https:web:443"), Some(("https", "web", "443")));
        assert_eq!(parse("https:web:"), Some(("https", "web", "")));
        for text in ["", ":80", "ftp:web:21", "a:b:c:d"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn paths_are_split_and_cleaned() {
        for (path, below) in [
            ("/api/v1/namespaces/d/pods/p/proxy", ""),
            ("/api/v1/namespaces/d/services/https:s:1/proxy/", "/"),
            ("/api/v1/namespaces/d/pods/p/proxy/a//b/", "/a//b/"),
            ("/api/v1/nodes/n/proxy/pods", "/pods"),
        ] {
            assert_eq!(split(path).1, below, "{path}");
        }
        for (path, expected) in [("", ""), ("/", "/"), ("/a//b/./c/../d/", "/a/b/d/"), ("/../../x", "/x")] {
            assert_eq!(clean(path), expected, "{path}");
        }
    }

    #[test]
    fn addresses_of_the_machine_itself_are_not_asked() {
        let may = |ip: &str| is_global_unicast(ip.parse().unwrap());
        assert!(may("10.244.0.5") && may("fd00::1") && may("192.168.1.1"));
        for ip in [
            "127.0.0.1",
            "::1",
            "169.254.169.254",
            "0.0.0.0",
            "224.0.0.1",
            "fe80::1",
            "255.255.255.255",
        ] {
            assert!(!may(ip), "{ip}");
        }
    }

    #[test]
    fn ports_are_those_of_the_scheme_unless_named() {
        assert_eq!(Location::new("", "10.0.0.1", "").address, "10.0.0.1:80");
        let location = Location::new("https", "fd00::1", "");
        assert_eq!((location.address.as_str(), location.ip()), ("[fd00::1]:443", "fd00::1"));
        assert_eq!(location.backend, Backend::Https);
    }
}
