//! What a plan costs: everything is in the view, nothing is serialised.

use std::hint::black_box;
use std::sync::Arc;

use api::{
    Affinity, AffinityState, Attribute, Block, BlockCidr, HandleId, Key, Kind, Owner, Record, Resource,
    Revision, Timestamp, Use, Value,
};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use ipam::{AutoAssign, Plan, Planner};
use serde_json::json;
use store::{Depth, Event, Scope, View};

fn now() -> Timestamp {
    Timestamp::from_second(1_785_578_400).expect("it is a valid time")
}

fn put(view: &mut View, key: Key, value: Value) {
    view.insert_record(Arc::new(Record { key, value, revision: Revision::from(42) }));
}

fn resource(view: &mut View, kind: Kind, name: &str, spec: serde_json::Value, labels: serde_json::Value) {
    let document = json!({"metadata": {"name": name, "labels": labels}, "spec": spec});
    let resource = Resource::from_json(kind, document).expect("it is a resource");
    put(view, Key::global(kind, name), Value::Resource(resource));
}

/// Eight pools, one of which selects the node.
fn cluster(owner: &Owner) -> View {
    let mut view = View::new();
    for rack in 0..8 {
        let spec = json!({"cidr": format!("10.{rack}.0.0/16"), "blockSize": 26, "nodeSelector": format!("rack == '{rack}'")});
        resource(&mut view, Kind::IPPool, &format!("rack-{rack}"), spec, json!({}));
    }
    let labels = json!({"rack": "3", "kubernetes.io/os": "linux", "kubernetes.io/hostname": "node1"});
    resource(&mut view, Kind::Node, "node1", json!({}), labels);
    view.complete(Scope::kind(Kind::IPPool), Depth::Full);
    view.complete(Scope::kind(Kind::IPReservation), Depth::Full);
    view.complete(
        Scope::Affinities { owner: Some(owner.clone()), family: Some(api::Family::V4) },
        Depth::Full,
    );
    view.insert(Key::IpamConfig, store::Slot::Absent);
    view.insert(Key::Handle(handle(1000)), store::Slot::Absent);
    view
}

/// As the plugin names them: a container's ID is 64 digits of chance.
fn handle(n: u32) -> HandleId {
    let word = |salt: u64| (u64::from(n) + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    let id: String = (0..4).map(|salt| format!("{:016x}", word(salt))).collect();
    HandleId::new(&format!("k8s-pod-network.{id}")).expect("it is a legal name")
}

fn attributes(n: u32) -> std::collections::BTreeMap<String, String> {
    let timestamp = format!("2026-08-01 10:00:03.{n:09} +0000 UTC");
    let pod = format!("nginx-{n}");
    [("namespace", "default"), ("node", "node1"), ("pod", &pod), ("timestamp", &timestamp)]
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .into()
}

/// A block of which half is assigned, each address to a pod of its own.
fn half_full(cidr: BlockCidr, owner: &Owner) -> Block {
    let mut block = ipam::block::create(cidr, owner, None, now());
    for n in 0..cidr.size() / 2 {
        let id = Some(handle(n).as_str().to_string());
        let attribute = Arc::new(Attribute { handle_id: id, owner: attributes(n), ..Attribute::default() });
        let taken = ipam::block::assign(&mut block, 1, None, &attribute, &Default::default());
        assert_eq!(taken.map(|t| t.len()), Ok(1));
        ipam::block::bump(&mut block);
    }
    block
}

fn request() -> AutoAssign {
    AutoAssign {
        v4: 1,
        handle: Some(handle(1000)),
        attributes: attributes(1000),
        ..AutoAssign::new("node1", Use::Workload)
    }
}

/// A plan changes nothing that the next one rests on; so one planner plans over and over. What a plan made is
/// dropped within the time.
fn measure(c: &mut Criterion, name: &str, view: &View, writes: usize) {
    let mut planner = request().planner();
    let mut plan = || planner.plan(black_box(view), now(), 7);
    match plan() {
        Ok(Plan::Commit { batch, .. }) => assert_eq!(batch.writes.len(), writes),
        other => panic!("no commit but {other:?}"),
    }
    c.bench_function(name, |b| b.iter(&mut plan));
}

/// A view that a watch keeps of 150,000 blocks: a plan on a clone of it, and an event while somebody holds a
/// clone. Neither copies the view.
fn large(c: &mut Criterion, small: &View, block: &Block) {
    let all = Scope::Blocks { family: None };
    let pool: api::Cidr = "11.0.0.0/8".parse().expect("it is a network");
    let apply = |n: u32, revision: i64| {
        let addr = api::cidr::offset(pool.first(), (n * 64).into());
        let key = Key::Block(BlockCidr::holding(addr, 26).expect("it is a block"));
        let value = Value::Block(block.clone());
        Event::Apply(Arc::new(Record { key, value, revision: Revision::from(revision) }))
    };
    let mut view = small.clone();
    (0..150_000).for_each(|n| view.fold(&all, &apply(n, 1)));
    c.bench_function("one address on a clone of a kept view of 150,000 blocks", |b| {
        let mut planner = request().planner();
        b.iter(|| planner.plan(black_box(&view.clone()), now(), 7));
    });
    let mut revision = 1;
    c.bench_function("an event for a kept view of 150,000 blocks of which there is a clone", |b| {
        b.iter_batched_ref(
            || {
                revision += 1;
                (view.clone(), apply(revision as u32 % 150_000, revision))
            },
            |(view, event)| view.fold(&all, event),
            BatchSize::SmallInput,
        );
    });
}

fn benches(c: &mut Criterion) {
    let owner = Owner::Host("node1".to_string());
    let cidr: BlockCidr = "10.3.7.0/26".parse().expect("it is a block");

    let mut warm = cluster(&owner);
    put(
        &mut warm,
        Key::Affinity { owner: owner.clone(), block: cidr },
        Value::Affinity(Affinity::new(AffinityState::Confirmed)),
    );
    put(&mut warm, Key::Block(cidr), Value::Block(half_full(cidr, &owner)));
    measure(c, "one address of an own block that is half full", &warm, 2);

    let mut first = cluster(&owner);
    let pool: api::Cidr = "10.3.0.0/16".parse().expect("it is a network");
    for n in 0..1000 {
        let addr = api::cidr::offset(pool.first(), n * 64);
        let block = BlockCidr::holding(addr, 26).expect("it is a block");
        first.insert(Key::Block(block), store::Slot::Key(Revision::from(1)));
    }
    first.complete(Scope::Blocks { family: Some(api::Family::V4) }, Depth::Key);
    measure(c, "a first block in a pool of 1,000 of 1,024", &first, 5);

    large(c, &warm, &half_full(cidr, &owner));
}

criterion_group!(plan, benches);
criterion_main!(plan);
