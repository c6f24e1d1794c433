//! Removes everything that a store holds.
//!
//! First the datastore is locked, which asks its users to write nothing more. Then the records go in an order
//! in which every prefix is a legal state: pools, so that nobody gets an address; settings, the reservations
//! among them; then blocks, affinities and handles, for a handle's count may be too high and never too low;
//! at last the ClusterInformation, which holds the lock. A record is deleted only as it was when it was read.
//! So an address that somebody gets meanwhile is seen, and what is written meanwhile is found by the next
//! look.

mod deleting;
mod in_use;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api::capability::Backend;
use api::{BlockCidr, Home, Key, Kind, Revision, Role, Stage};
use store::{Depth, Effects, ReadSet, Scope, Store, StoreError, View};

pub use self::in_use::{InUse, PoolUse, Workload};
use crate::client::Client;
use crate::contents::{self, Counts, walk};
use crate::error::Error;

/// How many times the store is looked through before the purge ends although records keep coming.
const LOOKS: u32 = 5;
/// How long to wait before a look that is to show whether what was deleted stays away.
const PAUSE: Duration = Duration::from_millis(500);
/// How many records are read at once. A block may say a lot about each of its addresses.
const PAGE: usize = 2_000;
const BLOCKS: usize = 250;

/// What a store holds, and who uses it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Survey {
    /// Who has addresses.
    pub in_use: InUse,
    /// The records that a purge would remove.
    pub records: Counts,
}

/// A record that was found, in the state in which it is to be deleted.
#[derive(Clone, Debug)]
struct Found {
    key: Key,
    revision: Revision,
}

/// A purge in progress.
#[derive(Debug)]
pub struct Purging<'a, S, E> {
    store: &'a S,
    effects: &'a E,
    backend: Backend,
    within: Duration,
    /// Where records are, in the order in which they go.
    scopes: Vec<Scope>,
    /// The keys of hosts' own records, which belong to no scope.
    hosts: Vec<Key>,
    /// Whether blocks go with which workloads have addresses.
    takes_used: bool,
    removed: Counts,
    /// Resources whose deletion the store has accepted; a finalizer may keep one all the same.
    deleted: BTreeSet<Key>,
    stays: BTreeMap<Key, String>,
}

impl<'a, S: Store, E: Effects> Purging<'a, S, E> {
    /// A purge of a store; each call to it may take as long as `within`. `is_lacking` tells of scopes that
    /// the store cannot hold now, such as kinds that are not defined; `unknown` are keys of records that
    /// belong to no scope.
    pub fn new(
        (store, effects): (&'a S, &'a E),
        backend: Backend,
        within: Duration,
        is_lacking: impl Fn(&Scope) -> bool,
        unknown: &[String],
    ) -> Self {
        let mut scopes: Vec<Scope> = contents::scopes()
            .chain([Scope::IpamConfig])
            .filter(|scope| is_kept_in(backend, scope) && !is_lacking(scope))
            .collect();
        scopes.sort_by_key(place);
        let keys = unknown.iter().filter_map(|path| Key::from_etcd_path(path));
        Purging {
            store,
            effects,
            backend,
            within,
            scopes,
            hosts: keys.filter(|key| matches!(key, Key::IpamHost(_))).collect(),
            takes_used: false,
            removed: Counts::default(),
            deleted: BTreeSet::new(),
            stays: BTreeMap::new(),
        }
    }

    /// The same purge, which also takes the blocks of which workloads have addresses.
    #[must_use]
    pub fn with_what_is_used(self) -> Self {
        Purging { takes_used: true, ..self }
    }

    /// What the store holds. Nothing is changed.
    ///
    /// # Errors
    /// The store's.
    pub async fn survey(&self) -> Result<Survey, StoreError> {
        let pools = Scope::kind(Kind::IPPool);
        let view = match self.scopes.contains(&pools) {
            true => self.store.read(&ReadSet::new().scope(pools, Depth::Full), self.within).await?,
            false => View::new(),
        };
        let mut survey = Survey { in_use: InUse::of(&view), records: Counts::default() };
        for scope in &self.scopes {
            let blocks = &mut survey.in_use;
            let found = self.list(scope, |view| blocks.take(view)).await?;
            found.iter().for_each(|one| survey.records.add(&one.key));
        }
        self.hosts.iter().for_each(|key| survey.records.add(key));
        Ok(survey)
    }

    /// Locks the datastore and removes everything. What cannot be removed does not keep the rest from its
    /// turn; see [`Purging::stays`]. Where anything stays, so does the lock. `tell` is called with the number
    /// of records that are gone.
    ///
    /// # Errors
    /// The store's. What was removed before stays removed, and another purge goes on from there.
    pub async fn run(&mut self, mut tell: impl FnMut(usize)) -> Result<(), StoreError> {
        self.lock().await?;
        let before: Vec<Scope> = self.scopes.iter().filter(|scope| **scope != last()).cloned().collect();
        for look in 0..LOOKS {
            if look > 1 {
                self.effects.sleep(PAUSE).await;
            }
            let mut found = 0;
            for scope in &before {
                found += self.clear(scope, &mut tell).await?;
            }
            found += self.clear_hosts(&mut tell).await?;
            if found > 0 {
                continue;
            }
            if self.stays.is_empty() && self.scopes.contains(&last()) {
                // A reply that was lost leaves it open whether the record has gone, so it is looked for.
                for _ in 0..LOOKS {
                    if self.clear(&last(), &mut tell).await? == 0 {
                        break;
                    }
                }
            }
            return Ok(());
        }
        for scope in &before {
            let set = ReadSet::new().scope(scope.clone(), Depth::Full);
            let view = self.store.read(&set, self.within).await?;
            for one in self.that_may_go(found_in(&view).collect()) {
                let reason = deleting::why_again(&view, &one.key);
                self.stays.insert(one.key, reason);
            }
        }
        Ok(())
    }

