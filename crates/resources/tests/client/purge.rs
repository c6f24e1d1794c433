//! Purges: of stores in use, of stores that fail, and of stores that others go on writing to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::capability::Backend;
use api::{HandleId, Key, Kind, Use, Value};
use ipam::AutoAssign;
use resources::purge::{Purging, Survey};
use serde_json::json;
use store::testing::fault::{CommitFault, FaultPlan, Faulty, Hook, Step};
use store::{Batch, MemoryStore, Outcome, ReadSet, Refusal, Report, Scope, Store, StoreError, View};

use crate::common::{Fixed, WITHIN, assign, client, pool, resource, run};

/// A store with two pools, nodes, and addresses of workloads.
fn world() -> (MemoryStore, Fixed) {
    let (store, effects) = (MemoryStore::new(), Fixed::default());
    run(client(&store, &effects).ensure_initialised()).unwrap();
    run(client(&store, &effects).create(&pool("a", "10.0.0.0/24"))).unwrap();
    run(client(&store, &effects).create(&pool("b", "10.1.0.0/24"))).unwrap();
    for handle in ["h1", "h2", "h3"] {
        assign(&store, &effects, "n1", handle, 2);
    }
    assign(&store, &effects, "n2", "h4", 1);
    (store, effects)
}

/// Gives a node the address of a tunnel.
fn tunnel(store: &MemoryStore, effects: &Fixed, host: &str) {
    let mut request = AutoAssign::new(host, Use::Tunnel);
    request.handle = HandleId::new(&format!("vxlan-tunnel-addr-{host}"));
    request.attributes = BTreeMap::from([
        ("node".to_string(), host.to_string()),
        ("type".to_string(), "vxlanTunnelAddress".to_string()),
    ]);
    request.v4 = 1;
    assert_eq!(run(ipam::run(store, effects, request.planner(), WITHIN)).unwrap().v4.addresses.len(), 1);
}

/// A store with a pool, and a node with the address of a tunnel.
fn world_of_a_tunnel() -> (MemoryStore, Fixed) {
    let (store, effects) = (MemoryStore::new(), Fixed::default());
    run(client(&store, &effects).ensure_initialised()).unwrap();
    run(client(&store, &effects).create(&pool("a", "10.0.0.0/24"))).unwrap();
    run(client(&store, &effects).create(&resource(Kind::Node, "n1", json!({})))).unwrap();
    tunnel(&store, &effects, "n1");
    (store, effects)
}

fn purging<'a, S: Store>(store: &'a S, effects: &'a Fixed) -> Purging<'a, S, Fixed> {
    Purging::new((store, effects), Backend::Embedded, WITHIN, |_| false, &[])
}

fn survey(store: &MemoryStore) -> Survey {
    run(purging(store, &Fixed::default()).survey()).unwrap()
}

fn keys(store: &MemoryStore) -> Vec<String> {
    store.records().iter().map(|record| record.key.to_string()).collect()
}

#[test]
fn who_has_addresses_is_said_first() {
    let (store, effects) = world();
    tunnel(&store, &effects, "n2");
    let before = keys(&store);
    let survey = survey(&store);
    let in_use = &survey.in_use;
    assert_eq!((in_use.addresses(), in_use.workloads, in_use.tunnels), (8, 7, 1));
    assert_eq!(in_use.nodes, BTreeMap::from([("n1".to_string(), 6), ("n2".to_string(), 2)]));
    let pools: Vec<_> = in_use.pools.iter().map(|one| (one.pool.name.as_str(), one.addresses)).collect();
    assert_eq!(pools.iter().map(|(_, count)| count).sum::<u64>(), 8, "{pools:?}");
    assert_eq!(pools.len(), 2);
    assert_eq!(in_use.first.len(), 7);
    assert_eq!((in_use.first[0].name.as_str(), in_use.first[0].node.as_str()), ("h1", "n1"));
    assert_eq!(survey.records.total(), before.len());
    assert_eq!(keys(&store), before, "nothing is changed");
}

#[test]
fn the_first_ten_workloads_are_named() {
    let (store, effects) = world();
    assign(&store, &effects, "n1", "h5", 9);
    let in_use = survey(&store).in_use;
    assert_eq!((in_use.first.len(), in_use.workloads), (10, 16));
}

