//! node-ipam-controller: every node gets a part of each of the cluster's pod networks, and gives it back when it goes.

mod allocator;

pub use allocator::{Allocator, Full};

use crate::context::Context;
use client::{Api, Error, Object, Patch, Update};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Node, ObjectReference};
use serde_json::json;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// After a patch that failed for a reason that passes.
const TRY_AGAIN: Duration = Duration::from_secs(1);

pub(crate) async fn run(context: Context) {
    if !context.nodes.ready().await {
        return;
    }
    let mut updates = context.nodes.follow();
    let mut ipam = Ipam {
        context: context.clone(),
        networks: Vec::new(),
        given: HashMap::new(),
    };
    ipam.networks = context
        .settings
        .pod_networks
        .iter()
        .map(|pods| Allocator::new(*pods))
        .collect();
    // What is given out already must be known before anything is given out.
    context.nodes.list().iter().for_each(|node| ipam.occupy(node));
    let mut waiting: VecDeque<String> = VecDeque::new();
    loop {
        tokio::select! {
            Some(update) = updates.recv() => match update {
                Update { now: Some(node), .. } => {
                    ipam.occupy(&node);
                    if needs_part(&node) && !waiting.contains(&node.name().to_owned()) {
                        waiting.push_back(node.name().to_owned());
                    }
                }
                Update { before: Some(node), now: None } => ipam.release(node.name()),
                Update { before: None, now: None } => {}
            },
            () = std::future::ready(()), if !waiting.is_empty() => {
                let Some(name) = waiting.pop_front() else { continue };
                if let Err(error) = ipam.give(&name).await {
                    tracing::warn!(node = %name, %error, "pod network not assigned; will try again");
                    waiting.push_back(name);
                    tokio::time::sleep(TRY_AGAIN).await;
                }
            }
            () = context.stop.cancelled() => return,
        }
    }
}

fn needs_part(node: &Node) -> bool {
    parts(node).is_empty()
}

fn parts(node: &Node) -> Vec<IpNet> {
    let spec = node.spec.as_ref();
    let all = spec.and_then(|spec| spec.pod_cidrs.clone()).unwrap_or_default();
    let one = spec.and_then(|spec| spec.pod_cidr.clone());
    all.iter()
        .chain(one.iter())
        .filter_map(|part| part.parse().ok())
        .collect()
}

struct Ipam {
    context: Context,
    networks: Vec<Allocator>,
    /// By node.
    given: HashMap<String, Vec<IpNet>>,
}

impl Ipam {
    /// Notes what a node has.
    fn occupy(&mut self, node: &Node) {
        let parts = parts(node);
        if parts.is_empty() {
            return;
        }
        self.networks
            .iter_mut()
            .for_each(|network| parts.iter().for_each(|part| network.occupy(*part)));
        self.given.insert(node.name().to_owned(), parts);
    }

    fn release(&mut self, node: &str) {
        for part in self.given.remove(node).into_iter().flatten() {
            self.networks.iter_mut().for_each(|network| network.release(part));
        }
    }

    /// Gives a node its parts, unless it is gone or has them by now.
    async fn give(&mut self, name: &str) -> Result<(), Error> {
        let api = Api::<Node>::all(self.context.transport.clone());
        let node = match api.get(name).await {
            Err(error) if error.is_not_found() => return Ok(()),
            node => node?,
        };
        if !needs_part(&node) || self.networks.is_empty() {
            return Ok(());
        }
        let parts = match self.choose() {
            Ok(parts) => parts,
            Err(full) => {
                self.say_full(&node, &full);
                return Ok(());
            }
        };
        let patch = json!({
            "metadata": {"uid": node.uid(), "resourceVersion": node.resource_version()},
            "spec": {"podCIDR": parts[0], "podCIDRs": parts},
        });
        match api.patch(name, &Patch::Merge(patch)).await {
            Ok(_) => {
                tracing::info!(node = name, parts = ?parts, "pod network assigned");
                self.given.insert(name.to_owned(), parts);
                Ok(())
            }
            Err(error) => {
                parts
                    .iter()
                    .for_each(|part| self.networks.iter_mut().for_each(|network| network.release(*part)));
                Err(error)
            }
        }
    }

    /// One part of each network, or none of any.
    fn choose(&mut self) -> Result<Vec<IpNet>, Full> {
        let mut chosen = self.networks.clone();
        let parts = chosen.iter_mut().map(Allocator::allocate).collect::<Result<_, _>>()?;
        self.networks = chosen;
        Ok(parts)
    }

    fn say_full(&self, node: &Node, full: &Full) {
        tracing::error!(node = node.name(), error = %full, "no pod network for the node");
        let about = ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Node".into()),
            name: Some(node.name().to_owned()),
            uid: Some(node.uid().to_owned()),
            ..ObjectReference::default()
        };
        self.context
            .events
            .say(about, "Warning", "CIDRNotAvailable", full.to_string());
    }
}
