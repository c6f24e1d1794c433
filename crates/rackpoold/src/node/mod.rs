//! The agent of a node.

pub mod detect;
pub mod finding;
pub mod name;
pub mod record;
pub mod tunnels;
