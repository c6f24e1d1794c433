//! The claim on etcd: a key with a lease. The key is none of Calico's, and no record.

use std::time::Duration;

use store::StoreError;
use store::etcd::{EtcdStore, Hold};

use super::LEASE;

/// The key whose value names the leader.
pub const KEY: &str = "/rackpool/controllers/leader";

/// A claim by a key.
#[derive(Debug)]
pub struct Claim {
    store: EtcdStore,
    identity: String,
    hold: Option<Hold>,
    number: u64,
}

impl Claim {
    /// No claim yet.
    pub fn new(store: EtcdStore, identity: &str) -> Claim {
        Claim { store, identity: identity.to_string(), hold: None, number: 0 }
    }

    /// Takes the key or keeps it. Gives the number of the claim.
    pub async fn assert(&mut self, within: Duration) -> Result<Option<u64>, StoreError> {
        if let Some(hold) = &self.hold {
            if self.store.keep(hold, within).await? {
                return Ok(Some(self.number));
            }
            self.hold = None;
        }
        self.hold = self.store.hold(KEY, &self.identity, LEASE, within).await?;
        Ok(self.hold.is_some().then(|| {
            self.number += 1;
            self.number
        }))
    }

    /// Removes the key.
    pub async fn give_up(&mut self, within: Duration) -> Result<(), StoreError> {
        match self.hold.take() {
            Some(hold) => self.store.let_go(hold, within).await,
            None => Ok(()),
        }
    }
}
