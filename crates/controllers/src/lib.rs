//! What a cluster's controllers decide. Pure: they are told what there is, and the time.

pub mod collect;
pub mod confirm;
pub mod figures;
pub mod fullness;
pub mod judge;
pub mod orphans;
pub mod pools;
pub mod reach;
pub mod sweep;
pub mod witness;
