//! A cluster in memory with a clock that is moved by hand.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use api::{
    Affinity, AffinityState, Attribute, Block, BlockCidr, Cidr, Handle, HandleId, IpamConfig, Key, Kind,
    Owner, Record, Resource, Timestamp, Use, Value,
};
use ipam::invariants::Violation;
use ipam::{
    AssignIp, AutoAssign, AutoAssigned, HandleRelease, Planner, ReleaseAffinities, ReleaseByHandle,
    ReleaseIp, ReleaseIps, ReleasedIps, RunError, Which, invariants,
};
use serde_json::json;
use store::testing::{FaultPlan, Faulty, Step};
use store::{Effects, MemoryStore, Store};

pub const WITHIN: Duration = Duration::from_secs(90);

/// Time that moves a little whenever it is asked, and as far as somebody sleeps.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    nanos: AtomicU64,
    drawn: AtomicU64,
}

impl Clock {
    pub fn new(seed: u64) -> Clock {
        Clock(Arc::new(Inner {
            nanos: AtomicU64::new(1_785_578_400_000_000_000),
            drawn: AtomicU64::new(seed),
        }))
    }

    pub fn advance(&self, seconds: u64) {
        self.0.nanos.fetch_add(seconds * 1_000_000_000, Ordering::Relaxed);
    }

    fn nanos(&self) -> u64 {
        self.0.nanos.fetch_add(1_000, Ordering::Relaxed)
    }
}

impl Effects for Clock {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanosecond(self.nanos().into()).unwrap()
    }

    fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.nanos())
    }

    fn seed(&self) -> u64 {
        // SplitMix64.
        let mut z = self.0.drawn.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    async fn sleep(&self, time: Duration) {
        self.0.nanos.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
        tokio::task::yield_now().await;
    }
}

