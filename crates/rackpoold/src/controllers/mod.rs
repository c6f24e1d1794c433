//! The controllers of a cluster.

pub mod cluster;
pub mod collecting;
pub mod confirm;
pub mod feed;
pub mod work;
