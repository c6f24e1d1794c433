//! rackpool's daemon. `rackpoold node` is the agent of a node: it makes the node known, and makes pods reach
//! each other and the outside. `rackpoold controllers` is one a cluster: it gives back what nobody uses any
//! more.

pub mod cli;
pub mod controllers;
#[cfg(feature = "kubernetes")]
pub mod events;
pub mod gone;
pub mod install;
pub mod log;
pub mod namespace;
pub mod node;
pub mod preflight;
