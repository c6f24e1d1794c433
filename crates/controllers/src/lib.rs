//! What a cluster's controllers decide. Pure: they are told what there is, and the time.

pub mod collect;
pub mod judge;
pub mod sweep;
pub mod witness;
