//! serviceaccount-controller: every namespace that is not ending has a ServiceAccount "default".

use crate::context::{Context, cache};
use client::{Api, Error, Key, Queue, Update, work};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

const DEFAULT: &str = "default";

pub(crate) async fn run(context: Context) {
    let accounts = cache(Api::<ServiceAccount>::all(context.transport.clone()), &context.stop);
    if !(context.namespaces.ready().await && accounts.ready().await) {
        return;
    }
    let queue = Queue::<String>::new();
    let (mut namespaces, mut gone) = (context.namespaces.follow(), accounts.follow());
    let feed = async {
        loop {
            tokio::select! {
                Some(update) = namespaces.recv() => queue.add(update.key().name),
                Some(update) = gone.recv() => {
                    if let Update { before: Some(account), now: None } = update {
                        queue.add(account.metadata.namespace.clone().unwrap_or_default());
                    }
                }
                () = context.stop.cancelled() => return,
            }
        }
    };
    let reconcile = {
        let (context, accounts) = (context.clone(), accounts.clone());
        move |namespace: String| {
            let (context, accounts) = (context.clone(), accounts.clone());
            async move {
                let exists = accounts.get(&Key::new(&*namespace, DEFAULT)).is_some();
                let wanted = context
                    .namespaces
                    .get(&Key::new("", &*namespace))
                    .is_some_and(|found| is_active(&found));
                if exists || !wanted {
                    Ok(())
                } else {
                    create(&context, &namespace).await
                }
            }
        }
    };
    tokio::join!(
        feed,
        work("serviceaccount-controller", &queue, 2, &context.stop, reconcile)
    );
}

fn is_active(namespace: &Namespace) -> bool {
    namespace.metadata.deletion_timestamp.is_none()
}

async fn create(context: &Context, namespace: &str) -> Result<(), Error> {
    let account = ServiceAccount {
        metadata: ObjectMeta {
            name: Some(DEFAULT.into()),
            namespace: Some(namespace.into()),
            ..ObjectMeta::default()
        },
        ..ServiceAccount::default()
    };
    match Api::namespaced(context.transport.clone(), namespace)
        .create(&account)
        .await
    {
        Ok(_) => Ok(()),
        Err(error) if error.is_already_exists() => Ok(()),
        // The namespace ended meanwhile.
        Err(error) if error.is_not_found() || error.code() == 403 => Ok(()),
        Err(error) => Err(error),
    }
}
