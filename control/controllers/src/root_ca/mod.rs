//! root-ca-certificate-publisher-controller: every namespace has the certificate that proves the API server, for its pods.

use crate::config_map;
use crate::context::Context;
use client::{Key, Queue, work};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Upstream's `RootCACertConfigMapName`; the token volumes of pods name it.
const NAME: &str = "kube-root-ca.crt";
/// Upstream's annotation and its words.
const DESCRIPTION: (&str, &str) = (
    "kubernetes.io/description",
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal \
     service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.",
);

pub(crate) async fn run(context: Context) {
    let present = config_map::cache(&context, NAME);
    if !(context.namespaces.ready().await && present.ready().await) {
        return;
    }
    let queue = Queue::<String>::new();
    let (mut namespaces, mut maps) = (context.namespaces.follow(), present.follow());
    let feed = async {
        loop {
            tokio::select! {
                Some(update) = namespaces.recv() => queue.add(update.key().name),
                Some(update) = maps.recv() => queue.add(update.key().namespace),
                () = context.stop.cancelled() => return,
            }
        }
    };
    let reconcile = {
        let (context, present) = (context.clone(), present.clone());
        move |namespace: String| {
            let (context, present) = (context.clone(), present.clone());
            async move {
                let found = context.namespaces.get(&Key::new("", &*namespace));
                if found.is_some_and(|found| found.metadata.deletion_timestamp.is_none()) {
                    config_map::ensure(&context, &present, wanted(&namespace, &context.settings.cluster_ca)).await
                } else {
                    Ok(())
                }
            }
        }
    };
    let name = "root-ca-certificate-publisher-controller";
    tokio::join!(feed, work(name, &queue, 2, &context.stop, reconcile));
}

fn wanted(namespace: &str, certificate: &str) -> ConfigMap {
    let (annotation, words) = DESCRIPTION;
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(NAME.to_owned()),
            namespace: Some(namespace.to_owned()),
            annotations: Some([(annotation.to_owned(), words.to_owned())].into()),
            ..ObjectMeta::default()
        },
        data: Some([("ca.crt".to_owned(), certificate.to_owned())].into()),
        ..ConfigMap::default()
    }
}
