//! The text of /etc/hosts that the node keeps for a pod.

use k8s_openapi::api::core::v1::HostAlias;
use std::net::IpAddr;

/// `/etc/hosts` of a pod with a network of its own (upstream: the kubelet's managedHostsFileContent).
pub fn of_pod(ips: &[IpAddr], hostname: &str, domain: &str, aliases: &[HostAlias]) -> String {
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
pub fn of_machine(machine: &str, aliases: &[HostAlias]) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_names_the_pod_under_each_address() {
        let ips = ["10.244.0.2".parse().unwrap(), "fd00::2".parse().unwrap()];
        let alias = HostAlias {
            ip: "1.2.3.4".to_owned(),
            hostnames: Some(vec!["a".to_owned(), "b".to_owned()]),
        };
        let text = of_pod(&ips, "web", "", &[alias]);
        assert!(text.starts_with("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"));
        assert!(text.ends_with("10.244.0.2\tweb\nfd00::2\tweb\n\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"));
        assert!(of_pod(&ips, "web", "sub.ns.svc.cluster.local", &[]).contains("\tweb.sub.ns.svc.cluster.local\tweb\n"));
    }
}