#[test]
fn everything_goes() {
    let (store, effects) = world();
    let total = store.records().len();
    let mut purging = purging(&store, &effects).with_what_is_used();
    let mut told = 0;
    run(purging.run(|count| told = count)).unwrap();
    assert_eq!(keys(&store), [] as [&str; 0]);
    assert_eq!((purging.removed().total(), told), (total, total));
    assert!(purging.stays().is_empty(), "{:?}", purging.stays());
    // Another purge finds nothing, and is no error.
    run(self::purging(&store, &effects).run(|_| {})).unwrap();
}

#[test]
fn blocks_of_workloads_stay_with_all_that_they_need() {
    let (store, effects) = world();
    let mut purging = purging(&store, &effects);
    run(purging.run(|_| {})).unwrap();
    let left = keys(&store);
    assert!(left.iter().any(|key| key.starts_with("IPAMHandle(h1") || key.contains("h1")), "{left:?}");
    let blocks = store.records().iter().filter(|record| record.block().is_some()).count();
    let affinities =
        store.records().iter().filter(|record| matches!(record.key, Key::Affinity { .. })).count();
    assert_eq!(purging.stays().len(), blocks);
    assert_eq!(affinities, blocks, "an affinity goes with its block alone");
    assert!(purging.stays().values().all(|reason| reason.starts_with("workloads have ")));
    assert_eq!(run(client(&store, &effects).is_ready()).unwrap(), Some(false), "the lock stays");
    let pools = store.records().iter().filter(|record| matches!(&record.key, Key::Resource { .. })).count();
    assert_eq!(pools, 1, "of the resources only the ClusterInformation is left: {left:?}");
    assert_eq!(legal(&store), Ok(()));
}

#[test]
fn tunnels_keep_nothing() {
    let (store, effects) = world_of_a_tunnel();
    assert!(!survey(&store).in_use.has_workloads());
    run(purging(&store, &effects).run(|_| {})).unwrap();
    assert_eq!(keys(&store), [] as [&str; 0]);
}

#[test]
fn a_block_that_cannot_be_read_counts_as_in_use() {
    let (store, effects) = (MemoryStore::new(), Fixed::default());
    let block = Key::from_etcd_path("/calico/ipam/v2/assignment/ipv4/block/10.0.0.0-30").unwrap();
    store.put_text(block.clone(), "{");
    let in_use = survey(&store).in_use;
    assert!(in_use.has_workloads(), "{in_use:?}");
    assert_eq!(in_use.unreadable.len(), 1);
    let mut kept = purging(&store, &effects);
    run(kept.run(|_| {})).unwrap();
    assert!(kept.stays()[&block].contains("cannot be read"), "{:?}", kept.stays());
    let mut purging = purging(&store, &effects).with_what_is_used();
    run(purging.run(|_| {})).unwrap();
    assert_eq!(keys(&store), [] as [&str; 0]);
}

/// What must hold of the records at each moment of a purge.
fn legal(store: &MemoryStore) -> Result<(), String> {
    let records = store.records();
    let mut counted: BTreeMap<(String, Key), i64> = BTreeMap::new();
    for block in records.iter().filter_map(|record| record.block()) {
        for ordinal in 0..block.cidr.size() {
            let handle = block.attribute(ordinal).and_then(|attribute| attribute.handle_id.clone());
            if let Some(handle) = handle {
                *counted.entry((handle, Key::Block(block.cidr))).or_default() += 1;
            }
        }
    }
    for ((handle, block), count) in counted {
        let record = records.iter().filter_map(|record| record.handle().zip(Some(&record.key)));
        let found = record
            .filter(|(_, key)| matches!(key, Key::Handle(id) if id.as_str() == handle))
            .find_map(|(found, _)| match &block {
                Key::Block(block) => found.blocks.get(block).copied(),
                _ => None,
            });
        if found.is_none_or(|found| i64::from(found) < count) {
            return Err(format!("{handle} counts {found:?} addresses of {block}, which holds {count}"));
        }
    }
    Ok(())
}

