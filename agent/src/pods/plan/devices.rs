//! What a container gets with devices that plugins brought: variables, mounts and device files.

use crate::devices::Artifacts;
use sandbox::{Access, ContainerPlan, Forbids, Mount, Propagation, Source};

/// Adds them. What the container says itself of a variable or a place counts more.
pub fn with_devices(plan: &mut ContainerPlan, artifacts: Artifacts) {
    for (name, value) in artifacts.env {
        if !plan.env.iter().any(|(known, _)| *known == name) {
            plan.env.push((name, value));
        }
    }
    let mounts = artifacts.mounts.into_iter().map(|(host, target, readonly)| Mount {
        source: Source::Bind(host),
        target,
        access: if readonly { Access::Readonly } else { Access::Writable },
        propagation: Propagation::Private,
        forbids: Forbids::default(),
    });
    let devices = artifacts.devices.into_iter().map(|(host, target)| Mount {
        source: Source::Device(host),
        target,
        access: Access::Writable,
        propagation: Propagation::Private,
        forbids: Forbids::default(),
    });
    for mount in mounts.chain(devices) {
        if !plan.mounts.iter().any(|known| known.target == mount.target) {
            plan.mounts.push(mount);
        }
    }
}
