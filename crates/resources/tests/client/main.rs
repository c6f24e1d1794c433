//! The client over stores in memory, some of which break.

mod common;
mod configuration;
mod faults;
mod nodes;
mod pools;
mod writes;
