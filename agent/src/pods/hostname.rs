//! What a pod is called: by itself, in its domain, by its kernel (upstream: GeneratePodHostNameAndDomain in pkg/kubelet); pure.

use super::spec;
use k8s_openapi::api::core::v1::Pod;

/// Longest label of a name: RFC 1035.
const LONGEST_LABEL: usize = 63;
/// Longest name that Linux gives a machine: man 2 sethostname, HOST_NAME_MAX.
const LONGEST_KERNEL_NAME: usize = 64;

/// A pod's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Its host name.
    pub host: String,
    /// The domain that it is in; empty for a pod without a `subdomain`.
    pub domain: String,
    /// What the kernel calls it.
    pub kernel: String,
}

/// The names of a pod on `node`; an error is upstream's sentence about a name that is too long.
pub fn names(pod: &Pod, dns_domain: &str, node: &str) -> Result<Names, String> {
    let spec = pod.spec.as_ref();
    let given = |field: Option<&String>| field.filter(|name| !name.is_empty()).cloned();
    // It is nobody's name in DNS, so it has no domain.
    let overridden = given(spec.and_then(|spec| spec.hostname_override.as_ref()));
    let domain = match (&overridden, spec.and_then(|spec| given(spec.subdomain.as_ref()))) {
        (None, Some(subdomain)) => {
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            format!("{subdomain}.{namespace}.svc.{dns_domain}")
        }
        (Some(_), _) | (None, None) => String::new(),
    };
    let as_fqdn = spec.and_then(|spec| spec.set_hostname_as_fqdn) == Some(true);
    let is_overridden = overridden.is_some();
    let own = overridden.or_else(|| given(spec.and_then(|spec| spec.hostname.as_ref())));
    let host = cut(own.or_else(|| pod.metadata.name.clone()).unwrap_or_default());
    let kernel = if spec::host_network(pod) && !is_overridden {
        node.to_owned()
    } else if as_fqdn && !domain.is_empty() {
        fqdn(&host, &domain)?
    } else {
        host.clone()
    };
    Ok(Names { host, domain, kernel })
}

fn cut(mut name: String) -> String {
    name.truncate(LONGEST_LABEL);
    name.trim_end_matches(['-', '.']).to_owned()
}

fn fqdn(host: &str, domain: &str) -> Result<String, String> {
    let fqdn = format!("{host}.{domain}");
    match fqdn.len() {
        0..=LONGEST_KERNEL_NAME => Ok(fqdn),
        length => Err(format!(
            "failed to construct FQDN from pod hostname and cluster domain, FQDN {fqdn} is too long \
             ({LONGEST_KERNEL_NAME} characters is the max, {length} characters requested)"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn named(spec: Value) -> Result<Names, String> {
        let mut spec = spec;
        spec["containers"] = json!([]);
        let pod = json!({"metadata": {"name": "web", "namespace": "ns"}, "spec": spec});
        names(&serde_json::from_value(pod).unwrap(), "cluster.local", "n1")
    }

    #[test]
    fn a_pod_is_called_what_its_spec_says() {
        for (spec, host, domain, kernel) in [
            (json!({}), "web", "", "web"),
            (json!({"hostname": "h"}), "h", "", "h"),
            (json!({"subdomain": "sub"}), "web", "sub.ns.svc.cluster.local", "web"),
            (json!({"setHostnameAsFQDN": true}), "web", "", "web"),
            (
                json!({"hostname": "h", "subdomain": "sub", "setHostnameAsFQDN": true}),
                "h",
                "sub.ns.svc.cluster.local",
                "h.sub.ns.svc.cluster.local",
            ),
            // The machine's network has the machine's name.
            (json!({"hostNetwork": true, "hostname": "h"}), "h", "", "n1"),
            (
                json!({"hostnameOverride": "db.example.test", "hostname": "h", "subdomain": "sub"}),
                "db.example.test",
                "",
                "db.example.test",
            ),
            (
                json!({"hostnameOverride": format!("{}.{}", "a".repeat(62), "b".repeat(30))}),
                &"a".repeat(62),
                "",
                &"a".repeat(62),
            ),
        ] {
            let found = named(spec.clone()).unwrap();
            assert_eq!(
                (&*found.host, &*found.domain, &*found.kernel),
                (host, domain, kernel),
                "{spec}"
            );
        }
    }

    #[test]
    fn a_name_longer_than_the_kernels_is_refused_in_upstreams_words() {
        // `web.` and `.ns.svc.cluster.local` around the subdomain are 25 characters.
        let of = |length: usize| named(json!({"subdomain": "s".repeat(length), "setHostnameAsFQDN": true}));
        assert_eq!(of(39).unwrap().kernel.len(), 64);
        let refused = of(40).unwrap_err();
        assert!(refused.starts_with("failed to construct FQDN from pod hostname and cluster domain, FQDN web.s"));
        assert!(refused.ends_with("is too long (64 characters is the max, 65 characters requested)"));
    }
}
