//! One registry over HTTP/1.1: connections, TLS, credentials, redirects, deadlines.

use super::token::{self, Challenge};
use super::{Auth, PullError, Registries};
use crate::Reference;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST, LOCATION, USER_AGENT, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Registries send to a store and the store to a mirror of it; browsers allow 20.
const MOST_REDIRECTS: usize = 6;

/// Somewhere to ask.
pub(super) struct Address {
    /// `http://host:port/prefix`, without a slash at its end.
    base: String,
    tls: Arc<rustls::ClientConfig>,
    auth: Option<Auth>,
    patience: Duration,
}

/// Asks one address for the parts of one image.
pub(super) struct Fetch {
    pub(super) image: String,
    pub(super) host: String,
    repository: String,
    address: Address,
    /// What the registry gave us to show.
    authorization: Mutex<Option<String>>,
}

/// The addresses to ask for an image, in their order. Credentials are shown only to the host that they are for: `auth`, the
/// caller's own, to the registry itself, never to a mirror of it.
pub(super) fn sources(
    image: &Reference,
    registries: &Registries,
    auth: Option<&Auth>,
) -> Result<Vec<Address>, PullError> {
    let known = registries.by_name.get(&image.registry);
    let authority = known.and_then(|registry| registry.authority.as_deref());
    let tls = tls(authority).map_err(|why| PullError::Config {
        image: image.to_string(),
        why,
    })?;
    let address = |base: &str, auth: Option<&Auth>| Address {
        base: base.trim_end_matches('/').to_owned(),
        tls: tls.clone(),
        auth: auth.cloned(),
        patience: registries.patience,
    };
    let mirrors = known.map(|registry| registry.mirrors.as_slice()).unwrap_or_default();
    let login = |mirror: &str| registries.logins.get(host_of(mirror)?.as_str());
    let mut addresses: Vec<Address> = mirrors.iter().map(|mirror| address(mirror, login(mirror))).collect();
    if mirrors.is_empty() || known.is_none_or(|known| !known.mirrors_only) {
        let own = own_address(&image.registry, authority.is_some());
        addresses.push(address(&own, auth.or(registries.logins.get(&image.registry))));
    }
    Ok(addresses)
}

/// Host and port of a URL.
fn host_of(url: &str) -> Option<String> {
    let uri = url.parse::<Uri>().ok()?;
    uri.authority().map(ToString::to_string)
}

/// A registry on this very machine needs no TLS, as Docker has it, unless somebody said how its TLS is known.
fn own_address(registry: &str, has_authority: bool) -> String {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    let is_local = host == "localhost" || host == "[::1]" || host.starts_with("127.");
    match registry {
        "docker.io" => "https://registry-1.docker.io".to_owned(),
        _ if is_local && !has_authority => format!("http://{registry}"),
        _ => format!("https://{registry}"),
    }
}

