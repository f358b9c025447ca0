//! An image's name as people write it and as registries understand it: docker's grammar (distribution/reference).

use std::fmt;
use std::str::FromStr;

/// A name, fully qualified: `docker.io/library/nginx:1.27` or `host:port/path@sha256:…`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// Registry, host and perhaps port, e.g. `docker.io`.
    pub registry: String,
    /// Path in the registry, e.g. `library/nginx`.
    pub repository: String,
    /// Tag; `latest` when the name had neither tag nor digest.
    pub tag: Option<String>,
    /// Digest of the manifest, `sha256:…`; it alone decides when it is there.
    pub digest: Option<String>,
}

/// A name that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("image name {name:?} is invalid: {why}")]
pub struct BadReference {
    /// As it was written.
    pub name: String,
    /// Which rule it breaks.
    pub why: &'static str,
}

/// Longest repository path, distribution/reference `RepositoryNameTotalLengthMax`.
const LONGEST_PATH: usize = 255;

// === impl Reference ===

impl Reference {
    /// What a registry calls this version: the digest, else the tag.
    pub fn version(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or("latest")
    }
}

impl FromStr for Reference {
    type Err = BadReference;

    fn from_str(name: &str) -> Result<Self, BadReference> {
        parse(name).map_err(|why| BadReference {
            name: name.to_owned(),
            why,
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

fn parse(name: &str) -> Result<Reference, &'static str> {
    if name.is_empty() {
        return Err("it is empty");
    }
    let (rest, digest) = match name.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (name, None),
    };
    // A colon after the last slash begins a tag; one before it is the registry's port.
    let (path, tag) = match rest.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (rest, None),
    };
    let (registry, repository) = split_registry(path);
    check_registry(&registry)?;
    check_repository(&repository)?;
    if let Some(tag) = tag {
        check_tag(tag)?;
    }
    if let Some(digest) = digest {
        check_digest(digest)?;
    }
    let tag = match (tag, digest) {
        (None, None) => Some("latest"),
        (tag, _) => tag,
    };
    Ok(Reference {
        registry,
        repository,
        tag: tag.map(str::to_owned),
        digest: digest.map(str::to_owned),
    })
}

/// The first part is a registry only if it looks like a host: a dot, a port, `localhost`, or a capital letter.
fn split_registry(path: &str) -> (String, String) {
    let registry = path.split_once('/').filter(|(first, _)| {
        first.contains(['.', ':']) || *first == "localhost" || first.chars().any(|c| c.is_ascii_uppercase())
    });
    match registry {
        Some(("index.docker.io", rest)) | Some(("docker.io", rest)) => ("docker.io".to_owned(), official(rest)),
        Some((host, rest)) => (host.to_owned(), rest.to_owned()),
        None => ("docker.io".to_owned(), official(path)),
    }
}

fn official(path: &str) -> String {
    if path.contains('/') {
        path.to_owned()
    } else {
        format!("library/{path}")
    }
}

fn check_registry(registry: &str) -> Result<(), &'static str> {
    let (host, port) = match registry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            let address_is_valid = address.parse::<std::net::Ipv6Addr>().is_ok();
            if !address_is_valid {
                return Err("its registry is no IPv6 address");
            }
            ("v6", port)
        }
        None => match registry.split_once(':') {
            Some((host, _)) => (host, &registry[host.len()..]),
            None => (registry, ""),
        },
    };
    let label = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if !host.split('.').all(label) {
        return Err("its registry is no host name");
    }
    match port.strip_prefix(':') {
        Some(number) if number.parse::<u16>().is_err() => Err("its registry's port is no number"),
        None if !port.is_empty() => Err("its registry is no host name"),
        Some(_) | None => Ok(()),
    }
}

fn check_repository(repository: &str) -> Result<(), &'static str> {
    if repository.len() > LONGEST_PATH {
        return Err("its path is longer than 255 characters");
    }
    if repository.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("its path must be in lower case");
    }
    if repository.split('/').all(is_path_component) {
        Ok(())
    } else {
        Err("its path may hold a-z, 0-9 and single separators . _ - between them")
    }
}

/// `[a-z0-9]+` joined by `.`, `_`, `__` or any number of `-`.
fn is_path_component(part: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut separator = String::new();
    for b in part.bytes() {
        if is_word(b) {
            separator.clear();
            continue;
        }
        separator.push(b as char);
        let is_separator = matches!(separator.as_str(), "." | "_" | "__") || separator.bytes().all(|b| b == b'-');
        if !is_separator {
            return false;
        }
    }
    separator.is_empty() && part.bytes().next().is_some_and(is_word)
}

fn check_tag(tag: &str) -> Result<(), &'static str> {
    let first_is_word = tag
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    let all = tag
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if first_is_word && all && tag.len() <= 128 {
        Ok(())
    } else {
        Err("its tag may hold at most 128 of A-Z a-z 0-9 _ . - and begins with none of . -")
    }
}

/// Only SHA-256: nothing else is in use (OCI image spec, "Registered algorithms").
pub(crate) fn check_digest(digest: &str) -> Result<(), &'static str> {
    let hex = digest.strip_prefix("sha256:").ok_or("its digest is not sha256:…")?;
    let lower_hex = hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if hex.len() == 64 && lower_hex {
        Ok(())
    } else {
        Err("its digest is not 64 hexadecimal digits")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_docker_reads_them() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let table = [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.27", "docker.io/library/nginx:1.27"),
            ("user/app", "docker.io/user/app:latest"),
            ("docker.io/nginx", "docker.io/library/nginx:latest"),
            ("index.docker.io/user/app", "docker.io/user/app:latest"),
            ("localhost/app", "localhost/app:latest"),
            ("registry.test:5000/a/b__c:v1", "registry.test:5000/a/b__c:v1"),
            ("10.0.2.2:5000/demo", "10.0.2.2:5000/demo:latest"),
            ("[::1]:5000/demo", "[::1]:5000/demo:latest"),
            ("quay.io/a/b-c---d", "quay.io/a/b-c---d:latest"),
        ];
        for (written, meant) in table {
            assert_eq!(written.parse::<Reference>().unwrap().to_string(), meant);
        }
        let pinned = format!("nginx:1@{digest}").parse::<Reference>().unwrap();
        assert_eq!(pinned.version(), digest);
        assert_eq!(format!("nginx@{digest}").parse::<Reference>().unwrap().tag, None);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for name in [
            "",
            "Nginx",
            "a//b",
            "/a",
            "a/",
            "a:",
            "a:-x",
            "a___b",
            "a..b",
            "a b",
            "host:port/a",
            "-host.test/a",
            "a@sha256:12",
            "a@md5:12",
            "a@",
            "[::g]:1/a",
            "[::1]x/a",
        ] {
            assert!(name.parse::<Reference>().is_err(), "{name:?} was taken");
        }
    }
}