#[test]
fn every_prefix_is_a_legal_state() {
    let (memory, effects) = world();
    let blocks = |store: &MemoryStore| store.records().iter().filter(|one| one.block().is_some()).count();
    let all = blocks(&memory);
    let faults: Arc<Mutex<Vec<String>>> = Arc::default();
    let (seen, told) = (memory.clone(), faults.clone());
    let hook: Hook = Arc::new(move |step| {
        if let Step::AfterWrite(_) = step {
            let mut faults = told.lock().unwrap();
            faults.extend(legal(&seen).err());
            let records = seen.records();
            let has = |kind| {
                records.iter().any(|one| matches!(one.key, Key::Resource { kind: k, .. } if k == kind))
            };
            if blocks(&seen) < all && has(Kind::IPPool) {
                faults.push("a block is gone while a pool is there".to_string());
            }
            if !records.is_empty() && !has(Kind::ClusterInformation) {
                faults.push(format!("the lock is gone before {} others", records.len()));
            }
        }
        Box::pin(std::future::ready(()))
    });
    let store = Faulty::new(memory.clone(), FaultPlan::like_kubernetes()).with_hook(hook);
    run(purging(&store, &effects).with_what_is_used().run(|_| {})).unwrap();
    assert_eq!(keys(&memory), [] as [&str; 0]);
    assert_eq!(*faults.lock().unwrap(), [] as [&str; 0]);
}

/// Whatever reply is lost, and whenever the purge ends: the same purge again leaves nothing.
#[test]
fn a_purge_that_fails_goes_on() {
    let lost = |answered, lost, landed| CommitFault::ReplyLost { answered, lost, landed };
    for commit in 0..8 {
        for fault in [
            lost(0, 1, true),
            lost(0, 1, false),
            lost(1, 1, true),
            CommitFault::Crash { writes: 1 },
            CommitFault::Unsent,
        ] {
            let (memory, effects) = world();
            let plan = FaultPlan::like_kubernetes().fault(commit, fault);
            let store = Faulty::new(memory.clone(), plan);
            let first = run(purging(&store, &effects).with_what_is_used().run(|_| {}));
            if first.is_err() {
                assert_eq!(legal(&memory), Ok(()), "{commit} {fault:?}");
                store.revive();
                run(purging(&store, &effects).with_what_is_used().run(|_| {})).unwrap();
            }
            assert_eq!(keys(&memory), [] as [&str; 0], "{commit} {fault:?}");
        }
    }
}

/// An address that somebody gets after the look stays, and with it what it needs.
#[test]
fn what_is_assigned_meanwhile_is_kept() {
    let (memory, effects) = world_of_a_tunnel();
    // The purge has seen the block with a tunnel's address alone. Before it deletes the block, a pod gets an
    // address of it.
    let (other, done) = (memory.clone(), AtomicBool::new(false));
    let hook: Hook = Arc::new(move |step| {
        let block = other.records().into_iter().find(|record| record.block().is_some());
        let resources = other.records().iter().filter(|one| matches!(one.key, Key::Resource { .. })).count();
        if let (Step::BeforeWrite(0), Some(record), 1) = (step, block, resources)
            && !done.swap(true, Ordering::Relaxed)
        {
            let mut block = record.block().unwrap().clone();
            let ordinal = block.unallocated.remove(0);
            let mut attribute = block.attributes[0].as_ref().clone();
            attribute.handle_id = Some("vxlan-tunnel-addr-n1".to_string());
            attribute.owner = BTreeMap::from([("pod".to_string(), "late".to_string())]);
            block.allocations[ordinal as usize] = Some(block.attributes.len() as u32);
            block.attributes.push(Arc::new(attribute));
            other.put(record.key.clone(), Value::Block(block));
        }
        Box::pin(std::future::ready(()))
    });
    let store = Faulty::new(memory.clone(), FaultPlan::like_kubernetes()).with_hook(hook);
    let mut purging = purging(&store, &effects);
    run(purging.run(|_| {})).unwrap();
    let reasons: Vec<&str> = purging.stays().values().map(String::as_str).collect();
    assert_eq!(reasons, ["workloads have 1 of its addresses"]);
    assert!(memory.records().iter().any(|record| record.block().is_some()));
}

/// A store that refuses to delete a record.
struct Refusing {
    inner: MemoryStore,
    key: Key,
    refused: AtomicU32,
}

impl Store for Refusing {
    type Watch = <MemoryStore as Store>::Watch;

    async fn read(&self, set: &ReadSet, within: Duration) -> Result<View, StoreError> {
        self.inner.read(set, within).await
    }

    async fn commit(&self, batch: &Batch, within: Duration) -> Result<Report, StoreError> {
        let refused =
            batch.writes.iter().position(|write| write.key == self.key && write.op == store::Op::Delete);
        let Some(at) = refused else { return self.inner.commit(batch, within).await };
        self.refused.fetch_add(1, Ordering::Relaxed);
        let before = Batch { writes: batch.writes[..at].to_vec(), ..Batch::default() };
        let mut report = match before.is_empty() {
            true => Report::default(),
            false => self.inner.commit(&before, within).await?,
        };
        report.outcomes.push(Outcome::Refused(Refusal::Denied("not yours".to_string())));
        report.outcomes.resize(batch.writes.len(), Outcome::NotTried);
        Ok(report)
    }