fn tls(authority: Option<&str>) -> Result<Arc<rustls::ClientConfig>, String> {
    let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    for certificate in CertificateDer::pem_slice_iter(authority.unwrap_or_default().as_bytes()) {
        let certificate =
            certificate.map_err(|error| format!("a registry's certificate authority is no PEM: {error}"))?;
        roots
            .add(certificate)
            .map_err(|error| format!("a registry's certificate authority is invalid: {error}"))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

// === impl Fetch ===

impl Fetch {
    pub(super) fn new(image: &Reference, address: Address) -> Fetch {
        Fetch {
            image: image.to_string(),
            host: host_of(&address.base).unwrap_or_else(|| address.base.clone()),
            repository: image.repository.clone(),
            authorization: Mutex::new(match &address.auth {
                Some(Auth::Bearer(token)) => Some(format!("Bearer {token}")),
                Some(Auth::Basic { .. }) | None => None,
            }),
            address,
        }
    }

    /// GETs `/v2/<repository>/<path>`; `what` names it in errors. The answer is 200 or 206.
    pub(super) async fn get(
        &self,
        path: &str,
        headers: &[(&'static str, String)],
        what: &str,
    ) -> Result<Response<Incoming>, PullError> {
        let url = format!("{}/v2/{}/{path}", self.address.base, self.repository);
        let shown = self.shown();
        let first = self.send(&url, headers, shown.as_deref()).await?;
        if first.status() != StatusCode::UNAUTHORIZED {
            return self.judge(first, path, what);
        }
        let challenge = first
            .headers()
            .get(WWW_AUTHENTICATE)
            .and_then(|value| value.to_str().ok())
            .map(Challenge::parse);
        let authorization = self.answer(challenge).await?;
        *self.authorization.lock().unwrap_or_else(PoisonError::into_inner) = Some(authorization.clone());
        let second = self.send(&url, headers, Some(&authorization)).await?;
        self.judge(second, path, what)
    }

    fn shown(&self) -> Option<String> {
        self.authorization
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What to show to a registry that asked who we are.
    async fn answer(&self, challenge: Option<Challenge>) -> Result<String, PullError> {
        let basic = match &self.address.auth {
            Some(Auth::Basic { user, password }) => Some(token::basic(user, password)),
            Some(Auth::Bearer(_)) => return Err(self.unauthorized("it does not take the given token".to_owned())),
            None => None,
        };
        match challenge {
            Some(Challenge::Bearer { realm, query }) => {
                let url = format!("{realm}{}{}", if realm.contains('?') { '&' } else { '?' }, query);
                let is_exposed = url.starts_with("http://") && self.address.base.starts_with("https://");
                if basic.is_some() && is_exposed {
                    return Err(
                        self.unauthorized(format!("it sends us to {realm}, where the password would be readable"))
                    );
                }
                let response = self.send(&url, &[], basic.as_deref()).await?;
                if !response.status().is_success() {
                    return Err(self.unauthorized(format!("{realm} answered {}", response.status())));
                }
                let text = body(self, response, super::LARGEST_DOCUMENT).await?;
                let token = token::token(&text).ok_or_else(|| self.unauthorized(format!("{realm} gave no token")))?;
                Ok(format!("Bearer {token}"))
            }
            Some(Challenge::Basic) => {
                basic.ok_or_else(|| self.unauthorized("it wants a user name and a password".to_owned()))
            }
            None => Err(self.unauthorized("401, without saying what it wants".to_owned())),
        }
    }

    fn judge(&self, response: Response<Incoming>, path: &str, what: &str) -> Result<Response<Incoming>, PullError> {
        match response.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(response),
            StatusCode::NOT_FOUND => Err(PullError::NotFound {
                image: self.image.clone(),
                host: self.host.clone(),
                what: format!(
                    "{what} {} of {}",
                    path.rsplit('/').next().unwrap_or(path),
                    self.repository
                ),
            }),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Err(self.unauthorized(status.to_string())),
            status => Err(self.answered(format!("{status} when asked for {what} {path}"))),
        }
    }

    fn patience(&self) -> Duration {
        self.address.patience
    }

    /// GETs and follows redirects; credentials go nowhere but to the host that they were meant for, and in no less secret a way.
    async fn send(
        &self,
        url: &str,
        headers: &[(&'static str, String)],
        authorization: Option<&str>,
    ) -> Result<Response<Incoming>, PullError> {
        let mut uri: Uri = url
            .parse()
            .map_err(|error| self.answered(format!("an address that is none ({url}): {error}")))?;
        let home = uri.clone();
        for _ in 0..MOST_REDIRECTS {
            let is_home = (uri.scheme(), uri.authority()) == (home.scheme(), home.authority());
            let authorization = authorization.filter(|_| is_home);
            let sent = tokio::time::timeout(self.patience(), self.send_once(&uri, headers, authorization)).await;
            let late = |_| Err(self.unreachable(format!("no answer within {} s", self.patience().as_secs_f32())));
            let response = sent.unwrap_or_else(late)?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let next = location.and_then(|location| join(&uri, location));
            uri = next.ok_or_else(|| self.answered(format!("{} without a place to go to", response.status())))?;
        }
        Err(self.answered(format!("more than {MOST_REDIRECTS} redirects")))
    }

    async fn send_once(
        &self,
        uri: &Uri,
        headers: &[(&'static str, String)],
        authorization: Option<&str>,
    ) -> Result<Response<Incoming>, PullError> {
        let host = uri.host().unwrap_or_default();
        let is_tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((bare, port))
            .await
            .map_err(|cause| self.unreachable(format!("{host}:{port}: {cause}")))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::get(path)
            .header(HOST, uri.authority().map_or(host, |authority| authority.as_str()))
            .header(USER_AGENT, concat!("pintle/", env!("CARGO_PKG_VERSION")));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request
            .body(Empty::new())
            .map_err(|error| self.answered(format!("an address that is none: {error}")))?;
        if !is_tls {
            return self.exchange(stream, request).await;
        }
        let name =
            ServerName::try_from(bare.to_owned()).map_err(|error| self.unreachable(format!("{bare}: {error}")))?;
        let connector = tokio_rustls::TlsConnector::from(self.address.tls.clone());
        let stream = connector
            .connect(name, stream)
            .await
            .map_err(|cause| self.unreachable(in_words(&format!("{host}:{port}"), &cause)))?;
        self.exchange(stream, request).await
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        request: Request<Empty<Bytes>>,
    ) -> Result<Response<Incoming>, PullError> {
        let failed = |error: hyper::Error| self.unreachable(error.to_string());
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(failed)?;
        // It ends with the body, and what goes wrong in it is told by the body.
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(failed)
    }

    pub(super) fn unreachable(&self, why: String) -> PullError {
        PullError::Unreachable {
            image: self.image.clone(),
            host: self.host.clone(),
            why,
        }
    }

    pub(super) fn answered(&self, why: String) -> PullError {
        PullError::Answer {
            image: self.image.clone(),
            host: self.host.clone(),
            why,
        }
    }

    fn unauthorized(&self, why: String) -> PullError {
        PullError::Unauthorized {
            image: self.image.clone(),
            host: self.host.clone(),
            why,
        }
    }

    pub(super) fn other_digest(&self, expected: &str, found: String) -> PullError {
        PullError::Digest {
            image: self.image.clone(),
            host: self.host.clone(),
            expected: expected.to_owned(),
            found,
        }
    }
}

/// What TLS says about the registry, for a person.
fn in_words(address: &str, cause: &std::io::Error) -> String {
    let said = cause.to_string();
    if said.contains("UnknownIssuer") || said.contains("BadSignature") {
        return format!(
            "its certificate at {address} is of no CA that this machine knows; if the CA is a private one, give its \
             certificate as `ca` in [[oci.registry]] of the machine config"
        );
    }
    if said.contains("InvalidContentType") {
        return format!(
            "{address} does not speak TLS; a registry without it is named in [[oci.registry]] with a mirror http://…"
        );
    }
    format!("TLS with {address}: {said}")
}

/// Where a redirect leads.
fn join(from: &Uri, location: &str) -> Option<Uri> {
    if location.starts_with("http://") || location.starts_with("https://") {
        return location.parse().ok();
    }
    let (scheme, authority) = (from.scheme_str()?, from.authority()?);
    location
        .starts_with('/')
        .then(|| format!("{scheme}://{authority}{location}").parse().ok())?
}

/// The next bytes of a body; nothing at its end.
pub(super) async fn chunk(fetch: &Fetch, body: &mut Incoming) -> Result<Option<Bytes>, PullError> {
    loop {
        let frame = tokio::time::timeout(fetch.patience(), body.frame()).await;
        let stalled = |_| fetch.unreachable(format!("it sent nothing for {} s", fetch.patience().as_secs_f32()));
        let frame = frame.map_err(stalled)?;
        match frame
            .transpose()
            .map_err(|error| fetch.unreachable(format!("it broke off: {error}")))?
        {
            None => return Ok(None),
            Some(frame) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// All of a small body.
pub(super) async fn body(fetch: &Fetch, response: Response<Incoming>, largest: u64) -> Result<Vec<u8>, PullError> {
    let mut bytes = Vec::new();
    let mut body = response.into_body();
    while let Some(data) = chunk(fetch, &mut body).await? {
        bytes.extend_from_slice(&data);
        if bytes.len() as u64 > largest {
            return Err(fetch.answered(format!("a document of more than {largest} bytes")));
        }
    }
    Ok(bytes)
}
