//! Places that an answer names, so that they are found through the proxy (apimachinery pkg/util/proxy/transport.go `rewriteURL`).

use super::location::clean;

/// What is known about the page that names a place.
pub struct Rewrite<'a> {
    /// The API server's path up to and with `proxy`.
    pub prepend: &'a str,
    /// Host and port of what is behind it.
    pub backend: &'a str,
    /// Host and port of the API server, as the client calls it.
    pub own: &'a str,
}

// === impl Rewrite ===

impl Rewrite<'_> {
    /// A redirect's place. Another host's stays as it is, and so does one that is relative to the page.
    pub fn url(&self, place: &str) -> String {
        let (host, rest) = authority(place);
        let is_other_host = host.is_some_and(|host| host != self.backend && host != self.own);
        let path_end = rest.find(['?', '#']).unwrap_or(rest.len());
        let (path, behind) = rest.split_at(path_end);
        if is_other_host || !path.starts_with('/') {
            return place.to_owned();
        }
        let path = match path.starts_with(self.prepend) {
            true => path.to_owned(),
            false => clean(&format!("{}{path}", self.prepend)),
        };
        format!("{path}{behind}")
    }
}

/// Host and port of `scheme://host/…` or `//host/…`, and what comes after.
fn authority(place: &str) -> (Option<&str>, &str) {
    let is_word =
        |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    let after = match place.split_once("://") {
        Some((scheme, after)) if is_word(scheme) => after,
        Some(_) | None => match place.strip_prefix("//") {
            Some(after) => after,
            None => return (None, place),
        },
    };
    let end = after.find(['/', '?', '#']).unwrap_or(after.len());
    let (host, rest) = after.split_at(end);
    (Some(host.rsplit_once('@').map_or(host, |(_, host)| host)), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_through_the_proxy() {
        let rewrite = Rewrite {
            prepend: "/api/v1/namespaces/d/pods/p/proxy",
            backend: "10.1.2.3:80",
            own: "api:6443",
        };
        for (place, expected) in [
            (
                "/login?next=1#top",
                "/api/v1/namespaces/d/pods/p/proxy/login?next=1#top",
            ),
            ("/", "/api/v1/namespaces/d/pods/p/proxy/"),
            ("/a/../b/", "/api/v1/namespaces/d/pods/p/proxy/b/"),
            ("http://10.1.2.3:80/x", "/api/v1/namespaces/d/pods/p/proxy/x"),
            ("https://api:6443/x/", "/api/v1/namespaces/d/pods/p/proxy/x/"),
            ("https://example.org/x", "https://example.org/x"),
            ("//example.org/x", "//example.org/x"),
            ("relative", "relative"),
            (
                "/api/v1/namespaces/d/pods/p/proxy/x",
                "/api/v1/namespaces/d/pods/p/proxy/x",
            ),
        ] {
            assert_eq!(rewrite.url(place), expected, "{place}");
        }
    }
}