    async fn watch(&self, scope: Scope) -> Result<Self::Watch, StoreError> {
        self.inner.watch(scope).await
    }
}

#[test]
fn a_record_that_cannot_be_deleted_is_named_and_keeps_no_other() {
    let handle = Key::Handle(HandleId::new("h2").unwrap());
    for key in [Key::global(Kind::IPPool, "a"), Key::global(Kind::Tier, "default"), handle] {
        let (memory, effects) = world();
        let store = Refusing { inner: memory.clone(), key: key.clone(), refused: AtomicU32::new(0) };
        let mut purging = purging(&store, &effects).with_what_is_used();
        run(purging.run(|_| {})).unwrap();
        assert_eq!(purging.stays(), &BTreeMap::from([(key, "not yours".to_string())]));
        assert_eq!(store.refused.load(Ordering::Relaxed), 1, "it is not tried again");
        assert_eq!(memory.records().len(), 2, "{:?}", keys(&memory));
        assert_eq!(run(client(&memory, &effects).is_ready()).unwrap(), Some(false), "the lock stays");
    }
}

/// Somebody who writes again and again is told, and the purge ends.
#[test]
fn a_writer_who_does_not_stop_is_told() {
    let (memory, effects) = world();
    let other = memory.clone();
    let hook: Hook = Arc::new(move |step| {
        if step == Step::BeforeRead {
            let node = resource(Kind::Node, "n9", json!({}));
            other.put(node.key(), Value::Resource(node));
        }
        Box::pin(std::future::ready(()))
    });
    let store = Faulty::new(memory, FaultPlan::default()).with_hook(hook);
    let mut purging = purging(&store, &effects).with_what_is_used();
    run(purging.run(|_| {})).unwrap();
    let stays: Vec<String> = purging.stays().iter().map(|(key, reason)| format!("{key}: {reason}")).collect();
    assert_eq!(stays, ["Node(n9): it is written again and again: stop whoever uses the datastore"]);
}

/// In Kubernetes, Nodes and endpoints are not the store's own.
#[test]
fn what_is_kubernetes_own_stays() {
    let (memory, effects) = world();
    let mut purging = Purging::new(
        (&memory, &effects),
        Backend::Kubernetes,
        WITHIN,
        |scope| *scope == Scope::kind(Kind::Tier),
        &[],
    )
    .with_what_is_used();
    run(purging.run(|_| {})).unwrap();
    let left = keys(&memory);
    assert!(left.iter().all(|key| key.starts_with("Node(") || key.starts_with("Tier(")), "{left:?}");
    assert_eq!(left.len(), 5, "{left:?}");
}

#[test]
fn finalizers_are_taken_from_pools() {
    let (memory, effects) = world();
    let kept = |finalizers: &[&str]| {
        let pool = pool("c", "10.2.0.0/24").with(|metadata, _| {
            metadata.rest.insert("finalizers".to_string(), json!(finalizers));
        });
        memory.put(pool.key(), Value::Resource(pool));
    };
    kept(&["example.org/mine", "projectcalico.org/ippool-finalizer"]);
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let (told, other) = (seen.clone(), memory.clone());
    let hook: Hook = Arc::new(move |step| {
        if let Step::AfterWrite(_) = step {
            let key = Key::global(Kind::IPPool, "c");
            let pool = other.records().into_iter().find(|record| record.key == key);
            let finalizers =
                pool.and_then(|pool| pool.resource()?.metadata().rest.get("finalizers").cloned());
            told.lock().unwrap().extend(finalizers.map(|one| one.to_string()));
        }
        Box::pin(std::future::ready(()))
    });
    let store = Faulty::new(memory.clone(), FaultPlan::like_kubernetes()).with_hook(hook);
    let lacks_nothing = |_: &Scope| false;
    let mut purging =
        Purging::new((&store, &effects), Backend::Kubernetes, WITHIN, lacks_nothing, &[]).with_what_is_used();
    run(purging.run(|_| {})).unwrap();
    let seen = seen.lock().unwrap();
    assert!(seen.iter().any(|one| one == r#"["example.org/mine"]"#), "another's finalizer stays: {seen:?}");
}
