//! What nodes and routers must have, in clusters made of stored records.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod configuration;
mod delivery;
mod doubt;
mod faults;
mod order;
mod racks;
mod recorded;
mod scale;
mod world;
