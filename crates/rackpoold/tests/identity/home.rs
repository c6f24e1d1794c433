//! Stores for these tests.

use std::future::Future;
use std::time::Duration;

use api::{Key, Kind, Resource, Value};
use rackpoold::node::record::NodeRecord;
use serde_json::{Value as Json, json};
use setup::Clock;
use store::sqlite::{SqliteOptions, SqliteStore};
use store::{AnyStore, Batch, Expect, ReadSet, Store};
use tempfile::TempDir;

pub const WITHIN: Duration = Duration::from_secs(20);

pub fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A store, and what it stands on.
pub struct Home {
    pub store: AnyStore,
    pub clock: Clock,
    _folder: Option<TempDir>,
}

impl Home {
    /// An embedded store without records.
    pub fn embedded() -> Home {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path().join("store.db"), SqliteOptions::default()).unwrap();
        Home { store: AnyStore::Sqlite(store), clock: Clock::start(), _folder: Some(folder) }
    }

    pub fn of(store: AnyStore) -> Home {
        Home { store, clock: Clock::start(), _folder: None }
    }

    pub fn record<'a>(&'a self, name: &'a str) -> NodeRecord<'a, Clock> {
        NodeRecord { store: &self.store, effects: &self.clock, name, within: WITHIN }
    }

    /// Stores a resource that does not exist yet.
    pub async fn put(&self, kind: Kind, name: &str, rest: Json) {
        let mut json = json!({"metadata": {"name": name}});
        json.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        json["metadata"]["name"] = name.into();
        json["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
        json["metadata"]["uid"] = "5e5a1d2c-0d0e-4f0a-9a3b-2f6f1f1d3c4b".into();
        let resource = Resource::from_json(kind, json).unwrap();
        let mut batch = Batch::new();
        batch.put(resource.key(), Expect::Absent, Value::Resource(resource));
        let report = self.store.commit(&batch, WITHIN).await.unwrap();
        assert!(report.is_applied(), "{report:?}");
    }

    /// What is stored of a Node, as JSON, fields included that nobody knows; with its revision.
    pub async fn node(&self, name: &str) -> Json {
        let key = Key::global(Kind::Node, name);
        let view = self.store.read(&ReadSet::new().key(key.clone()), WITHIN).await.unwrap();
        let (node, revision) = view.resource(&key).flatten().unwrap();
        let mut json = node.to_json();
        json["metadata"]["resourceVersion"] = revision.as_str().into();
        json
    }
}
