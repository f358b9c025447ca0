//! What each of upstream's signers signs (pkg/apis/certificates/helpers.go). Pure: a request in, a sentence or nothing out.

use identity::Request;

pub(super) const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
pub(super) const NODE_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
pub(super) const NODE_SERVER: &str = "kubernetes.io/kubelet-serving";
pub(super) const LEGACY: &str = "kubernetes.io/legacy-unknown";

/// Whether this control plane signs for it.
pub(super) fn is_ours(signer: &str) -> bool {
    matches!(signer, CLIENT | NODE_CLIENT | NODE_SERVER | LEGACY)
}

/// Why the signer does not sign, if it does not.
pub(super) fn refuses(signer: &str, user: &str, request: &Request, usages: &[String]) -> Option<String> {
    match signer {
        CLIENT => not_a_clients(usages),
        NODE_CLIENT => node(request)
            .or_else(|| no_names(request, true))
            .or_else(|| usages_differ(usages, "client auth")),
        NODE_SERVER => node(request)
            .or_else(|| {
                (request.dns.is_empty() && request.addresses.is_empty())
                    .then(|| "DNS or IP subjectAltName is required".to_owned())
            })
            .or_else(|| no_names(request, false))
            .or_else(|| usages_differ(usages, "server auth"))
            .or_else(|| {
                (user != request.common_name).then(|| {
                    format!(
                        "subject common name {:?} is not the requesting user {user:?}",
                        request.common_name
                    )
                })
            }),
        _ => None,
    }
}

fn node(request: &Request) -> Option<String> {
    if request.organizations != ["system:nodes"] {
        Some("subject organization is not system:nodes".to_owned())
    } else if !request.common_name.starts_with("system:node:") {
        Some("subject common name does not begin with system:node:".to_owned())
    } else {
        None
    }
}

fn no_names(request: &Request, none_at_all: bool) -> Option<String> {
    let why = if none_at_all && !request.dns.is_empty() {
        "DNS subjectAltNames are not allowed"
    } else if none_at_all && !request.addresses.is_empty() {
        "IP subjectAltNames are not allowed"
    } else if request.other_names > 0 {
        "Email and URI subjectAltNames are not allowed"
    } else {
        return None;
    };
    Some(why.to_owned())
}

/// The purpose, and of the others none that is no client's.
fn not_a_clients(usages: &[String]) -> Option<String> {
    let known = ["digital signature", "key encipherment", "client auth"];
    let strange = usages.iter().find(|usage| !known.contains(&usage.as_str()));
    match strange {
        Some(usage) => Some(format!("invalid usage for client certificate: {usage}")),
        None if !usages.iter().any(|usage| usage == "client auth") => {
            Some("missing required usage for client certificate: client auth".to_owned())
        }
        None => None,
    }
}

/// Besides the purpose nothing but signatures, and the encipherment that RSA keys are used for.
fn usages_differ(usages: &[String], purpose: &str) -> Option<String> {
    let known = ["digital signature", "key encipherment", purpose];
    let differ = !usages.iter().all(|usage| known.contains(&usage.as_str()))
        || ![purpose, "digital signature"]
            .iter()
            .all(|needed| usages.iter().any(|usage| usage == needed));
    differ.then(|| format!("usages did not match {known:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair};

    fn request(cn: &str, organization: &str, names: &[&str]) -> Request {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, cn);
        params.distinguished_name.push(DnType::OrganizationName, organization);
        let key = KeyPair::generate().unwrap();
        Request::from_pem(&params.serialize_request(&key).unwrap().pem().unwrap()).unwrap()
    }

    #[test]
    fn each_signer_signs_its_own_sort() {
        let node = "system:node:n1";
        let client = ["digital signature", "client auth"];
        let server = ["digital signature", "key encipherment", "server auth"];
        for (signer, user, request, usages, why) in [
            (CLIENT, "a", request("a", "dev", &[]), &client[..], None),
            (
                CLIENT,
                "a",
                request("a", "dev", &[]),
                &server[..],
                Some("invalid usage for client certificate: server auth"),
            ),
            (CLIENT, "a", request("a", "dev", &[]), &client[1..], None),
            (
                CLIENT,
                "a",
                request("a", "dev", &[]),
                &client[..1],
                Some("missing required usage"),
            ),
            (NODE_CLIENT, node, request(node, "system:nodes", &[]), &client[..], None),
            (
                NODE_CLIENT,
                node,
                request(node, "dev", &[]),
                &client[..],
                Some("organization"),
            ),
            (
                NODE_CLIENT,
                node,
                request("n1", "system:nodes", &[]),
                &client[..],
                Some("common name"),
            ),
            (
                NODE_CLIENT,
                node,
                request(node, "system:nodes", &["a.b"]),
                &client[..],
                Some("DNS"),
            ),
            (
                NODE_SERVER,
                node,
                request(node, "system:nodes", &["10.0.0.1"]),
                &server[..],
                None,
            ),
            (
                NODE_SERVER,
                node,
                request(node, "system:nodes", &[]),
                &server[..],
                Some("is required"),
            ),
            (
                NODE_SERVER,
                "eve",
                request(node, "system:nodes", &["a.b"]),
                &server[..],
                Some("requesting user"),
            ),
        ] {
            let usages: Vec<String> = usages.iter().map(|usage| (*usage).to_owned()).collect();
            let refusal = refuses(signer, user, &request, &usages);
            assert_eq!(refusal.is_some(), why.is_some(), "{signer}: {refusal:?}");
            assert!(refusal.unwrap_or_default().contains(why.unwrap_or_default()));
        }
    }
}
