//! The texts of the files that the node keeps for a pod: hosts and resolv.conf.

use k8s_openapi::api::core::v1::{HostAlias, PodSpec};
use std::net::IpAddr;

/// `/etc/hosts` of a pod with a network of its own (upstream: the kubelet's managedHostsFileContent).
pub fn hosts(ips: &[IpAddr], hostname: &str, domain: &str, aliases: &[HostAlias]) -> String {
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n\
         127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\n\
         fe00::0\tip6-mcastprefix\n\
         fe00::1\tip6-allnodes\n\
         fe00::2\tip6-allrouters\n",
    );
    for ip in ips {
        match domain {
            "" => text.push_str(&format!("{ip}\t{hostname}\n")),
            _ => text.push_str(&format!("{ip}\t{hostname}.{domain}\t{hostname}\n")),
        }
    }
    text + &host_aliases(aliases)
}

/// `/etc/hosts` of a pod on the machine's network: the machine's, with the pod's aliases.
pub fn hosts_of_machine(machine: &str, aliases: &[HostAlias]) -> String {
    format!(
        "# Kubernetes-managed hosts file (host network).\n{machine}{}",
        host_aliases(aliases)
    )
}

fn host_aliases(aliases: &[HostAlias]) -> String {
    if aliases.is_empty() {
        return String::new();
    }
    let mut text = String::from("\n# Entries added by HostAliases.\n");
    for alias in aliases {
        text.push_str(&format!(
            "{}\t{}\n",
            alias.ip,
            alias.hostnames.iter().flatten().cloned().collect::<Vec<_>>().join("\t")
        ));
    }
    text
}

/// What resolvers take at most: man 5 resolv.conf, MAXNS; the kubelet cuts there too (upstream: validation.MaxDNSNameservers).
const MOST_NAMESERVERS: usize = 3;

/// Upstream: validation.MaxDNSSearchPaths.
const MOST_SEARCHES: usize = 32;

/// `/etc/resolv.conf`: the machine's unless the pod's `dnsPolicy` is None, with what its `dnsConfig` adds: each server and
/// domain once, and an option in place of the machine's of that name (upstream: the kubelet's appendDNSConfig).
pub fn resolv_conf(machine: &str, spec: &PodSpec) -> String {
    let words = |keyword: &str| -> Vec<String> {
        let lines = machine.lines().filter_map(|line| line.trim().strip_prefix(keyword));
        lines.flat_map(str::split_ascii_whitespace).map(str::to_owned).collect()
    };
    let (mut servers, mut searches, mut options) = match spec.dns_policy.as_deref() {
        Some("None") => (Vec::new(), Vec::new(), Vec::new()),
        _ => (words("nameserver "), words("search "), words("options ")),
    };
    if let Some(extra) = &spec.dns_config {
        servers.extend(extra.nameservers.iter().flatten().cloned());
        searches.extend(extra.searches.iter().flatten().cloned());
        for option in extra.options.iter().flatten() {
            let Some(name) = &option.name else { continue };
            options.retain(|known| known.split(':').next() != Some(name));
            let value = option.value.iter().filter(|value| !value.is_empty());
            options.push(value.fold(name.clone(), |name, value| format!("{name}:{value}")));
        }
    }
    let (servers, searches) = (
        first_of_each(servers, MOST_NAMESERVERS),
        first_of_each(searches, MOST_SEARCHES),
    );
    let mut text = String::new();
    if !searches.is_empty() {
        text.push_str(&format!("search {}\n", searches.join(" ")));
    }
    for server in servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    if !options.is_empty() {
        text.push_str(&format!("options {}\n", options.join(" ")));
    }
    text
}

/// Words in their order, each once, `most` of them at most.
fn first_of_each(words: Vec<String>, most: usize) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for word in words {
        if kept.len() < most && !kept.contains(&word) {
            kept.push(word);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn hosts_names_the_pod_under_each_address() {
        let ips = ["10.244.0.2".parse().unwrap(), "fd00::2".parse().unwrap()];
        let alias = HostAlias {
            ip: "1.2.3.4".to_owned(),
            hostnames: Some(vec!["a".to_owned(), "b".to_owned()]),
        };
        let text = hosts(&ips, "web", "", &[alias]);
        assert!(text.starts_with("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"));
        assert!(text.ends_with("10.244.0.2\tweb\nfd00::2\tweb\n\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"));
        assert!(hosts(&ips, "web", "sub.ns.svc.cluster.local", &[]).contains("\tweb.sub.ns.svc.cluster.local\tweb\n"));
    }

    #[test]
    fn resolv_conf_is_the_machines_unless_the_pod_wants_none_of_it() {
        let machine = "# made\nnameserver 10.0.2.3\nsearch example.test\n";
        let spec = |value| serde_json::from_value::<PodSpec>(value).unwrap();
        assert_eq!(
            resolv_conf(machine, &spec(json!({"containers": [], "dnsPolicy": "ClusterFirst"}))),
            "search example.test\nnameserver 10.0.2.3\n"
        );
        let none = json!({"containers": [], "dnsPolicy": "None", "dnsConfig": {
            "nameservers": ["1.1.1.1"], "searches": ["a", "b"], "options": [{"name": "ndots", "value": "2"}, {"name": "rotate"}]}});
        assert_eq!(
            resolv_conf(machine, &spec(none)),
            "search a b\nnameserver 1.1.1.1\noptions ndots:2 rotate\n"
        );
    }

    #[test]
    fn dns_config_adds_each_server_once_and_replaces_options() {
        let machine = "nameserver 10.0.2.3\nsearch a b\noptions ndots:1 rotate\n";
        let spec = json!({"containers": [], "dnsPolicy": "Default", "dnsConfig": {
            "nameservers": ["10.0.2.3", "1.1.1.1", "2.2.2.2", "3.3.3.3"], "searches": ["b", "c"],
            "options": [{"name": "ndots", "value": "5"}, {"name": "edns0", "value": ""}]}});
        let spec: PodSpec = serde_json::from_value(spec).unwrap();
        assert_eq!(
            resolv_conf(machine, &spec),
            "search a b c\nnameserver 10.0.2.3\nnameserver 1.1.1.1\nnameserver 2.2.2.2\noptions rotate ndots:5 edns0\n"
        );
    }
}
