//! A control plane for tests, in this process: the real API server over a store in a throw-away folder, loops as asked for.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

use client::{Api, Dynamic, Resource, Transport};
use controllers::{AccountTokens, Settings};
use serde_json::json;
use server::{InProcess, Nodes, Server, Tokens};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::Store;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// A running control plane; its loops end with it.
pub struct Plane {
    /// Requests of a component that may everything.
    pub transport: Arc<dyn Transport>,
    /// Ends the loops.
    pub stop: CancellationToken,
    server: Arc<Server>,
    _folder: TempDir,
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Plane {
    /// A server with these namespaces, and no loops.
    pub async fn with(namespaces: &[&str]) -> Plane {
        let folder = TempDir::new().unwrap();
        let tokens = Tokens::new(&identity::new_key().unwrap(), "https://issuer.test").unwrap();
        let store = Store::open(folder.path()).unwrap();
        let server = Server::new(store, Nodes::none(), tokens, "127.0.0.1:6443");
        let plane = Plane {
            transport: Arc::new(InProcess::new(server.clone(), "system:test")),
            stop: CancellationToken::new(),
            server,
            _folder: folder,
        };
        for name in namespaces {
            let namespace = json!({"metadata": {"name": name}});
            plane.api("namespaces", None).create(&Dynamic(namespace)).await.unwrap();
        }
        plane
    }

    /// Runs the controllers.
    pub fn control(&self, settings: Settings) {
        tokio::spawn(controllers::run(self.transport.clone(), settings, self.stop.clone()));
    }

    /// Signs the tokens that Secrets hold.
    pub fn account_tokens(&self) -> AccountTokens {
        let server = self.server.clone();
        AccountTokens(Arc::new(move |of| {
            server.lasting_token(of.namespace, of.account, of.uid, of.secret)
        }))
    }

    /// Requests of the component `name`.
    pub fn acting_as(&self, name: &str) -> Arc<dyn Transport> {
        Arc::new(InProcess::new(self.server.clone(), name))
    }

    /// A kind of the core group.
    pub fn api(&self, plural: &str, namespace: Option<&str>) -> Api<Dynamic> {
        let resource = Resource {
            group: String::new(),
            version: "v1".into(),
            plural: plural.into(),
        };
        Api::dynamic(self.transport.clone(), &resource, namespace)
    }
}

/// Asks until `what` gives something.
pub async fn eventually<T, F: Future<Output = Option<T>>>(about: &str, what: impl Fn() -> F) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = what().await {
            return found;
        }
        assert!(Instant::now() < end, "did not happen: {about}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
