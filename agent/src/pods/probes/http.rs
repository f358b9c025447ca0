//! One GET of a probe or of a hook: no proxy, no reuse, no check of certificates, no more of a body than an event can show.

use super::dial;
use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, HOST, LOCATION, USER_AGENT};
use http::{HeaderName, HeaderValue, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use identity::tls::{self, Trust};
use k8s_openapi::api::core::v1::{Container, HTTPGetAction};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use tokio::io::{AsyncRead, AsyncWrite};

/// Most of a body that is read, upstream's limit.
const BODY_BYTES: usize = 10 << 10;

/// What to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Whether with TLS.
    pub tls: bool,
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path and query.
    pub path: String,
    /// Headers, `Host` included if it was given.
    pub headers: Vec<(String, String)>,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP's code.
    pub status: u16,
    /// Where else to go.
    pub location: Option<String>,
    /// The beginning of the body.
    pub body: String,
}

// === impl Request ===

impl Request {
    /// From a probe's or a hook's words; `ip` is the pod's. An error is one sentence.
    pub fn new(action: &HTTPGetAction, container: &Container, ip: Option<IpAddr>, agent: &str) -> Result<Self, String> {
        let host = action.host.clone().filter(|host| !host.is_empty());
        let host = host.or_else(|| ip.map(|ip| ip.to_string()));
        let path = action.path.clone().unwrap_or_default();
        let mut headers = vec![
            ("User-Agent".to_owned(), agent.to_owned()),
            ("Accept".to_owned(), "*/*".to_owned()),
        ];
        let given: Vec<_> = action.http_headers.iter().flatten().collect();
        headers.retain(|(name, _)| !given.iter().any(|header| header.name.eq_ignore_ascii_case(name)));
        headers.extend(
            given
                .into_iter()
                .map(|header| (header.name.clone(), header.value.clone())),
        );
        Ok(Self {
            tls: action
                .scheme
                .as_deref()
                .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")),
            host: host.ok_or("the pod has no address yet")?,
            port: dial::port(container, &action.port)?,
            path: format!("/{}", path.trim_start_matches('/')),
            // An empty value keeps a default header from being sent.
            headers: headers.into_iter().filter(|(_, value)| !value.is_empty()).collect(),
        })
    }

    /// As events show it.
    pub fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}{}", dial::authority(&self.host, self.port), self.path)
    }

    /// The same request to where a reply points; nothing when that is another host or no HTTP.
    pub fn redirected(&self, location: &str) -> Option<Self> {
        let uri: Uri = location.parse().ok()?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let Some(host) = uri.host() else {
            let path = match path.starts_with('/') {
                true => path.to_owned(),
                false => format!("{}/{path}", self.path.rsplit_once('/').map_or("", |(folder, _)| folder)),
            };
            return Some(Self { path, ..self.clone() });
        };
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) | None => return None,
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        (host == self.host).then(|| Self {
            tls,
            port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            path: path.to_owned(),
            ..self.clone()
        })
    }

    /// Asks; an error is Go's sentence. Waits for as long as it takes: the deadline is the caller's.
    pub async fn send(&self) -> Result<Reply, String> {
        let stream = dial::connect(&self.host, self.port).await?;
        if !self.tls {
            return self.send_over(stream).await;
        }
        let name = ServerName::try_from(self.host.clone()).map_err(|error| error.to_string())?;
        let stream = tokio_rustls::TlsConnector::from(anybody()?).connect(name, stream).await;
        self.send_over(stream.map_err(|error| error.to_string())?).await
    }

    async fn send_over(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<Reply, String> {
        let request = self.request()?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| words(&error))?;
        // Ends with the reply's body, or when this future is dropped and with it the sender.
        tokio::spawn(connection);
        let reply = sender.send_request(request).await.map_err(|error| words(&error))?;
        let location = reply.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        Ok(Reply {
            status: reply.status().as_u16(),
            location: location.map(str::to_owned),
            body: beginning(reply.into_body()).await,
        })
    }

    fn request(&self) -> Result<http::Request<Empty<Bytes>>, String> {
        let mut request = http::Request::get(self.path.as_str())
            .body(Empty::new())
            .map_err(|error| format!("{:?} is no path: {error}", self.path))?;
        let headers = request.headers_mut();
        for (name, value) in &self.headers {
            let name = name
                .parse::<HeaderName>()
                .map_err(|error| format!("header {name:?}: {error}"))?;
            let value = HeaderValue::from_str(value).map_err(|error| format!("header {name}: {error}"))?;
            match name == HOST || name == USER_AGENT || name == ACCEPT {
                true => drop(headers.insert(name, value)),
                false => drop(headers.append(name, value)),
            }
        }
        if !headers.contains_key(HOST) {
            let is_usual = self.port == if self.tls { 443 } else { 80 };
            let host = dial::authority(&self.host, self.port);
            let host = if is_usual {
                host.rsplit_once(':').map_or(&*host, |(host, _)| host)
            } else {
                &host
            };
            let host = HeaderValue::from_str(host).map_err(|error| format!("host {host:?}: {error}"))?;
            headers.insert(HOST, host);
        }
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        Ok(request)
    }
}

