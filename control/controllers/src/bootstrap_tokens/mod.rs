//! token-cleaner-controller: bootstrap tokens are removed when they expire.

use crate::context::Context;
use client::{Api, Cache, Error, Key, ListOptions, Object, Queue, work};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions};
use std::time::Duration;

const NAMESPACE: &str = "kube-system";
const TYPE: &str = "bootstrap.kubernetes.io/token";

pub(crate) async fn run(context: Context) {
    let options = ListOptions {
        field_selector: format!("type={TYPE}"),
        ..ListOptions::default()
    };
    let api = Api::<Secret>::namespaced(context.transport.clone(), NAMESPACE);
    let tokens = Cache::start(api, options, context.stop.clone());
    if !tokens.ready().await {
        return;
    }
    let queue = Queue::<Key>::new();
    let mut changes = tokens.follow();
    let feed = async {
        loop {
            tokio::select! {
                Some(update) = changes.recv() => {
                    if update.now.is_some() {
                        queue.add(update.key());
                    }
                }
                () = context.stop.cancelled() => return,
            }
        }
    };
    let reconcile = {
        let (context, tokens, again) = (context.clone(), tokens.clone(), queue.clone());
        move |key: Key| {
            let (context, tokens, again) = (context.clone(), tokens.clone(), again.clone());
            async move {
                let Some(token) = tokens.get(&key) else { return Ok(()) };
                match left(&token, Timestamp::now()) {
                    None => Ok(()),
                    Some(Duration::ZERO) => remove(&context, &token).await,
                    Some(left) => {
                        again.add_after(key, left);
                        Ok(())
                    }
                }
            }
        }
    };
    tokio::join!(
        feed,
        work("token-cleaner-controller", &queue, 1, &context.stop, reconcile)
    );
}

/// How long the token is good; none for one without an end. One whose end cannot be read is over, as upstream has it.
fn left(token: &Secret, now: Timestamp) -> Option<Duration> {
    let expiration = token.data.as_ref()?.get("expiration")?;
    let end = std::str::from_utf8(&expiration.0)
        .ok()
        .and_then(|text| text.parse::<Timestamp>().ok());
    let left = end
        .map(|end| end.duration_since(now))
        .and_then(|left| Duration::try_from(left).ok());
    Some(left.unwrap_or(Duration::ZERO))
}

async fn remove(context: &Context, token: &Secret) -> Result<(), Error> {
    let options = DeleteOptions {
        preconditions: Some(Preconditions {
            uid: Some(token.uid().to_owned()),
            ..Preconditions::default()
        }),
        ..DeleteOptions::default()
    };
    let api = Api::<Secret>::namespaced(context.transport.clone(), NAMESPACE);
    match api.delete(token.name(), &options).await {
        Ok(_) => {
            tracing::info!(secret = token.name(), "expired bootstrap token removed");
            Ok(())
        }
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;

    #[test]
    fn a_token_is_over_at_its_expiration() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let token = |expiration: &str| Secret {
            data: Some([("expiration".to_owned(), ByteString(expiration.as_bytes().to_vec()))].into()),
            ..Secret::default()
        };
        for (expiration, expected) in [
            ("2026-01-01T00:00:05Z", Duration::from_secs(5)),
            ("2026-01-01T00:00:00Z", Duration::ZERO),
            ("2025-01-01T00:00:00+02:00", Duration::ZERO),
            ("tomorrow", Duration::ZERO),
        ] {
            assert_eq!(left(&token(expiration), now), Some(expected), "{expiration}");
        }
        assert_eq!(left(&Secret::default(), now), None);
    }
}
