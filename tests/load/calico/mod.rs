//! An allocator that writes as Calico's does: every record by a request of its own, in Calico's order, and
//! with Calico's retries. It was written from `libcalico-go/lib/ipam/ipam.go` and
//! `ipam_block_reader_writer.go`, and shares no code for allocation with the one under test.
//!
//! | step | as in |
//! |---|---|
//! | pending affinity, block created, affinity confirmed | `getPendingAffinity`, `claimAffineBlock`, `confirmAffinity` |
//! | handle raised by what is requested, then the block; on a conflict the handle is lowered again | `assignFromExistingBlock` |
//! | block, then the handle lowered | `releaseIPsFromBlock`, `releaseByHandle` |
//! | affinity pending deletion, block deleted or disowned, affinity deleted | `releaseBlockAffinity` |
//!
//! No test here needs these parts, so they are left out: reservations, cooldown, Windows, limits, and
//! reclaiming blocks (all blocks are younger than a minute).

mod assign;
mod block;
mod claim;
mod handle;
mod kubernetes;
mod release;
mod transactions;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use api::{HandleId, Key, Record, Revision, Value};
use setup::Clock;
use store::Scope;

pub use self::kubernetes::Objects;
pub use self::transactions::Transactions;
use crate::ledger::{Event, Ledger};
use crate::worker::{Allocator, Nothing, Request};

/// How often every operation is tried (`datastoreRetries`).
const RETRIES: usize = 100;

/// The allocator.
pub struct Calico<'a, R> {
    pub records: &'a R,
    pub clock: Clock,
    pub ledger: &'a Ledger,
}

/// The single requests of Calico's clients.
pub trait Records {
    async fn get(&self, key: &Key) -> Result<Option<Arc<Record>>, Error>;
    async fn list(&self, scope: Scope) -> Result<Vec<Arc<Record>>, Error>;
    async fn create(&self, key: Key, value: Value) -> Result<Revision, Error>;
    async fn update(&self, key: Key, at: &Revision, value: Value) -> Result<Revision, Error>;
    /// Deletes the record at a revision. It is no error if the record is gone already.
    async fn delete(&self, key: Key, at: &Revision) -> Result<(), Error>;
}

/// Why a step failed.
#[derive(Clone, Debug, PartialEq)]
pub enum Error {
    /// The record has changed since it was read.
    Conflict,
    /// The record exists.
    Exists,
    /// The block belongs to another host.
    Claimed,
    /// No block is left to claim.
    NoFreeBlocks,
    /// Any other error, for the user.
    Other(String),
}

impl<R> Calico<'_, R> {
    /// Notes stored data with which Calico's code cannot cope.
    fn choke(&self, what: String) {
        self.ledger.write(Event::Choked(what));
    }
}

impl<R: Records> Allocator for Calico<'_, R> {
    /// Assigns all of the wanted addresses, or gives back what it got, as `cmdAdd` of Calico's plugin does.
    async fn assign(&self, request: &Request) -> Result<BTreeSet<IpAddr>, Nothing> {
        let wanted = (request.v4 + request.v6) as usize;
        match self.auto_assign(request).await {
            Ok(addresses) if addresses.len() == wanted => Ok(addresses),
            Ok(addresses) => {
                let reason = format!("assigned {} out of {wanted}", addresses.len());
                match self.release(&request.handle).await {
                    Ok(()) => Err(Nothing::Refused(reason)),
                    Err(error) => Err(Nothing::InDoubt(format!("{reason}; {error}"))),
                }
            }
            Err(error) => Err(Nothing::InDoubt(format!("{error:?}"))),
        }
    }

    async fn release(&self, handle: &HandleId) -> Result<(), String> {
        self.release_by_handle(handle).await.map_err(|error| format!("{error:?}"))
    }

    async fn release_ip(&self, handle: &HandleId, addr: IpAddr) -> Result<(), String> {
        self.release_address(handle, addr).await.map_err(|error| format!("{error:?}"))
    }

    async fn release_blocks(&self, host: &str) -> Result<(), String> {
        self.release_host_affinities(host).await.map_err(|error| format!("{error:?}"))
    }
}
