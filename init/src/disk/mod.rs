//! Partitions and what is on them.

pub mod blank;
pub mod ext4;
pub mod gpt;
pub mod partitions;
pub mod pending;
pub mod prepare;
pub mod put_away;
pub mod signature;
pub mod tools;
pub mod wipe;
