//! The chain that every request goes through: what is asked, by whom, may they, what is in it, do it.

use crate::actions::allocation::{self, Allocation};
use crate::actions::usage::Measures;
use crate::audit::{Asker, Audit, Sent};
use crate::authenticate::{Authenticator, Tokens};
use crate::authorize::Authorizer;
use crate::body::Payload;
use crate::call::{Call, Warnings};
use crate::compress;
use crate::in_flight::InFlight;
use crate::negotiate::{self, Offer, negotiate};
use crate::request::{RequestInfo, ResourceInfo};
use crate::streams::{self, Nodes};
use crate::traffic::{Asked, Traffic};
use crate::user::User;
use crate::{actions, definitions, paths, protobuf, reply, verbs};
use api::status::{self, Status};
use api::{Catalog, Rules, RulesRef, Verb};
use client::Body;
use http::request::Parts;
use http::{Request, Response};
use std::sync::{Arc, RwLock};
use std::time::Instant;
use store::Store;
use tokio_util::sync::CancellationToken;

/// The API server: serves the kinds of crate `api` out of a store.
pub struct Server {
    pub(crate) store: Store,
    pub(crate) nodes: Nodes,
    /// Who asks.
    pub(crate) authenticator: Authenticator,
    /// Who may do what.
    pub(crate) authorizer: Authorizer,
    /// Cancelled when the server stops: watches end, health says so.
    pub(crate) stopping: CancellationToken,
    /// Where clients reach it, for discovery.
    pub(crate) address: String,
    /// What is written down of requests; none: nothing.
    audit: Option<Arc<Audit>>,
    /// What requests there were.
    pub(crate) traffic: Traffic,
    /// What requests there are just now.
    pub(crate) in_flight: InFlight,
    /// Addresses and node ports of Services.
    pub(crate) allocation: Allocation,
    /// What nodes were last seen to use.
    pub(crate) measures: Measures,
    /// What is served just now: the one place where kinds are looked up.
    catalog: RwLock<Arc<Catalog>>,
}

// === impl Server ===

impl Server {
    /// A server over `store`; `address` (host:port) is what discovery tells clients.
    pub fn new(store: Store, nodes: Nodes, tokens: Tokens, address: impl Into<String>) -> Arc<Self> {
        Self::audited(store, nodes, tokens, address, None)
    }

    /// The same, with an audit log.
    pub fn audited(
        store: Store,
        nodes: Nodes,
        tokens: Tokens,
        address: impl Into<String>,
        audit: Option<Audit>,
    ) -> Arc<Self> {
        let server = Self {
            audit: audit.map(Arc::new),
            authenticator: Authenticator::new(store.clone(), tokens),
            authorizer: Authorizer::new(store.clone()),
            store,
            nodes,
            stopping: CancellationToken::new(),
            address: address.into(),
            traffic: Traffic::default(),
            in_flight: InFlight::default(),
            allocation: Allocation::default(),
            measures: Measures::default(),
            catalog: RwLock::new(Arc::new(Catalog::new([]))),
        };
        definitions::serve_stored(&server);
        Arc::new(server)
    }

