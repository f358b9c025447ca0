//! The path space of the Kubernetes API, read once: which verb on which resource (apiserver pkg/endpoints/request/requestinfo.go).

use crate::query::{Query, decode};
use api::Verb;
use api::status::{self, Status};
use http::Method;
use std::time::Duration;

/// What a request asks for.
#[derive(Clone, Debug)]
pub struct RequestInfo {
    /// Path as it came, without the query.
    pub path: String,
    /// HTTP method, lower case: the verb of paths that name no resource.
    pub method: String,
    /// The query.
    pub query: Query,
    /// The resource, if the path names one.
    pub resource: Option<ResourceInfo>,
}

/// A resource in a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceInfo {
    /// What is done to it.
    pub verb: Verb,
    /// Its API group; empty for core.
    pub group: String,
    /// Its API version.
    pub version: String,
    /// The namespace; empty for cluster-wide resources and for reading across namespaces.
    pub namespace: String,
    /// Plural, as in the path.
    pub resource: String,
    /// The object; empty for collections.
    pub name: String,
    /// The path segment below the object; empty for the object itself.
    pub subresource: String,
}

// === impl RequestInfo ===

impl RequestInfo {
    /// From a request's line. None where the method has no verb (TRACE).
    pub fn of(method: &Method, path: &str, query: &str) -> Option<Self> {
        let query = Query::parse(query);
        let segments: Vec<String> = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(|segment| decode(segment, false))
            .collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let resource = match segments.as_slice() {
            ["api", version, rest @ ..] => resource(method, &query, "", version, rest)?,
            ["apis", group, version, rest @ ..] => resource(method, &query, group, version, rest)?,
            _ => None,
        };
        Some(Self {
            path: path.to_owned(),
            method: method.as_str().to_ascii_lowercase(),
            query,
            resource,
        })
    }

    /// How long its reply's head may take: what the client says in `timeout=`, at most upstream's request timeout.
    pub fn timeout(&self) -> Result<Duration, Status> {
        let asked = match self.query.get("timeout") {
            None => Duration::ZERO,
            Some(text) => duration(text).ok_or_else(|| {
                status::bad_request(format!(
                    "invalid timeout specified in the request URL - time: invalid duration {text:?}"
                ))
            })?,
        };
        Ok(if asked.is_zero() { TIMEOUT } else { asked.min(TIMEOUT) })
    }

    /// Whether it goes on for as long as the client likes: watches, and what is passed on to nodes and pods
    /// (apiserver `BasicLongRunningRequestCheck`).
    pub fn is_long_running(&self) -> bool {
        let passed_on = ["attach", "exec", "log", "portforward", "proxy"];
        self.resource
            .as_ref()
            .is_some_and(|asked| asked.verb == Verb::Watch || passed_on.contains(&&*asked.subresource))
    }
}

/// Upstream's `--request-timeout`.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A duration as Go writes it: `1m30s`, `1.5s`, `200ms`. Negative ones are none.
fn duration(text: &str) -> Option<Duration> {
    let (mut rest, mut seconds) = (text.strip_prefix('+').unwrap_or(text), 0.0);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, unit) = rest.split_at(digits);
        let end = unit
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(unit.len());
        let scale = match &unit[..end] {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * scale;
        rest = &unit[end..];
    }
    Duration::try_from_secs_f64(seconds).ok()
}

/// Outer none: no such verb. Inner none: the path names a group version and no resource.
#[expect(clippy::option_option, reason = "two different absences, both end here")]
fn resource(method: &Method, query: &Query, group: &str, version: &str, rest: &[&str]) -> Option<Option<ResourceInfo>> {
    let (watched, rest) = match rest {
        ["watch", rest @ ..] if !rest.is_empty() => (true, rest),
        _ => (false, rest),
    };
    let (namespace, resource, name, subresource) = match rest {
        [] => return Some(None),
        // A namespace's own subresources; anything else below a namespace is a resource in it.
        ["namespaces", name, sub @ ("status" | "finalize")] => (*name, "namespaces", *name, *sub),
        ["namespaces", name] => (*name, "namespaces", *name, ""),
        ["namespaces", namespace, resource, rest @ ..] => (
            *namespace,
            *resource,
            rest.first().copied().unwrap_or(""),
            rest.get(1).copied().unwrap_or(""),
        ),
        [resource, rest @ ..] => (
            "",
            *resource,
            rest.first().copied().unwrap_or(""),
            rest.get(1).copied().unwrap_or(""),
        ),
    };
    let watch = watched || query.flag("watch").unwrap_or(false);
    let verb = match method {
        // Asked of what is behind the proxy, and changes nothing there.
        &Method::OPTIONS if subresource == "proxy" => Verb::Get,
        _ => verb(method, name.is_empty() || watched, watch)?,
    };
    Some(Some(ResourceInfo {
        verb,
        group: group.to_owned(),
        version: version.to_owned(),
        namespace: namespace.to_owned(),
        resource: resource.to_owned(),
        name: name.to_owned(),
        subresource: subresource.to_owned(),
    }))
}

