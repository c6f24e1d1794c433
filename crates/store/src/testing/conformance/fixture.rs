//! Keys, values and shorthands for calls.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::{
    Affinity, AffinityState, Attribute, Block, BlockCidr, Handle, HandleId, Key, Kind, Owner, Record,
    Resource, Revision, Value,
};
use serde_json::json;

use crate::batch::{Batch, Expect, Op, Outcome, Report, Write};
use crate::port::Store;
use crate::read::{Depth, ReadSet, Scope};
use crate::view::View;

pub(super) const WITHIN: Duration = Duration::from_secs(20);

pub(super) fn handle(name: &str) -> Key {
    Key::Handle(HandleId::new(name).unwrap())
}

pub(super) fn cidr(text: &str) -> BlockCidr {
    text.parse().unwrap()
}

pub(super) fn block(text: &str) -> Key {
    Key::Block(cidr(text))
}

pub(super) fn host(name: &str) -> Owner {
    Owner::Host(name.to_string())
}

pub(super) fn affinity(owner: &Owner, text: &str) -> Key {
    Key::Affinity { owner: owner.clone(), block: cidr(text) }
}

pub(super) fn endpoint(namespace: &str, name: &str) -> Key {
    Key::Resource {
        kind: Kind::WorkloadEndpoint,
        namespace: Some(namespace.to_string()),
        name: name.to_string(),
    }
}

/// A handle with that count.
pub(super) fn counted(count: u32) -> Value {
    Value::Handle(Handle { blocks: BTreeMap::from([(cidr("10.0.0.0/26"), count)]), deleted: false })
}

pub(super) fn in_state(state: AffinityState) -> Value {
    Value::Affinity(Affinity::new(state))
}

/// A block with its first address taken.
pub(super) fn block_value(text: &str, owner: &Owner, sequence_number: u64) -> Value {
    let cidr = cidr(text);
    let size = cidr.size();
    let mut allocations = vec![None; size as usize];
    allocations[0] = Some(0);
    let attribute = Attribute { handle_id: Some("h".to_string()), ..Attribute::default() };
    Value::Block(Block {
        cidr,
        affinity: Some(owner.affinity_text().into()),
        affinity_claim_time: None,
        allocations,
        unallocated: (1..size).collect(),
        attributes: vec![Arc::new(attribute)],
        sequence_number,
        sequence_numbers: vec![(0, sequence_number - 1)],
        deleted: false,
        legacy_host_affinity: None,
        residue: None,
    })
}

/// A resource that a backend with schemas accepts, too.
pub(super) fn resource(key: &Key) -> Value {
    let Key::Resource { kind, namespace, name } = key else { panic!("{key} is no resource") };
    let spec = match kind {
        Kind::IPPool => json!({"cidr": "10.0.0.0/16", "blockSize": 26}),
        Kind::WorkloadEndpoint => json!({"node": "node1", "orchestrator": "k8s"}),
        _ => json!({"reservedCIDRs": ["10.0.0.0/30"]}),
    };
    let mut metadata = json!({ "name": name });
    if let Some(namespace) = namespace {
        metadata["namespace"] = json!(namespace);
    }
    Value::Resource(Resource::from_json(*kind, json!({ "metadata": metadata, "spec": spec })).unwrap())
}

pub(super) async fn find<S: Store>(store: &S, key: &Key) -> Option<Arc<Record>> {
    let view = store.read(&ReadSet::new().key(key.clone()), WITHIN).await.unwrap();
    view.full(key).expect("it was asked for in full").cloned()
}

pub(super) async fn scope<S: Store>(store: &S, scope: Scope) -> View {
    let view = store.read(&ReadSet::new().scope(scope.clone(), Depth::Full), WITHIN).await.unwrap();
    assert!(view.is_complete(&scope, Depth::Full), "{scope:?}");
    view
}

/// The keys of a scope whose records a view found.
pub(super) fn keys(view: &View, scope: &Scope) -> Vec<Key> {
    view.slots(scope).filter(|(_, slot)| slot.revision().is_some()).map(|(key, _)| key.clone()).collect()
}

pub(super) async fn commit<S: Store>(store: &S, batch: &Batch) -> Report {
    let report = store.commit(batch, WITHIN).await.unwrap();
    assert_eq!(report.outcomes.len(), batch.writes.len());
    report
}

pub(super) async fn write<S: Store>(store: &S, key: &Key, expect: Expect, op: Op) -> Outcome {
    let mut batch = Batch::new();
    batch.push(Write { key: key.clone(), expect, op });
    commit(store, &batch).await.outcomes.remove(0)
}

pub(super) async fn put<S: Store>(store: &S, key: &Key, expect: Expect, value: Value) -> Outcome {
    write(store, key, expect, Op::Put(Arc::new(value))).await
}

pub(super) async fn create<S: Store>(store: &S, key: &Key, value: Value) -> Revision {
    applied(&put(store, key, Expect::Absent, value).await)
}

pub(super) async fn delete<S: Store>(store: &S, key: &Key) {
    let record = find(store, key).await.expect("there is something to delete");
    applied(&write(store, key, Expect::Revision(record.revision.clone()), Op::Delete).await);
}

/// Stores a value, whatever was stored before.
pub(super) async fn set<S: Store>(store: &S, key: &Key, value: Value) -> Revision {
    let expect = match find(store, key).await {
        Some(record) => Expect::Revision(record.revision.clone()),
        None => Expect::Absent,
    };
    applied(&put(store, key, expect, value).await)
}

pub(super) fn applied(outcome: &Outcome) -> Revision {
    match outcome {
        Outcome::Applied(revision) => revision.clone(),
        other => panic!("not applied: {other:?}"),
    }
}

/// Checks the report of a batch of puts of distinct keys whose write `at` is refused: exactly the applied
/// writes are stored, and they are a prefix that ends before the refused write.
pub(super) async fn check_prefix<S: Store>(store: &S, batch: &Batch, report: &Report, at: usize) {
    assert!(matches!(report.outcomes[at], Outcome::Refused(_)), "{:?}", report.outcomes[at]);
    for (index, (write, outcome)) in batch.writes.iter().zip(&report.outcomes).enumerate() {
        let stored = find(store, &write.key).await;
        let Op::Put(value) = &write.op else { panic!("only puts") };
        let is_stored = stored.as_ref().is_some_and(|record| record.value == **value);
        match outcome {
            Outcome::Applied(revision) => {
                assert!(index < at && is_stored, "write {index} is not stored");
                assert_eq!(stored.map(|record| record.revision.clone()).as_ref(), Some(revision));
            }
            _ => assert!(!is_stored, "write {index} is stored"),
        }
    }
    let first_not_applied = report.outcomes.iter().position(|o| !matches!(o, Outcome::Applied(_)));
    let after = &report.outcomes[first_not_applied.unwrap()..];
    assert!(after.iter().all(|o| matches!(o, Outcome::NotTried | Outcome::Refused(_))), "{after:?}");
    assert_eq!(report.outcomes.iter().filter(|o| matches!(o, Outcome::Refused(_))).count(), 1);
}
