//! A store in memory, effects that are the same in every run, and shorthands for making objects.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use api::capability::Backend;
use api::{HandleId, Key, Kind, Resource, Timestamp, Use};
use ipam::AutoAssign;
use resources::{Client, Identifier};
use serde_json::{Value as Json, json};
use store::{MemoryStore, Store};

/// Effects without chance: random numbers are a counter, and a sleep returns at once.
#[derive(Debug, Default)]
pub struct Fixed(AtomicU64);

impl Fixed {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

impl store::Effects for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::new(1_785_578_400, 0).unwrap()
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.next())
    }

    fn seed(&self) -> u64 {
        self.next()
    }

    fn sleep(&self, _: Duration) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

pub const WITHIN: Duration = Duration::from_secs(5);

pub fn client<'a, S: Store>(store: &'a S, effects: &'a Fixed) -> Client<'a, S, Fixed> {
    Client::new(store, effects, Backend::Embedded, WITHIN)
}

pub fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

pub fn resource(kind: Kind, name: &str, spec: Json) -> Resource {
    let json = json!({"kind": kind.name(), "apiVersion": "projectcalico.org/v3", "metadata": {"name": name}, "spec": spec});
    Resource::from_input(json).unwrap()
}

pub fn pool(name: &str, cidr: &str) -> Resource {
    resource(Kind::IPPool, name, json!({"cidr": cidr, "blockSize": 30}))
}

pub fn id(kind: Kind, name: &str) -> Identifier {
    Identifier::new(kind, None, name)
}

/// Assigns addresses to a handle on a host. Creates the host's node if it does not exist.
pub fn assign(store: &MemoryStore, effects: &Fixed, host: &str, handle: &str, n: u32) -> Vec<IpAddr> {
    if stored(store, &id(Kind::Node, host)).is_none() {
        run(client(store, effects).create(&resource(Kind::Node, host, json!({})))).unwrap();
    }
    let mut request = AutoAssign::new(host, Use::Workload);
    request.handle = HandleId::new(handle);
    request.attributes = BTreeMap::from([("node".to_string(), host.to_string())]);
    request.v4 = n;
    let answer = run(ipam::run(store, effects, request.planner(), WITHIN)).unwrap();
    let addresses: Vec<IpAddr> = answer.v4.addresses.iter().map(|a| a.addr).collect();
    assert_eq!(addresses.len(), n as usize, "{:?} {:?}", answer.v4.messages, answer.v4.error);
    addresses
}

/// The keys of all records that are not resources, as etcd spells them.
pub fn allocation_keys(store: &MemoryStore) -> Vec<String> {
    let keys = store.records().into_iter().map(|record| record.key.clone());
    keys.filter(|key| !matches!(key, Key::Resource { .. })).map(|key| key.etcd_path()).collect()
}

/// The resource as it is stored; `None` if it is not.
pub fn stored(store: &MemoryStore, id: &Identifier) -> Option<Resource> {
    let key = id.key();
    let record = store.records().into_iter().find(|record| record.key == key)?;
    record.resource().cloned()
}