fn verb(method: &Method, collection: bool, watch: bool) -> Option<Verb> {
    Some(match (method.as_str(), collection) {
        ("GET" | "HEAD", true) if watch => Verb::Watch,
        ("GET" | "HEAD", true) => Verb::List,
        ("GET" | "HEAD", false) => Verb::Get,
        ("POST", _) => Verb::Create,
        ("PUT", _) => Verb::Update,
        ("PATCH", _) => Verb::Patch,
        ("DELETE", true) => Verb::DeleteCollection,
        ("DELETE", false) => Verb::Delete,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: &str, path: &str, query: &str) -> Option<String> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let r = RequestInfo::of(&method, path, query)?.resource?;
        let verb = r.verb;
        Some(
            format!(
                "{verb} {}/{} ns={} {} {} {}",
                r.group, r.version, r.namespace, r.resource, r.name, r.subresource
            )
            .trim_end()
            .to_owned(),
        )
    }

    #[test]
    fn paths_and_methods_make_verbs() {
        for (method, path, query, expected) in [
            ("GET", "/api/v1/pods", "", "list /v1 ns= pods"),
            ("GET", "/api/v1/pods/", "watch=true", "watch /v1 ns= pods"),
            ("GET", "/api/v1/watch/pods", "", "watch /v1 ns= pods"),
            ("GET", "/api/v1/namespaces", "", "list /v1 ns= namespaces"),
            ("GET", "/api/v1/namespaces/a", "", "get /v1 ns=a namespaces a"),
            (
                "PUT",
                "/api/v1/namespaces/a/finalize",
                "",
                "update /v1 ns=a namespaces a finalize",
            ),
            (
                "PATCH",
                "/api/v1/namespaces/a/status",
                "",
                "patch /v1 ns=a namespaces a status",
            ),
            (
                "DELETE",
                "/api/v1/namespaces/a/pods",
                "",
                "deletecollection /v1 ns=a pods",
            ),
            ("DELETE", "/api/v1/namespaces/a/pods/p", "", "delete /v1 ns=a pods p"),
            (
                "POST",
                "/api/v1/namespaces/a/pods/p/exec",
                "command=ls",
                "create /v1 ns=a pods p exec",
            ),
            (
                "GET",
                "/apis/coordination.k8s.io/v1/namespaces/a/leases/x%2Ey",
                "",
                "get coordination.k8s.io/v1 ns=a leases x.y",
            ),
        ] {
            assert_eq!(read(method, path, query).as_deref(), Some(expected), "{method} {path}");
        }
    }

    #[test]
    fn timeouts_are_go_durations_and_at_most_a_minute() {
        for (query, expected) in [
            ("", Some(60_000)),
            ("timeout=200ms", Some(200)),
            ("timeout=1.5s", Some(1500)),
            ("timeout=0", Some(60_000)),
            ("timeout=1h30m", Some(60_000)),
            ("timeout=10", None),
            ("timeout=-1s", None),
            ("timeout=s", None),
            ("timeout=1parsec", None),
        ] {
            let info = RequestInfo::of(&Method::GET, "/api/v1/pods", query).unwrap();
            let expected = expected.map(Duration::from_millis);
            assert_eq!(info.timeout().ok(), expected, "{query}");
        }
        let info = RequestInfo::of(&Method::GET, "/api/v1/pods", "timeout=x").unwrap();
        assert_eq!(
            info.timeout().unwrap_err().message,
            "invalid timeout specified in the request URL - time: invalid duration \"x\""
        );
    }

    #[test]
    fn other_paths_name_no_resource() {
        for path in [
            "/",
            "/api",
            "/api/v1",
            "/apis",
            "/apis/apps",
            "/apis/apps/v1",
            "/healthz",
            "/version",
        ] {
            assert_eq!(read("GET", path, ""), None, "{path}");
        }
        assert!(RequestInfo::of(&Method::TRACE, "/api/v1/pods", "").is_none());
    }
}
