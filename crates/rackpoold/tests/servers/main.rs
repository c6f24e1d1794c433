//! The agent's parts on real servers: etcd and a Kubernetes API server.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

mod cost;
mod gone;
mod loss;
mod token;

use std::time::Duration;

use api::{Kind, Resource, Value};
use serde_json::Value as Json;
use store::{Batch, Expect, ReadSet, Store};

/// The account of the agent.
#[cfg(feature = "kubernetes")]
const AGENT: &str = "system:serviceaccount:kube-system:rackpoold-node";
const WITHIN: Duration = Duration::from_secs(20);

/// Stores a resource, in place of one of the same name.
pub async fn put<S: Store>(store: &S, kind: Kind, json: Json) {
    let resource = Resource::from_json(kind, json).unwrap();
    let view = store.read(&ReadSet::new().key(resource.key()), WITHIN).await.unwrap();
    let expect = match view.resource(&resource.key()).flatten() {
        Some((_, revision)) => Expect::Revision(revision.clone()),
        None => Expect::Absent,
    };
    let mut batch = Batch::new();
    batch.put(resource.key(), expect, Value::Resource(resource));
    let report = store.commit(&batch, WITHIN).await.unwrap();
    assert!(report.is_applied(), "{report:?}");
}
