//! Kubernetes' protobuf. What was read is written, and read again as the same.

use crate::Target;
use crate::beginnings::OBJECTS;
use server::protobuf::{decode, encode};

/// A body with its magic.
pub const TARGET: Target = Target {
    name: "protobuf",
    seeds,
    run,
};

fn seeds() -> Vec<Vec<u8>> {
    OBJECTS.iter().filter_map(|(_, object)| encode(object)).collect()
}

fn run(bytes: &[u8]) -> bool {
    let Ok(first) = decode(bytes) else { return false };
    let Some(written) = encode(&first) else {
        panic!("read, but cannot be written: {first}");
    };
    let second = decode(&written).expect("what was written can be read");
    let again = encode(&second).expect("what was read can be written");
    assert_eq!(decode(&again).as_ref(), Ok(&second), "from {first}");
    true
}
