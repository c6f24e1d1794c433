//! Stores, records and time limits for the tests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::{BlockCidr, Handle, HandleId, Key, Record, Revision, Value};
use store::etcd::{EtcdOptions, EtcdStore};
use store::testing::etcd_client::Client;
use store::{Batch, Expect, Outcome, ReadSet, Report, Store, StoreError};

pub const WITHIN: Duration = Duration::from_secs(10);

/// Ends the test where tests with etcd are left out.
macro_rules! needs_etcd {
    () => {
        if servers::etcd_server::is_left_out() {
            return;
        }
    };
}
pub(crate) use needs_etcd;

pub fn options(endpoints: &[String]) -> EtcdOptions {
    EtcdOptions { endpoints: endpoints.to_vec(), ..EtcdOptions::default() }
}

pub fn open(endpoints: &[String]) -> EtcdStore {
    EtcdStore::open(options(endpoints)).unwrap()
}

pub async fn raw(endpoint: &str) -> Client {
    Client::connect([endpoint], None).await.unwrap()
}

pub fn handle(name: &str) -> Key {
    Key::Handle(HandleId::new(name).unwrap())
}

pub fn counted(count: u32) -> Value {
    let block: BlockCidr = "10.0.0.0/26".parse().unwrap();
    Value::Handle(Handle { blocks: [(block, count)].into(), deleted: false })
}

/// A handle whose stored text has about that many bytes.
pub fn large(bytes: u32) -> Value {
    let block = |index: u32| -> BlockCidr {
        format!("{}/32", std::net::Ipv4Addr::from((10 << 24) + index)).parse().unwrap()
    };
    Value::Handle(Handle { blocks: (0..bytes / 20).map(|index| (block(index), 1)).collect(), deleted: false })
}

pub async fn read(
    store: &impl Store,
    key: &Key,
    within: Duration,
) -> Result<Option<Arc<Record>>, StoreError> {
    let view = store.read(&ReadSet::new().key(key.clone()), within).await?;
    Ok(view.full(key).unwrap().cloned())
}

pub async fn find(store: &impl Store, key: &Key) -> Option<Arc<Record>> {
    read(store, key, WITHIN).await.unwrap()
}

pub async fn put(
    store: &impl Store,
    key: &Key,
    expect: Expect,
    value: Value,
    within: Duration,
) -> Result<Outcome, StoreError> {
    let mut batch = Batch::new();
    batch.put(key.clone(), expect, value);
    Ok(store.commit(&batch, within).await?.outcomes.remove(0))
}

/// Stores a value, whatever was stored before.
pub async fn set(store: &impl Store, key: &Key, value: Value) -> Revision {
    let expect = match find(store, key).await {
        Some(record) => Expect::Revision(record.revision.clone()),
        None => Expect::Absent,
    };
    match put(store, key, expect, value, WITHIN).await.unwrap() {
        Outcome::Applied(revision) => revision,
        other => panic!("not applied: {other:?}"),
    }
}

pub async fn commit(store: &impl Store, batch: &Batch) -> Report {
    store.commit(batch, WITHIN).await.unwrap()
}

/// The output of an action, and how long it took.
pub async fn timed<T>(action: impl Future<Output = T>) -> (T, Duration) {
    #[allow(clippy::disallowed_methods)]
    let start = Instant::now();
    (action.await, start.elapsed())
}

/// Checks that the text of an error contains all of these words.
pub fn says(error: &StoreError, words: &[&str]) {
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
}
