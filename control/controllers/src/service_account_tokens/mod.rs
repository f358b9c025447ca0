//! serviceaccount-token-controller: a Secret of type `kubernetes.io/service-account-token` gets a token that does not end, and
//! goes with its account (upstream pkg/controller/serviceaccount/tokens_controller.go).

use crate::context::{Context, cache};
use client::{Api, Cache, Error, Key, ListOptions, Object, Patch, Queue, work};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions};
use serde_json::{Map, json};
use std::fmt;
use std::sync::Arc;

const NAME: &str = "serviceaccount-token-controller";
const ACCOUNT: &str = "kubernetes.io/service-account.name";
const UID: &str = "kubernetes.io/service-account.uid";

/// Signs the tokens of accounts.
#[derive(Clone)]
pub struct AccountTokens(pub Arc<Sign>);

/// Gives none if the machine has no randomness.
pub type Sign = dyn Fn(&TokenOf<'_>) -> Option<String> + Send + Sync;

/// What a token says.
#[derive(Clone, Copy, Debug)]
pub struct TokenOf<'a> {
    /// Of the account and of the Secret.
    pub namespace: &'a str,
    /// Name of the account.
    pub account: &'a str,
    /// UID of the account.
    pub uid: &'a str,
    /// Name of the Secret.
    pub secret: &'a str,
}

impl fmt::Debug for AccountTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A secret is not shown.
        f.write_str("AccountTokens")
    }
}

pub(crate) async fn run(context: Context) {
    let Some(tokens) = context.settings.account_tokens.clone() else {
        return tracing::warn!("the control plane has no key of service accounts: Secrets get no tokens");
    };
    let options = ListOptions {
        field_selector: "type=kubernetes.io/service-account-token".to_owned(),
        ..ListOptions::default()
    };
    let secrets = Cache::<Secret>::start(Api::all(context.transport.clone()), options, context.stop.clone());
    let accounts: Cache<ServiceAccount> = cache(Api::all(context.transport.clone()), &context.stop);
    if !(secrets.ready().await && accounts.ready().await) {
        return;
    }
    let queue = Queue::<Key>::new();
    let (mut changes, mut owners) = (secrets.follow(), accounts.follow());
    let feed = async {
        loop {
            tokio::select! {
                Some(update) = changes.recv() => queue.add(update.key()),
                Some(update) = owners.recv() => {
                    let owner = update.key();
                    let all = secrets.list_in(&owner.namespace);
                    let own = all.iter().filter(|secret| annotation(secret, ACCOUNT) == owner.name.as_str());
                    own.for_each(|secret| queue.add(Key::new(secret.namespace(), secret.name())));
                }
                () = context.stop.cancelled() => return,
            }
        }
    };
    let reconcile = {
        let (context, secrets) = (context.clone(), secrets.clone());
        move |key: Key| {
            let (context, secrets, tokens) = (context.clone(), secrets.clone(), tokens.clone());
            async move {
                let Some(secret) = secrets.get(&key) else { return Ok(()) };
                if secret.metadata.deletion_timestamp.is_some() {
                    return Ok(());
                }
                match account_of(&context, &secret).await? {
                    Some(account) => fill(&context, &tokens, &secret, &account).await,
                    None => remove(&context, &secret).await,
                }
            }
        }
    };
    tokio::join!(feed, work(NAME, &queue, 2, &context.stop, reconcile));
}

fn annotation<'a>(secret: &'a Secret, key: &str) -> &'a str {
    let annotations = secret.metadata.annotations.as_ref();
    annotations.and_then(|all| all.get(key)).map_or("", String::as_str)
}

/// The account that a Secret belongs to, as it is now: a cache may not know yet of one that is there.
async fn account_of(context: &Context, secret: &Secret) -> Result<Option<ServiceAccount>, Error> {
    let api = Api::<ServiceAccount>::namespaced(context.transport.clone(), secret.namespace());
    let uid = annotation(secret, UID);
    match api.get(annotation(secret, ACCOUNT)).await {
        Ok(account) => Ok(Some(account).filter(|account| uid.is_empty() || uid == account.uid())),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Adds what is missing.
async fn fill(
    context: &Context,
    tokens: &AccountTokens,
    secret: &Secret,
    account: &ServiceAccount,
) -> Result<(), Error> {
    let token = || {
        (tokens.0)(&TokenOf {
            namespace: secret.namespace(),
            account: account.name(),
            uid: account.uid(),
            secret: secret.name(),
        })
    };
    let held = |key: &str| secret.data.as_ref().and_then(|data| data.get(key));
    let mut data = Map::new();
    let mut put = |key: &str, value: &str| data.insert(key.to_owned(), json!(ByteString(value.into())));
    let ca = &context.settings.cluster_ca;
    if !ca.is_empty() && held("ca.crt").is_none_or(|held| held.0 != ca.as_bytes()) {
        put("ca.crt", ca);
    }
    if held("namespace").is_none_or(|held| held.0.is_empty()) {
        put("namespace", secret.namespace());
    }
    if held("token").is_none_or(|held| held.0.is_empty()) {
        let Some(token) = token() else {
            tracing::warn!(
                namespace = secret.namespace(),
                secret = secret.name(),
                "no token could be signed"
            );
            return Ok(());
        };
        put("token", &token);
    }
    if data.is_empty() && annotation(secret, UID) == account.uid() {
        return Ok(());
    }
    let metadata = json!({
        "uid": secret.uid(), "resourceVersion": secret.resource_version(), "annotations": { UID: account.uid() },
    });
    let patch = Patch::Merge(json!({ "metadata": metadata, "data": data }));
    let api = Api::<Secret>::namespaced(context.transport.clone(), secret.namespace());
    match api.patch(secret.name(), &patch).await {
        // A newer state is on its way to us.
        Err(error) if !(error.is_not_found() || error.is_conflict()) => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

async fn remove(context: &Context, secret: &Secret) -> Result<(), Error> {
    let options = DeleteOptions {
        preconditions: Some(Preconditions {
            uid: Some(secret.uid().to_owned()),
            ..Preconditions::default()
        }),
        ..DeleteOptions::default()
    };
    let api = Api::<Secret>::namespaced(context.transport.clone(), secret.namespace());
    match api.delete(secret.name(), &options).await {
        Err(error) if !(error.is_not_found() || error.is_conflict()) => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}
