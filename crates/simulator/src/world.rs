//! What actors act on: the store, the time, and what is known of pods.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::{Block, IpamConfig, Key, Kind, Value};
use serde_json::json;

use crate::caller::Caller;
use crate::clock::Clock;
use crate::controllers::Controllers;
use crate::names::{resource, stored};
use crate::pods::Pods;
use crate::setup::Setup;

/// What an actor acts on. Clones share it, but for the caller's own faults.
#[derive(Clone)]
pub(crate) struct World {
    pub caller: Caller,
    pub clock: Clock,
    pub setup: Setup,
    book: Arc<Mutex<Book>>,
}

/// What is known beside the store.
#[derive(Default)]
pub(crate) struct Book {
    /// What handles were answered.
    pub answered: BTreeMap<String, BTreeSet<IpAddr>>,
    /// What requests for handles failed with.
    pub failed: BTreeMap<String, String>,
    /// The handles for which addresses are being assigned.
    pub assigning: BTreeSet<String>,
    /// The handles whose release somebody has begun.
    pub given_up: BTreeSet<String>,
    /// Whether a release failed: it may have freed addresses, and left them counted.
    pub has_failed_release: bool,
    /// The addresses that somebody releases whosever they are.
    pub freed: BTreeSet<IpAddr>,
    /// What went wrong, and how often.
    pub errors: BTreeMap<String, u32>,
    /// By how many seconds the clocks of hosts are fast.
    pub skew: BTreeMap<String, i64>,
    /// The pods.
    pub pods: Pods,
    /// What controllers know, each by its actor.
    pub controllers: BTreeMap<usize, Controllers>,
    /// What an actor saw that must not be.
    pub wrong: Option<String>,
}

/// Addresses are being assigned to a handle, until this is dropped: the request is over, or has crashed.
pub(crate) struct Assigning(World, String);

impl Drop for Assigning {
    fn drop(&mut self) {
        self.0.book().assigning.remove(&self.1);
    }
}

impl World {
    pub fn new(caller: Caller, clock: Clock, setup: Setup) -> World {
        World { caller, clock, setup, book: Arc::default() }
    }

    /// The same world, as that caller sees it.
    pub fn of_caller(&self, caller: Caller) -> World {
        World { caller, ..self.clone() }
    }

    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that addresses are being assigned to a handle.
    pub fn assigning(&self, id: &str) -> Assigning {
        self.book().assigning.insert(id.to_string());
        Assigning(self.clone(), id.to_string())
    }

    /// The wall clock of a host.
    pub fn clock_of(&self, host: &str) -> Clock {
        self.clock.fast_by(self.book().skew.get(host).copied().unwrap_or_default())
    }

    /// Notes that something went wrong.
    pub fn note(&self, error: String) {
        self.caller.log(format!("ERROR {error}"));
        *self.book().errors.entry(error).or_default() += 1;
    }

    /// Stores the pool.
    pub fn put_pool(&self, block: u8, disabled: bool) {
        let size = self.setup.size;
        let mut spec = json!({
            "cidr": format!("10.0.0.0/{}", size.pool), "blockSize": block, "disabled": disabled,
        });
        if self.setup.more {
            spec["nodeSelector"] = "!has(no)".into();
        }
        let (key, value) = match self.setup.controllers {
            false => resource(Kind::IPPool, "pool", spec, &[]),
            true => {
                let finalizers = json!([controllers::pools::FINALIZER]);
                stored(
                    Kind::IPPool,
                    "pool",
                    json!({"metadata": {"name": "pool", "finalizers": finalizers}, "spec": spec}),
                )
            }
        };
        self.caller.put(key, value);
    }

    /// The pool's block size; `None` where there is no pool.
    pub fn pool(&self) -> Option<Arc<api::Pool>> {
        let record = self.caller.cluster.get(&Key::global(Kind::IPPool, "pool"))?;
        record.resource()?.as_pool().ok().cloned()
    }

    /// Stores a node.
    pub fn put_node(&self, name: &str, labels: &[(&str, &str)]) {
        let (key, value) = resource(Kind::Node, name, json!({}), labels);
        self.caller.put(key, value);
    }

    /// Changes the allocator's configuration.
    pub fn config(&self, change: impl FnOnce(&mut IpamConfig)) {
        let stored = self.caller.cluster.get(&Key::IpamConfig);
        let mut config = stored.and_then(|record| record.ipam_config().cloned()).unwrap_or_default();
        change(&mut config);
        self.caller.put(Key::IpamConfig, Value::IpamConfig(config));
    }

    pub fn blocks(&self) -> Vec<Block> {
        self.caller.cluster.records().iter().filter_map(|record| record.block().cloned()).collect()
    }

    /// The affinities, as `owner block state`.
    pub fn affinities(&self) -> Vec<String> {
        let records = self.caller.cluster.records();
        let text = |record: &Arc<api::Record>| match (&record.key, record.affinity()) {
            (Key::Affinity { owner, block }, Some(affinity)) => {
                Some(format!("{} {block} {:?}", owner.name(), affinity.state))
            }
            _ => None,
        };
        records.iter().filter_map(text).collect()
    }

    /// Every assigned address and its handle.
    pub fn assigned(&self) -> BTreeMap<IpAddr, String> {
        let mut assigned = BTreeMap::new();
        for block in self.blocks() {
            for ordinal in 0..block.cidr.size() {
                let attribute = block.attribute(ordinal).filter(|a| a.released_at.is_none());
                if let (Some(attribute), Some(addr)) = (attribute, block.cidr.addr(ordinal)) {
                    assigned.insert(addr, attribute.handle().unwrap_or_default().to_string());
                }
            }
        }
        assigned
    }
}
