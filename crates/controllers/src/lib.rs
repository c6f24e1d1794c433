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

use api::Kind;
use store::Scope;

/// The scopes of records by which controllers know a cluster.
pub fn scopes() -> [Scope; 6] {
    [
        Scope::kind(Kind::Node),
        Scope::kind(Kind::IPPool),
        Scope::kind(Kind::IPReservation),
        Scope::IpamConfig,
        Scope::Affinities { owner: None, family: None },
        Scope::Blocks { family: None },
    ]
}