/// A cluster.
#[derive(Clone, Debug)]
pub struct World {
    pub store: MemoryStore,
    pub clock: Clock,
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

pub fn block_cidr(text: &str) -> BlockCidr {
    text.parse().unwrap()
}

pub fn host(name: &str) -> Owner {
    Owner::Host(name.to_string())
}

pub fn handle(id: &str) -> HandleId {
    HandleId::new(id).unwrap()
}

pub fn just(addr: &str) -> ReleaseIp {
    ReleaseIp { addr: ip(addr), handle: None, sequence: None }
}

/// A request of a pod on a host, for so many addresses.
pub fn request(name: &str, id: &str, v4: u32, v6: u32) -> AutoAssign {
    let attributes = [("node", name), ("pod", id), ("namespace", "default")];
    AutoAssign {
        v4,
        v6,
        handle: HandleId::new(id),
        attributes: attributes.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
        ..AutoAssign::new(name, Use::Workload)
    }
}

/// A request for one address by name.
pub fn request_ip(name: &str, id: &str, addr: &str) -> AssignIp {
    AssignIp {
        addr: ip(addr),
        host: name.to_string(),
        intended_use: Some(Use::Workload),
        handle: HandleId::new(id),
        attributes: BTreeMap::from([("node".to_string(), name.to_string())]),
        max_per_handle: None,
    }
}

/// A pool whose blocks are all another's, full, and claimed long ago.
pub fn full_pool(cidr_text: &str, size: u8, except: usize, cooldown: i64) -> World {
    let world = World::with_pool(cidr_text, size);
    world.config(|c| c.cooldown_seconds = cooldown);
    let pool = cidr(cidr_text);
    let n = 1u128 << (size - pool.prefix());
    let per = 1u128 << (32 - size);
    let now = api::Timestamp::from_second(1_700_000_000).unwrap();
    let attribute = Arc::new(Attribute { handle_id: Some("x".into()), ..Attribute::default() });
    let owner = host("other");
    for i in 0..n - except as u128 {
        let block = BlockCidr::holding(api::cidr::offset(pool.first(), i * per), size).unwrap();
        let mut made = ipam::block::create(block, &owner, None, now);
        ipam::block::assign(&mut made, per as u32, None, &attribute, &Default::default()).unwrap();
        world.store.put(Key::Block(block), Value::Block(made));
        let key = Key::Affinity { owner: owner.clone(), block };
        world.store.put(key, Value::Affinity(Affinity::new(AffinityState::Confirmed)));
    }
    world
}

/// Host `a` owns that many blocks, from the start of a pool on, and may own any number. Each block has one
/// free address if it is among `roomy`, else none. Its other addresses are one pod's.
pub fn one_host(blocks: u32, roomy: &[u32]) -> World {
    let world = World::with_pool("10.0.0.0/16", 30);
    world.config(|config| config.max_blocks_per_host = -1);
    let now = Timestamp::from_second(1_700_000_000).unwrap();
    for n in 0..blocks {
        let block = BlockCidr::holding(api::cidr::offset(ip("10.0.0.0"), u128::from(n) * 4), 30).unwrap();
        let mut made = ipam::block::create(block, &host("a"), None, now);
        let id = format!("pod{n}");
        let attribute = Arc::new(Attribute { handle_id: Some(id.clone()), ..Attribute::default() });
        let taken = if roomy.contains(&n) { 3 } else { 4 };
        ipam::block::assign(&mut made, taken, None, &attribute, &Default::default()).unwrap();
        world.store.put(Key::Block(block), Value::Block(made));
        let key = Key::Affinity { owner: host("a"), block };
        world.store.put(key, Value::Affinity(Affinity::new(AffinityState::Confirmed)));
        let counted = Handle { blocks: [(block, taken)].into(), deleted: false };
        world.store.put(Key::Handle(handle(&id)), Value::Handle(counted));
    }
    world
}

/// The world's store with faults, which does something at each step of a call.
pub fn stepped(
    world: &World,
    plan: FaultPlan,
    what: impl Fn(&World, Step) + Send + Sync + 'static,
) -> Faulty<MemoryStore> {
    let world = world.clone();
    let store = world.store.clone();
    let hook = move |step| {
        // A request of its own may run at that step.
        std::thread::scope(|scope| scope.spawn(|| what(&world, step)).join()).unwrap();
        Box::pin(async {}) as std::pin::Pin<Box<dyn Future<Output = ()> + Send>>
    };
    Faulty::new(store, plan).with_hook(Arc::new(hook))
}

/// What a user is told, in Calico's words.
pub fn words(assigned: &ipam::Assigned) -> Vec<String> {
    assigned.messages.iter().map(ToString::to_string).collect()
}

impl World {
    pub fn new() -> World {
        World { store: MemoryStore::new(), clock: Clock::new(1) }
    }

    /// A cluster of hosts `a`, `b`, `c` with a pool.
    pub fn with_pool(cidr: &str, block_size: u8) -> World {
        let world = World::new();
        world.pool("pool", cidr, block_size);
        ["a", "b", "c"].iter().for_each(|name| world.node(name, &[]));
        world
    }

    pub fn resource(&self, kind: Kind, name: &str, spec: serde_json::Value, labels: &[(&str, &str)]) {
        let labels: BTreeMap<_, _> = labels.iter().copied().collect();
        let document = json!({"metadata": {"name": name, "labels": labels}, "spec": spec});
        let resource = Resource::from_json(kind, document).unwrap();
        self.store.put(Key::global(kind, name), Value::Resource(resource));
    }

    pub fn pool(&self, name: &str, cidr: &str, block_size: u8) {
        self.pool_with(name, json!({"cidr": cidr, "blockSize": block_size}));
    }

    pub fn pool_with(&self, name: &str, spec: serde_json::Value) {
        self.resource(Kind::IPPool, name, spec, &[]);
    }

    pub fn node(&self, name: &str, labels: &[(&str, &str)]) {
        self.resource(Kind::Node, name, json!({}), labels);
    }

    pub fn reserve(&self, cidrs: &[&str]) {
        self.resource(Kind::IPReservation, "reserved", json!({"reservedCIDRs": cidrs}), &[]);
    }

    pub fn config(&self, change: impl FnOnce(&mut IpamConfig)) {
        let mut config = IpamConfig::default();
        change(&mut config);
        self.store.put(Key::IpamConfig, Value::IpamConfig(config));
    }

