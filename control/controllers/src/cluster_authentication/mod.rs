//! cluster-authentication-trust-controller: tells extension API servers which client certificates the API server believes.

use crate::config_map;
use crate::context::Context;
use client::{Queue, work};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

const NAMESPACE: &str = "kube-system";
const NAME: &str = "extension-apiserver-authentication";

pub(crate) async fn run(context: Context) {
    let present = config_map::cache(&context, NAME);
    if !(context.namespaces.ready().await && present.ready().await) {
        return;
    }
    let queue = Queue::<()>::new();
    let (mut namespaces, mut maps) = (context.namespaces.follow(), present.follow());
    let feed = async {
        loop {
            tokio::select! {
                Some(update) = namespaces.recv() => {
                    if update.key().name == NAMESPACE {
                        queue.add(());
                    }
                }
                Some(_) = maps.recv() => queue.add(()),
                () = context.stop.cancelled() => return,
            }
        }
    };
    let reconcile = {
        let (context, present) = (context.clone(), present.clone());
        move |()| {
            let (context, present) = (context.clone(), present.clone());
            async move { config_map::ensure(&context, &present, wanted(&context.settings.cluster_ca)).await }
        }
    };
    let name = "cluster-authentication-trust-controller";
    tokio::join!(feed, work(name, &queue, 1, &context.stop, reconcile));
}

fn wanted(certificate: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(NAME.to_owned()),
            namespace: Some(NAMESPACE.to_owned()),
            ..ObjectMeta::default()
        },
        data: Some([("client-ca-file".to_owned(), certificate.to_owned())].into()),
        ..ConfigMap::default()
    }
}
