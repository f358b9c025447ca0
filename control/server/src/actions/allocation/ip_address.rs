//! IPAddress objects say to people and other allocators which Service holds an address. They are derived: Services are the truth.

use super::addresses;
use crate::call::Draw;
use crate::encode;
use crate::server::Server;
use api::read::{list, text};
use api::{Context, metadata};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use store::{Expect, Write, WriteError};

const KEY: &str = "ipaddresses/";
const MANAGED_BY: &str = "ipallocator.k8s.io";

/// The Service that holds addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Owner {
    namespace: String,
    name: String,
}

// === impl Owner ===

impl Owner {
    pub(super) fn of(service: &Value) -> Self {
        Self {
            namespace: metadata::namespace(service).to_owned(),
            name: metadata::name(service).to_owned(),
        }
    }

    fn holds(&self, address: &Value) -> bool {
        let parent = |member: &str| text(address, &format!("/spec/parentRef/{member}"));
        parent("resource") == "services" && parent("namespace") == self.namespace && parent("name") == self.name
    }
}

/// Makes the objects of new addresses, removes those of addresses that the Service gave up.
pub(super) async fn follow(server: Arc<Server>, owner: Owner, before: Vec<IpAddr>, now: Vec<IpAddr>) {
    for address in before.iter().filter(|address| !now.contains(address)) {
        remove(&server, &owner, *address).await;
    }
    for address in &now {
        ensure(&server, &owner, *address).await;
    }
}

/// Makes and removes what a crash has left: at start, before anything is served.
pub(crate) async fn repair(server: &Arc<Server>) {
    let mut held = HashSet::new();
    for entry in server.store.range("services/", None, 0).entries {
        let service = encode::object(&entry);
        let owner = Owner::of(&service);
        for address in addresses::of(&service) {
            ensure(server, &owner, address).await;
            held.insert(address);
        }
    }
    for entry in server.store.range(KEY, None, 0).entries {
        let object = encode::object(&entry);
        let managed = text(&object, "/metadata/labels/ipaddress.kubernetes.io~1managed-by") == MANAGED_BY;
        let address = metadata::name(&object).parse::<IpAddr>();
        if let Ok(address) = address
            && managed
            && !held.contains(&address)
        {
            let parent = |member: &str| text(&object, &format!("/spec/parentRef/{member}")).to_owned();
            let owner = Owner {
                namespace: parent("namespace"),
                name: parent("name"),
            };
            remove(server, &owner, address).await;
        }
    }
}

async fn ensure(server: &Arc<Server>, owner: &Owner, address: IpAddr) {
    let key = format!("{KEY}{address}");
    if server.store.get(&key).is_some() {
        return;
    }
    let Some(rules) = api::find("networking.k8s.io", "v1", "ipaddresses") else {
        return;
    };
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    let mut object = json!({
        "metadata": {
            "name": address.to_string(),
            "labels": { "ipaddress.kubernetes.io/ip-family": family, "ipaddress.kubernetes.io/managed-by": MANAGED_BY },
        },
        "spec": { "parentRef": { "resource": "services", "namespace": owner.namespace, "name": owner.name } },
    });
    let draw = Draw::new();
    let context: Context<'_> = draw.of_cluster();
    rules.before_create(&mut object, &context);
    let value = Some(encode::stored(&object));
    write(server, key, Expect::Absent, value, address).await;
}

async fn remove(server: &Arc<Server>, owner: &Owner, address: IpAddr) {
    let key = format!("{KEY}{address}");
    let Some(entry) = server.store.get(&key) else { return };
    let object = encode::object(&entry);
    // Somebody else's, or somebody wants to see it go.
    if owner.holds(&object) && list(&object, "/metadata/finalizers").is_empty() {
        write(server, key, Expect::At(entry.modified), None, address).await;
    }
}

async fn write(server: &Server, key: String, expect: Expect, value: Option<bytes::Bytes>, address: IpAddr) {
    let write = Write {
        key,
        expect,
        value,
        durable: true,
    };
    match server.store.write(write).await {
        // Another was faster: what had to be there is, or is being changed.
        Ok(_) | Err(WriteError::Conflict { .. }) => {}
        Err(cause) => {
            tracing::warn!(%address, %cause, "an IPAddress could not follow its Service; the next start mends it")
        }
    }
}
