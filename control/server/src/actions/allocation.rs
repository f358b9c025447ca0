//! Addresses and node ports of Services (upstream: registry/core/service/storage `alloc.go`). The stored Services are the only
//! truth about what is taken; what stands here is read from them and from what is being written just now.

mod addresses;
mod families;
mod ip_address;
mod ledger;
mod ports;

use crate::call::Call;
use crate::server::Server;
use api::status::{self, Status};
use api::{FieldError, Rules, metadata, read};
use ledger::Ledger;
use serde_json::Value;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use store::Entry;

pub(crate) use ip_address::repair;

/// What is taken, read when it is first asked for.
#[derive(Default)]
pub(crate) struct Allocation(Mutex<Option<Ledger>>);

/// Addresses and ports that one write takes: nobody else gets them while it is under way.
#[must_use]
pub(crate) struct Claim {
    server: Option<Arc<Server>>,
    addresses: Vec<IpAddr>,
    ports: Vec<u16>,
}

/// Why nothing was allocated.
enum Refused {
    /// The Service asks for what it cannot have.
    Fields(Vec<FieldError>),
    /// There is nothing left.
    Exhausted(String),
}

/// Fills in what a Service gets from the cluster. `object` has gone through its kind's rules; `old` is none for a create. A dry
/// run sees what it would get, and takes nothing.
pub(crate) fn allocate(call: &Call, object: &mut Value, old: Option<&Value>, dry_run: bool) -> Result<Claim, Status> {
    let mut claim = Claim {
        server: None,
        addresses: Vec::new(),
        ports: Vec::new(),
    };
    if !is_service(&call.rules) || !call.subresource.is_empty() {
        return Ok(claim);
    }
    let mut ledger = lock(&call.server);
    let ledger = ledger.get_or_insert_with(|| Ledger::read(&call.server.store));
    ledger.catch_up(&call.server.store);
    fill(call, ledger, object, old, &mut claim).map_err(|refused| match refused {
        Refused::Fields(errors) => status::invalid(&call.rules, metadata::name(object), &errors),
        Refused::Exhausted(why) => status::internal(why),
    })?;
    if dry_run {
        claim.addresses.clear();
        claim.ports.clear();
    } else {
        ledger.reserve(&claim.addresses, &claim.ports);
        claim.server = Some(call.server.clone());
    }
    Ok(claim)
}

fn fill(
    call: &Call,
    ledger: &Ledger,
    object: &mut Value,
    old: Option<&Value>,
    claim: &mut Claim,
) -> Result<(), Refused> {
    let ranges = addresses::ranges(&call.server.store);
    let families = addresses::families(&ranges);
    families::decide(object, old, &families)?;
    addresses::fill(&call.server.store, ledger, &ranges, object, old, &mut claim.addresses)?;
    ports::fill(ledger, object, old, &mut claim.ports)
}

/// After a write: IPAddress objects follow the Service. `new` is none when it is gone.
pub(crate) async fn settle(call: &Call, old: Option<&Value>, new: Option<&Value>) {
    if !is_service(&call.rules) || !call.subresource.is_empty() && new.is_some() {
        return;
    }
    let held = |service: Option<&Value>| service.map(addresses::of).unwrap_or_default();
    let (before, now) = (held(old), held(new));
    if before == now {
        return;
    }
    let Some(service) = new.or(old) else { return };
    let owner = ip_address::Owner::of(service);
    // A task of its own: it ends even when the client does not wait for its answer.
    let work = ip_address::follow(call.server.clone(), owner, before, now);
    if let Err(cause) = tokio::spawn(work).await {
        tracing::error!(%cause, "IPAddress objects did not follow their Service");
    }
}

/// After a removal: what the object held is free.
pub(crate) async fn gone(call: &Call, entry: &Entry) {
    if is_service(&call.rules) {
        settle(call, Some(&call.object(entry)), None).await;
    }
}

fn is_service(rules: &Rules) -> bool {
    rules.key == "services"
}

/// The allocator is only ever locked for a decision, never while something is awaited.
fn lock(server: &Server) -> MutexGuard<'_, Option<Ledger>> {
    let held = server.allocation.0.lock();
    held.expect("this holds because no holder of the allocator panics")
}

/// Whether the Service has an address of its own (also when that is `None`).
fn has_address(service: &Value) -> bool {
    read::text(service, "/spec/type") != "ExternalName"
}

fn is_headless(service: &Value) -> bool {
    read::text(service, "/spec/clusterIP") == "None"
}

// === impl Claim ===

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(server) = &self.server
            && let Some(ledger) = lock(server).as_mut()
        {
            ledger.give_back(&self.addresses, &self.ports);
        }
    }
}
