//! The agent of a node.

pub mod condition;
pub mod detect;
#[cfg(feature = "kubernetes")]
pub mod events;
pub mod finding;
pub mod name;
pub mod record;
pub mod tunnels;
