//! Rules of `[oci]`, and of the secrets' `[[registry]]`.

use crate::machine::{Oci, Registry, SignedBy};
use crate::place::Place;
use crate::secrets::RegistryLogin;

pub(super) fn check(oci: &Oci) -> Vec<(Place, String)> {
    let mut broken = Vec::new();
    for (nth, registry) in oci.registries.iter().enumerate() {
        let place = Place::of("oci.registry").index(nth);
        broken.extend(host(&registry.host, &place));
        if oci.registries[..nth].iter().any(|other| other.host == registry.host) {
            broken.push((place.key("host"), twice(&registry.host)));
        }
        broken.extend(mirrors(registry, &place));
        broken.extend(ca(registry, &place));
    }
    for (nth, wanted) in oci.signatures.iter().enumerate() {
        let place = Place::of("oci.signature").index(nth);
        if oci.signatures[..nth].iter().any(|other| other.scope == wanted.scope) {
            broken.push((
                place.key("scope"),
                format!("scope {:?} stands here twice", wanted.scope),
            ));
        }
        broken.extend(scope(&wanted.scope, &place));
        broken.extend(keys(wanted, &place));
    }
    broken
}

fn scope(scope: &str, place: &Place) -> Option<(Place, String)> {
    let is_good = scope == "*"
        || !(scope.is_empty() || scope.contains([':', '@', '*']) && !is_registry(scope) || scope.ends_with('/'));
    let message = || format!("{scope:?} is no registry and no repository, e.g. registry.example/team, nor `*`");
    (!is_good).then(|| (place.key("scope"), message()))
}

/// A registry may have a port, which is no tag.
fn is_registry(scope: &str) -> bool {
    let registry = scope.split('/').next().unwrap_or_default();
    let port = registry.split_once(':').map(|(_, port)| port.parse::<u16>().is_ok());
    port == Some(true) && !scope[registry.len()..].contains([':', '@', '*'])
}

/// Whether they are of the right curve shows when the machine uses them: then it refuses their images.
fn keys(wanted: &SignedBy, place: &Place) -> Vec<(Place, String)> {
    let wrong = wanted.keys.iter().enumerate().filter_map(|(nth, pem)| {
        let place = place.key("keys").index(nth);
        if pem.contains("PRIVATE KEY-----") {
            return Some((
                place,
                "a private key has no place in a machine config; give cosign.pub".to_owned(),
            ));
        }
        let message = format!("`{place}` is no public key in PEM");
        (!pem.contains("-----BEGIN PUBLIC KEY-----")).then_some((place, message))
    });
    wrong.collect()
}

/// What is wrong with the logins of a secrets file; never a name, a password or a token.
pub(crate) fn logins(logins: &[RegistryLogin]) -> Vec<(Place, String)> {
    let mut broken = Vec::new();
    for (nth, login) in logins.iter().enumerate() {
        let place = Place::of("registry").index(nth);
        broken.extend(host(&login.host, &place));
        if logins[..nth].iter().any(|other| other.host == login.host) {
            broken.push((place.key("host"), twice(&login.host)));
        }
        let is_good = match (&login.username, &login.password, &login.token) {
            (Some(username), Some(password), None) => !username.is_empty() && !password.is_empty(),
            (None, None, Some(token)) => !token.is_empty(),
            _ => false,
        };
        if !is_good {
            let message =
                format!("`{place}` needs `username` and `password`, or `token` alone, and none of them empty");
            broken.push((place.clone(), message));
        }
        if login.username.as_ref().is_some_and(|name| name.contains(':')) {
            let message = format!("`{place}.username` has a colon in it, which HTTP cannot carry (RFC 7617)");
            broken.push((place.key("username"), message));
        }
    }
    broken
}

fn host(host: &str, place: &Place) -> Option<(Place, String)> {
    let is_good = !host.is_empty() && !host.contains('/');
    let message = || format!("{host:?} is no registry; write it as images do, e.g. docker.io or registry.test:5000");
    (!is_good).then(|| (place.key("host"), message()))
}

fn twice(host: &str) -> String {
    format!("registry {host:?} stands here twice")
}

fn mirrors(registry: &Registry, place: &Place) -> Vec<(Place, String)> {
    let mut broken = Vec::new();
    if registry.mirrors_only && registry.mirrors.is_empty() {
        let message = format!(
            "registry {:?} has no mirrors, so nothing of it could be pulled",
            registry.host
        );
        broken.push((place.key("mirrors-only"), message));
    }
    for (which, mirror) in registry.mirrors.iter().enumerate() {
        let message = match mirror.split_once("://") {
            Some(("http" | "https", rest)) if rest.contains('@') => {
                "a mirror's URL must hold no user name and no password; they belong into the secrets, as [[registry]]"
                    .to_owned()
            }
            Some(("http" | "https", rest)) if !rest.is_empty() => continue,
            Some(_) | None => format!("mirror {mirror:?} must begin with http:// or https://"),
        };
        broken.push((place.key("mirrors").index(which), message));
    }
    broken
}

/// Whether the certificates are good shows when they are used; a key never has a place here.
fn ca(registry: &Registry, place: &Place) -> Option<(Place, String)> {
    let pem = registry.ca.as_ref()?;
    let place = place.key("ca");
    if pem.contains("PRIVATE KEY-----") {
        return Some((
            place,
            "a private key has no place in a machine config; give the CA's certificate alone".to_owned(),
        ));
    }
    let message = format!("`{place}` is no certificate in PEM");
    (!pem.contains("-----BEGIN CERTIFICATE-----")).then_some((place, message))
}