    pub fn delete(&self, key: Key) {
        let record = self.record(&key).unwrap();
        let mut batch = store::Batch::new();
        batch.delete(key, store::Expect::Revision(record.revision.clone()));
        assert!(block_on(self.store.commit(&batch, WITHIN)).unwrap().is_applied());
    }

    pub fn affinity(&self, owner: &str, block: &str, state: AffinityState) {
        let key = Key::Affinity { owner: host(owner), block: block_cidr(block) };
        self.store.put(key, Value::Affinity(Affinity::new(state)));
    }

    pub fn run<P: Planner>(&self, planner: P) -> Result<P::Answer, RunError<P::Error>> {
        block_on(ipam::run(&self.store, &self.clock, planner, WITHIN))
    }

    pub fn auto(&self, request: AutoAssign) -> AutoAssigned {
        let answer = self.run(request.planner()).unwrap();
        self.check();
        answer
    }

    /// The one IPv4 address of a pod.
    pub fn add(&self, name: &str, id: &str) -> IpAddr {
        let answer = self.auto(request(name, id, 1, 0));
        assert_eq!(answer.v4.shortage(api::Family::V4, None), None, "{answer:?}");
        answer.v4.addresses[0].addr
    }

    pub fn assign(&self, request: AssignIp) -> Result<(), String> {
        let answer = self.run(request.planner()).map_err(|error| error.to_string());
        self.check();
        answer
    }

    pub fn release(&self, ips: Vec<ReleaseIp>) -> ReleasedIps {
        let answer = self.run(ReleaseIps::new(ips).planner()).unwrap();
        self.check();
        answer
    }

    pub fn del(&self, id: &str) -> HandleRelease {
        let answer = self.run(ReleaseByHandle::new(vec![handle(id)], None).planner()).unwrap();
        self.check();
        answer.into_iter().next().unwrap()
    }

    pub fn release_affinities(&self, which: Which, must_be_empty: bool) -> ipam::ReleasedAffinities {
        let answer = self.run(ReleaseAffinities { which, must_be_empty }.planner()).unwrap();
        self.check();
        answer
    }

    pub fn record(&self, key: &Key) -> Option<Arc<Record>> {
        self.store.records().into_iter().find(|record| record.key == *key)
    }

    pub fn blocks(&self) -> Vec<Block> {
        self.store.records().iter().filter_map(|record| record.block().cloned()).collect()
    }

    pub fn block(&self, cidr: &str) -> Option<Block> {
        self.record(&Key::Block(block_cidr(cidr))).and_then(|record| record.block().cloned())
    }

    pub fn handle(&self, id: &str) -> Option<Handle> {
        self.record(&Key::Handle(handle(id))).and_then(|record| record.handle().cloned())
    }

    pub fn handles(&self) -> usize {
        self.store.records().iter().filter(|record| record.handle().is_some()).count()
    }

    /// The affinities, as `owner block state`.
    pub fn affinities(&self) -> Vec<String> {
        let records = self.store.records();
        let text = |record: &Arc<Record>| match (&record.key, record.affinity()) {
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
                if let Some(attribute) = block.attribute(ordinal).filter(|a| a.released_at.is_none()) {
                    let addr = block.cidr.addr(ordinal).unwrap();
                    assigned.insert(addr, attribute.handle().unwrap_or_default().to_string());
                }
            }
        }
        assigned
    }

    /// What holds while requests are under way, or were cut short.
    pub fn check(&self) {
        self.demand(invariants::check(&self.store.records(), None));
    }

    /// Also demands that each handle counts exactly what the blocks hold for it. That is so only if every
    /// request has ended, and none was cut short.
    pub fn check_at_rest(&self) {
        self.demand(invariants::check_at_rest(&self.store.records(), None));
    }

    fn demand(&self, violations: Vec<Violation>) {
        // What is wrong with a pool or a reservation, the test itself has written.
        let is_the_tests =
            |v: &Violation| matches!(v, Violation::Unreadable { key: Some(Key::Resource { .. }), .. });
        let texts: Vec<String> =
            violations.iter().filter(|v| !is_the_tests(v)).map(|violation| violation.to_string()).collect();
        assert!(texts.is_empty(), "{texts:#?}");
    }
}