    /// The records that were removed.
    pub fn removed(&self) -> Counts {
        let mut removed = self.removed.clone();
        self.deleted.iter().filter(|key| !self.stays.contains_key(*key)).for_each(|key| removed.add(key));
        removed
    }

    /// The records that could not be removed, each with the reason. The ClusterInformation, which holds the
    /// lock, is not among them.
    pub fn stays(&self) -> &BTreeMap<Key, String> {
        &self.stays
    }

    async fn lock(&self) -> Result<(), StoreError> {
        if !self.scopes.contains(&last()) {
            return Ok(());
        }
        let client = Client::new(self.store, self.effects, self.backend, self.within);
        let locked = match client.is_ready().await {
            Ok(Some(true)) => client.set_ready(false).await,
            other => other.map(drop),
        };
        match locked {
            Ok(()) | Err(Error::DoesNotExist(..)) => Ok(()),
            // What cannot be read locks nobody out, and goes with the rest.
            Err(Error::Store(StoreError::Corrupt(_))) => Ok(()),
            Err(Error::Store(error)) => Err(error),
            Err(Error::Refused(store::Refusal::Denied(text))) => Err(StoreError::Denied(text)),
            Err(error) => Err(StoreError::Unusable(format!("the datastore cannot be locked: {error}"))),
        }
    }

    /// All records of a scope; `visit` sees each page.
    async fn list(&self, scope: &Scope, mut visit: impl FnMut(&View)) -> Result<Vec<Found>, StoreError> {
        // In Kubernetes only the whole block shows that its deletion has begun.
        let (depth, limit) = match scope {
            Scope::Blocks { .. } => (Depth::Full, BLOCKS),
            _ => (Depth::Key, PAGE),
        };
        let mut found = Vec::new();
        walk(self.store, scope, depth, limit, self.within, |view| {
            visit(view);
            found.extend(found_in(view));
        })
        .await?;
        Ok(found)
    }

    /// Removes the records of a scope. Gives how many there were, without those that are known to stay.
    async fn clear(&mut self, scope: &Scope, tell: &mut impl FnMut(usize)) -> Result<usize, StoreError> {
        if *scope == Scope::kind(Kind::IPPool) && self.backend == Backend::Kubernetes {
            self.free_pools().await?;
        }
        let mut used = BTreeMap::new();
        let takes_used = self.takes_used;
        let found = self
            .list(scope, |view| {
                if !takes_used {
                    used.extend(view.slots(scope).filter_map(|(key, slot)| {
                        let reason = match in_use::of_workloads(key, slot) {
                            Some(0) => return None,
                            Some(count) => format!("workloads have {count} of its addresses"),
                            None => "it cannot be read, so it is not known who has its addresses".to_string(),
                        };
                        slot.revision().map(|_| (key.clone(), reason))
                    }));
                }
            })
            .await?;
        self.stays.extend(used);
        let found = self.that_may_go(found);
        let count = found.len();
        self.delete(found, tell).await?;
        Ok(count)
    }

    /// Those records that are not known to stay, and that none which stays has need of.
    fn that_may_go(&self, mut found: Vec<Found>) -> Vec<Found> {
        let block = |key: &Key| if let Key::Block(block) = key { Some(*block) } else { None };
        let blocks: BTreeSet<BlockCidr> = self.stays.keys().filter_map(block).collect();
        found.retain(|one| match &one.key {
            // A handle counts the addresses of a block, and may count too many, but never too few.
            Key::Handle(_) if !blocks.is_empty() => false,
            Key::Affinity { block, .. } if blocks.contains(block) => false,
            key => !self.stays.contains_key(key),
        });
        found
    }

    async fn clear_hosts(&mut self, tell: &mut impl FnMut(usize)) -> Result<usize, StoreError> {
        let mut set = ReadSet::new();
        set.keys.extend(self.hosts.iter().map(|key| (key.clone(), Depth::Key)));
        let view = self.store.read(&set, self.within).await?;
        let found = self.that_may_go(found_in(&view).collect());
        let count = found.len();
        self.delete(found, tell).await?;
        Ok(count)
    }
}

fn found_in(view: &View) -> impl Iterator<Item = Found> {
    view.all().filter_map(|(key, slot)| Some(Found { key: key.clone(), revision: slot.revision()?.clone() }))
}

/// The scope that goes last: its record holds the lock.
fn last() -> Scope {
    Scope::kind(Kind::ClusterInformation)
}

/// Whether the records of a scope are the store's own. In Kubernetes, Nodes and endpoints are Kubernetes'.
fn is_kept_in(backend: Backend, scope: &Scope) -> bool {
    match scope {
        Scope::Resources { kind, .. } if backend == Backend::Kubernetes => {
            matches!(kind.definition().home, Home::Custom(_))
        }
        // There it is the same object as an IPAMConfiguration.
        Scope::IpamConfig => backend != Backend::Kubernetes,
        _ => true,
    }
}

/// The place of a scope in the order.
fn place(scope: &Scope) -> u8 {
    match scope {
        scope if *scope == last() => u8::MAX,
        Scope::Resources { kind, .. } => match kind.definition() {
            definition if definition.role == Role::Pool => 0,
            definition if definition.stage == Stage::Pools => 0,
            _ => 1,
        },
        Scope::IpamConfig => 2,
        Scope::Blocks { .. } | Scope::Block(_) => 3,
        Scope::Affinities { .. } => 4,
        Scope::Handles => 5,
    }
}
