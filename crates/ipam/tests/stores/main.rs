//! Runs every operation on the stores that apply a batch as a whole, with faults at each of its writes.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

#[allow(dead_code, reason = "the other tests need more of it")]
#[path = "../it/operations.rs"]
mod operations;
#[path = "../it/real.rs"]
mod real;
#[allow(dead_code, reason = "the other tests need more of it")]
#[path = "../it/world.rs"]
mod world;

use std::sync::Arc;

use api::{Key, Kind, Record};
use servers::etcd_server::{self, EtcdServer};
use store::etcd::{EtcdOptions, EtcdStore};
use store::sqlite::{SqliteOptions, SqliteStore};
use store::testing::{FaultPlan, Faulty};
use store::{Batch, Depth, Expect, ReadSet, Scope, Store};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::real::Place;
use crate::world::{WITHIN, World};

/// A store, with what keeps it up.
struct Whole<S, K> {
    runtime: Runtime,
    base: Faulty<S>,
    _keeps: K,
}

impl<S: Store + Clone, K> Whole<S, K> {
    fn new(runtime: Runtime, store: S, keeps: K) -> Whole<S, K> {
        Whole { runtime, base: Faulty::new(store, FaultPlan::default()), _keeps: keeps }
    }

    fn records(&self) -> Vec<Arc<Record>> {
        let set = ReadSet::new()
            .scope(Scope::kind(Kind::IPPool), Depth::Full)
            .scope(Scope::kind(Kind::Node), Depth::Full)
            .scope(Scope::Blocks { family: None }, Depth::Full)
            .scope(Scope::Affinities { owner: None, family: None }, Depth::Full)
            .scope(Scope::Handles, Depth::Full)
            .key(Key::IpamConfig);
        let view = self.block_on(self.caller(FaultPlan::default()).read(&set, WITHIN)).unwrap();
        view.all().filter_map(|(_, slot)| slot.record().cloned()).collect()
    }
}

impl<S: Store + Clone, K> Place for Whole<S, K> {
    type Store = S;

    fn caller(&self, plan: FaultPlan) -> Faulty<S> {
        self.base.another(plan)
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    fn load(&self, world: &World) {
        let mut batch = Batch::new();
        for record in self.records() {
            batch.delete(record.key.clone(), Expect::Revision(record.revision.clone()));
        }
        let mut fill = Batch::new();
        for record in world.store.records() {
            fill.put(record.key.clone(), Expect::Absent, record.value.clone());
        }
        for batch in [batch, fill] {
            let committed = self.block_on(self.caller(FaultPlan::default()).commit(&batch, WITHIN));
            assert!(committed.as_ref().is_ok_and(store::Report::is_applied), "{committed:?}");
        }
    }

    fn unload(&self, world: &World) -> World {
        let found = World { clock: world.clock.clone(), ..World::new() };
        for record in self.records() {
            found.store.put(record.key.clone(), record.value.clone());
        }
        found
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn embedded() -> Whole<SqliteStore, TempDir> {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("store.db"), SqliteOptions::default()).unwrap();
    Whole::new(runtime(), store, folder)
}

/// `None` where tests with etcd are left out.
fn etcd() -> Option<Whole<EtcdStore, EtcdServer>> {
    if etcd_server::is_left_out() {
        return None;
    }
    let (runtime, server) = (runtime(), EtcdServer::start());
    let options = EtcdOptions { endpoints: vec![server.endpoint()], ..EtcdOptions::default() };
    let store = {
        let _entered = runtime.enter();
        EtcdStore::open(options).unwrap()
    };
    Some(Whole::new(runtime, store, server))
}

#[test]
fn lost_requests_and_replies_of_the_embedded_store() {
    real::lost_requests_and_replies(&embedded());
}

#[test]
fn crashes_beside_the_embedded_store() {
    real::crashes(&embedded());
}

#[test]
fn lost_requests_and_replies_of_etcd() {
    let Some(etcd) = etcd() else { return };
    real::lost_requests_and_replies(&etcd);
}

#[test]
fn crashes_beside_etcd() {
    let Some(etcd) = etcd() else { return };
    real::crashes(&etcd);
}