/// What came of a body within the limit; one that breaks off or is too long has been enough.
async fn beginning(mut body: Incoming) -> String {
    let mut bytes = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref() {
            bytes.extend_from_slice(data);
        }
        if bytes.len() >= BODY_BYTES {
            bytes.truncate(BODY_BYTES);
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn words(error: &hyper::Error) -> String {
    match error.is_incomplete_message() || error.is_closed() {
        true => "EOF".to_owned(),
        false => crate::node::chain(error),
    }
}

/// Probes ask whether something answers, not who (upstream: InsecureSkipVerify).
fn anybody() -> Result<Arc<ClientConfig>, String> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    let config = tls::client(Trust::Nobody, None, &[]).map_err(|error| error.to_string())?;
    Ok(CONFIG.get_or_init(|| config).clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request(action: serde_json::Value) -> Result<Request, String> {
        let container = serde_json::from_value(json!({"name": "a"})).unwrap();
        let action: HTTPGetAction = serde_json::from_value(action).unwrap();
        Request::new(
            &action,
            &container,
            Some("10.0.0.9".parse().unwrap()),
            "kube-probe/1.36",
        )
    }

    #[test]
    fn requests_say_what_upstreams_say() {
        let plain = request(json!({"port": 80})).unwrap();
        assert_eq!(plain.url(), "http://10.0.0.9:80/");
        let headers = plain.request().unwrap().headers().clone();
        assert_eq!(
            (&headers["host"], &headers["user-agent"], &headers["accept"]),
            (
                &HeaderValue::from_static("10.0.0.9"),
                &HeaderValue::from_static("kube-probe/1.36"),
                &HeaderValue::from_static("*/*")
            )
        );
        let own = request(
            json!({"port": 8443, "scheme": "HTTPS", "host": "example.test", "path": "live?full=1", "httpHeaders": [
            {"name": "Host", "value": "other.test"}, {"name": "X-A", "value": "1"}, {"name": "x-a", "value": "2"},
            {"name": "accept", "value": ""}]}),
        )
        .unwrap();
        assert_eq!(own.url(), "https://example.test:8443/live?full=1");
        let headers = own.request().unwrap().headers().clone();
        assert_eq!(headers["host"], "other.test");
        assert_eq!(headers.get_all("x-a").iter().count(), 2);
        assert!(!headers.contains_key("accept"));
        assert!(
            request(json!({"port": 80, "httpHeaders": [{"name": "a b", "value": "1"}]}))
                .unwrap()
                .request()
                .is_err()
        );
    }

    #[test]
    fn redirects_stay_on_their_host() {
        let from = request(json!({"port": 8080, "path": "/a/b"})).unwrap();
        let cases = [
            ("/c?x", Some("http://10.0.0.9:8080/c?x")),
            ("https://10.0.0.9/c", Some("https://10.0.0.9:443/c")),
            ("http://10.0.0.10:8080/c", None),
            ("http://example.test/", None),
        ];
        for (location, expected) in cases {
            assert_eq!(
                from.redirected(location).map(|to| to.url()).as_deref(),
                expected,
                "{location}"
            );
        }
    }
}
