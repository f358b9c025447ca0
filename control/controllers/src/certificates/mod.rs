//! The three controllers of certificate requests: one approves what nodes ask for themselves, one signs what is approved,
//! one takes away what is old (upstream pkg/controller/certificates).

mod approve;
mod clean;
mod judge;
mod sign;

pub(crate) use approve::run as approve;
pub(crate) use clean::run as clean;
pub(crate) use sign::run as sign;

use crate::context::{Context, cache};
use client::{Api, Cache, Key, Queue, work};
use identity::{Authority, Request, RequestError};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use std::fmt;
use std::sync::Arc;

/// Signs for the whole cluster: its CA with the key.
#[derive(Clone)]
pub struct Signer(pub Arc<Authority>);

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A secret is not shown.
        f.write_str("Signer")
    }
}

/// Brings every request that is there or comes to `reconcile`.
async fn each<R, F>(name: &'static str, context: &Context, reconcile: R)
where
    R: Fn(Arc<CertificateSigningRequest>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), client::Error>> + Send + 'static,
{
    let requests: Cache<CertificateSigningRequest> = cache(Api::all(context.transport.clone()), &context.stop);
    let mut changes = requests.follow();
    if !requests.ready().await {
        return;
    }
    let queue = Queue::<String>::new();
    let feed = async {
        loop {
            tokio::select! {
                Some(change) = changes.recv() => {
                    if let Some(request) = change.now {
                        queue.add(request.metadata.name.clone().unwrap_or_default());
                    }
                }
                () = context.stop.cancelled() => return,
            }
        }
    };
    let cached = requests.clone();
    let one = move |name: String| {
        let found = cached.get(&Key::new("", name)).map(&reconcile);
        async move {
            match found {
                Some(outcome) => outcome.await,
                None => Ok(()),
            }
        }
    };
    tokio::join!(feed, work(name, &queue, 1, &context.stop, one));
}

/// What is in a request.
fn read(request: &CertificateSigningRequest) -> Result<Request, RequestError> {
    Request::from_pem(&String::from_utf8_lossy(&request.spec.request.0))
}

/// Whether a condition of this type is there and true.
fn is(request: &CertificateSigningRequest, kind: &str) -> bool {
    let conditions = request
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|condition| condition.type_ == kind && condition.status == "True")
}

fn is_issued(request: &CertificateSigningRequest) -> bool {
    request
        .status
        .as_ref()
        .and_then(|status| status.certificate.as_ref())
        .is_some_and(|certificate| !certificate.0.is_empty())
}