    /// What is served just now. A request looks here once, so that it meets one state of the kinds.
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        self.catalog
            .read()
            .expect("this holds because no holder of the catalog panics")
            .clone()
    }

    /// Serves these custom kinds from now on, besides the built-in ones.
    pub(crate) fn serve_custom(&self, kinds: impl IntoIterator<Item = RulesRef>) {
        let catalog = Arc::new(Catalog::new(kinds));
        *self
            .catalog
            .write()
            .expect("this holds because no holder of the catalog panics") = catalog;
    }

    /// Mends what a crash left undone between a Service and its IPAddress objects. Call it before serving.
    pub async fn repair(self: &Arc<Self>) {
        allocation::repair(self).await;
    }

    /// A token of an account that holds for as long as the Secret that it stands in; none if the machine has no randomness.
    pub fn lasting_token(&self, namespace: &str, account: &str, uid: &str, secret: &str) -> Option<String> {
        self.authenticator.lasting_token(namespace, account, uid, secret)
    }

    /// Ends all watches and makes `/readyz` fail, so that clients go elsewhere.
    pub fn stop(&self) {
        self.stopping.cancel();
    }

    /// Answers one request. Whatever goes wrong is in the answer.
    pub(crate) async fn answer(self: &Arc<Self>, asker: Asker, request: Request<Payload>) -> Response<Body> {
        let respond = |user, request| self.respond(user, request);
        match &self.audit {
            Some(audit) => Box::pin(audit.follow(asker, request, respond)).await,
            None => respond(asker.acting, request).await,
        }
    }

    async fn respond(self: &Arc<Self>, user: Result<User, Status>, request: Request<Payload>) -> Response<Body> {
        let begun = Instant::now();
        let user = match user {
            Ok(user) => user,
            Err(refusal) => return reply::refusal(negotiate::of_refusal(request.headers()), &refusal),
        };
        let head = request.method() == http::Method::HEAD;
        let refusals = negotiate::of_refusal(request.headers());
        let uri = request.uri();
        let info = RequestInfo::of(request.method(), uri.path(), uri.query().unwrap_or_default());
        let asked = info.as_ref().map(Asked::of).unwrap_or_default();
        let answer = match info {
            Some(info) => self.try_answer(user, info, request).await,
            None => Err(status::method_not_allowed()),
        };
        let answer = answer.unwrap_or_else(|status| reply::refusal(refusals, &status));
        self.traffic.count(asked, answer.status().as_u16(), begun.elapsed());
        if head { answer.map(|_| reply::whole("")) } else { answer }
    }

    async fn try_answer(
        self: &Arc<Self>,
        user: User,
        info: RequestInfo,
        request: Request<Payload>,
    ) -> Result<Response<Body>, Status> {
        let (parts, payload) = request.into_parts();
        // What comes from this process bounds itself.
        let room = match payload {
            Payload::Streaming(_) if !info.is_long_running() => self
                .in_flight
                .enter(&user, info.resource.as_ref().map(|asked| asked.verb))?,
            Payload::Streaming(_) | Payload::Whole(_) => None,
        };
        let judged = self.authorizer.judge(&user, &info);
        if let Some(sent) = parts.extensions.get::<Sent>() {
            sent.judge(&judged);
        }
        self.authorizer.enforce(&user, &info, judged)?;
        let takes_gzip = compress::is_taken(&parts.headers) && !info.is_long_running();
        let timeout = if info.is_long_running() {
            None
        } else {
            Some(info.timeout()?)
        };
        // What is done for a request is large while it is done, and on its way here it would be moved again and again.
        let answer = Box::pin(self.serve(user, info, parts, payload));
        let answer = match timeout {
            None => answer.await,
            Some(timeout) => tokio::time::timeout(timeout, answer).await.unwrap_or_else(|_| {
                let why = "request did not complete within requested timeout - context deadline exceeded";
                Err(status::timeout(why))
            }),
        }?;
        drop(room);
        Ok(if takes_gzip {
            Box::pin(compress::gzip(answer)).await
        } else {
            answer
        })
    }

    async fn serve(
        self: &Arc<Self>,
        user: User,
        info: RequestInfo,
        parts: Parts,
        payload: Payload,
    ) -> Result<Response<Body>, Status> {
        match info.resource.clone() {
            Some(resource) => self.resource(user, info, resource, parts, payload).await,
            None => Box::pin(paths::serve(self, &info, &parts.headers, payload)).await,
        }
    }

    async fn resource(
        self: &Arc<Self>,
        user: User,
        info: RequestInfo,
        resource: ResourceInfo,
        parts: Parts,
        payload: Payload,
    ) -> Result<Response<Body>, Status> {
        let rules = self
            .catalog()
            .find(&resource.group, &resource.version, &resource.resource)
            .cloned()
            .ok_or_else(status::no_such_path)?;
        served(&rules, &resource)?;
        if rules.is_ending() && resource.verb == Verb::Create {
            let message = "create not allowed while custom resource definition is terminating".to_owned();
            return Err(Status {
                message,
                ..status::method_not_supported(&rules, "create")
            });
        }
        let streams = streams::serves(&rules, &resource.subresource);
        let offer = Offer {
            protobuf: resource.subresource == "scale" || protobuf::is_known(&rules.api_version(), rules.kind),
            watch: resource.verb == Verb::Watch,
        };
        let call = Call {
            server: self.clone(),
            user,
            verb: resource.verb,
            namespace: if rules.namespaced {
                resource.namespace
            } else {
                String::new()
            },
            rules,
            name: resource.name,
            subresource: resource.subresource,
            query: info.query,
            // Logs are text, whatever the client would rather read.
            accepted: if streams {
                crate::negotiate::JSON
            } else {
                negotiate(&parts.headers, offer)?
            },
            headers: parts.headers.clone(),
            warnings: Warnings::default(),
        };
        if streams {
            return Box::pin(streams::serve(&call, parts, payload)).await;
        }
        let warnings = call.warnings.clone();
        warnings.extend(call.rules.deprecation());
        let as_messages = call.verb == Verb::Watch && verbs::watch::websocket::is_asked(&parts.headers);
        let mut response = dispatch(call, payload, parts.extensions.get::<Sent>()).await?;
        if as_messages {
            response = verbs::watch::websocket::carry(response, parts)?;
        }
        reply::warn(&mut response, &warnings.take());
        Ok(response)
    }
}

