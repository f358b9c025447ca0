//! What a machine config must keep to beyond its shape. A file a concern; each returns places with what is wrong there.

mod cluster;
pub(crate) mod encryption;
mod machine;
mod network;
mod node;
pub(crate) mod oci;
mod words;

use crate::machine::MachineConfig;
use crate::place::Place;

/// The one version of the format that there is.
const VERSION: u32 = 1;

/// Everything that is wrong, in the order of the file's tables.
pub(crate) fn check(config: &MachineConfig) -> Vec<(Place, String)> {
    let mut broken = Vec::new();
    if config.version != VERSION {
        let message = format!("`version` is {}, this Pintle reads version {VERSION}", config.version);
        broken.push((Place::of("version"), message));
    }
    broken.extend(machine::check(config));
    broken.extend(network::check(&config.network));
    broken.extend(cluster::check(config));
    broken.extend(oci::check(&config.oci));
    broken.extend(node::check(config));
    broken
}