/// Refuses paths that the kind does not have and verbs that it does not do.
fn served(rules: &Rules, asked: &ResourceInfo) -> Result<(), Status> {
    let in_namespace = !asked.namespace.is_empty() && (asked.resource != "namespaces");
    let collection = asked.name.is_empty();
    let reads = matches!(asked.verb, Verb::List | Verb::Watch);
    if in_namespace && !rules.namespaced || rules.namespaced && !in_namespace && !reads && !collection {
        return Err(status::no_such_path());
    }
    if rules.namespaced && !in_namespace && !reads {
        return Err(status::method_not_allowed());
    }
    let verbs = match asked.subresource.as_str() {
        "" => rules.verbs,
        name => rules.subresource(name).ok_or_else(status::no_such_path)?.verbs,
    };
    let on_object = matches!(asked.verb, Verb::Create | Verb::Update | Verb::Patch);
    let misplaced = asked.subresource.is_empty() && on_object && (asked.verb == Verb::Create) != collection;
    if misplaced || !verbs.contains(&asked.verb) {
        return Err(status::method_not_allowed());
    }
    Ok(())
}

async fn dispatch(call: Call, payload: Payload, sent: Option<&Sent>) -> Result<Response<Body>, Status> {
    if matches!(call.verb, Verb::Get | Verb::List)
        && let Some(outcome) = actions::read(&call).await
    {
        return outcome;
    }
    match call.verb {
        Verb::Get if call.subresource == "scale" => return actions::scale::get(&call),
        Verb::Get => return verbs::get(&call),
        Verb::List => return verbs::list(&call),
        Verb::Watch => return verbs::watch(call),
        Verb::Create | Verb::Update | Verb::Patch | Verb::Delete | Verb::DeleteCollection => {}
    }
    let body = payload.read().await?;
    sent.inspect(|sent| sent.leave(&body));
    if let Some(outcome) = actions::act(&call, &body).await {
        return outcome;
    }
    match call.verb {
        Verb::Create if call.subresource.is_empty() => verbs::create(&call, body).await,
        Verb::Update => verbs::update(&call, body).await,
        Verb::Patch => verbs::patch(&call, body).await,
        Verb::Delete if call.subresource.is_empty() => verbs::delete(&call, body).await,
        Verb::DeleteCollection => verbs::delete_collection(&call, body).await,
        Verb::Create | Verb::Delete | Verb::Get | Verb::List | Verb::Watch => Err(status::method_not_allowed()),
    }
}
