//! Each invariant, once as it holds, and with histories in which it does not.

use api::{Attribute, IpamConfig, Kind, Owner, Resource, Revision, Use};
use serde_json::json;

use super::*;
use crate::plan::{Address, Assigned};
use crate::{ReleaseIp, block};

mod acknowledged;
mod addresses;

/// A small cluster: pool 10.0.0.0/29 with blocks of four addresses, and hosts `a` and `b`.
struct Cluster {
    history: History,
    told: Vec<Violation>,
    seconds: i64,
}

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_785_578_400 + seconds).unwrap()
}

fn cidr(text: &str) -> BlockCidr {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn id(text: &str) -> HandleId {
    HandleId::new(text).unwrap()
}

const FIRST: &str = "10.0.0.0/30";
const SECOND: &str = "10.0.0.4/30";

fn resource(kind: Kind, name: &str, labels: serde_json::Value, spec: serde_json::Value) -> (Key, Value) {
    let document = json!({"metadata": {"name": name, "labels": labels}, "spec": spec});
    (Key::global(kind, name), Value::Resource(Resource::from_json(kind, document).unwrap()))
}

fn pool(change: serde_json::Value) -> (Key, Value) {
    let mut spec = json!({"cidr": "10.0.0.0/29", "blockSize": 30});
    spec.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    resource(Kind::IPPool, "p", json!({}), spec)
}

fn node(name: &str, labels: serde_json::Value) -> (Key, Value) {
    resource(Kind::Node, name, labels, json!({}))
}

fn reserved(cidrs: &[&str]) -> (Key, Value) {
    resource(Kind::IPReservation, "r", json!({}), json!({"reservedCIDRs": cidrs}))
}

fn config(change: impl FnOnce(&mut IpamConfig)) -> (Key, Value) {
    let mut config = IpamConfig::default();
    change(&mut config);
    (Key::IpamConfig, Value::IpamConfig(config))
}

fn assign(host: &str, handle: &str, count: u32) -> Request {
    let attributes = [("pod".to_string(), handle.to_string())].into();
    Request::Assign(AutoAssign {
        v4: count,
        handle: Some(id(handle)),
        attributes,
        ..AutoAssign::new(host, Use::Workload)
    })
}

fn named(host: &str, handle: &str, addr: &str) -> Request {
    Request::Named(AssignIp {
        addr: ip(addr),
        host: host.into(),
        intended_use: Some(Use::Workload),
        handle: Some(id(handle)),
        attributes: BTreeMap::new(),
        max_per_handle: None,
    })
}

fn release(addr: &str, handle: Option<&str>, sequence: Option<u64>) -> Request {
    Request::ReleaseIps(vec![ReleaseIp { addr: ip(addr), handle: handle.map(str::to_string), sequence }])
}

fn got(addresses: &[&str], requested: u32) -> Answer {
    let addresses = addresses.iter().map(|addr| Address { addr: ip(addr), prefix: 30 }).collect();
    let v4 = Assigned { requested, addresses, ..Assigned::default() };
    Answer::Assigned(AutoAssigned { v4, ..AutoAssigned::default() })
}

impl Cluster {
    fn new() -> Cluster {
        Cluster::with([])
    }

    fn with<const N: usize>(more: [(Key, Value); N]) -> Cluster {
        let records = [pool(json!({})), node("a", json!({})), node("b", json!({}))].into_iter().chain(more);
        let record = |(key, value)| Arc::new(Record { key, value, revision: Revision::from(1) });
        let history = History::of(&records.map(record).collect::<Vec<_>>());
        Cluster { history, told: Vec::new(), seconds: 0 }
    }

    fn feed(&mut self, event: Event) {
        self.history.feed(event, &mut |violation| self.told.push(violation));
    }

    fn ask(&mut self, by: RequestId, request: Request) {
        self.feed(Event::Asked { by, request, now: time(self.seconds) });
    }

    fn answer(&mut self, by: RequestId, answer: Answer) {
        self.feed(Event::Answered { by, answer });
    }

    /// Somebody who is no request stores a record.
    fn store(&mut self, (key, value): (Key, Value)) {
        self.feed(Event::Wrote { by: None, key, value: Some(Arc::new(value)) });
    }

    /// A request writes a block; when there was none, as host `a` makes it.
    fn write(&mut self, by: RequestId, block: &str, change: impl FnOnce(&mut Block)) {
        let now = time(self.seconds);
        let made = || block::create(cidr(block), &Owner::Host("a".into()), None, now);
        let mut stored = self.history.stored.block(cidr(block)).cloned().unwrap_or_else(made);
        change(&mut stored);
        block::bump(&mut stored);
        let (key, value) = (Key::Block(cidr(block)), Some(Arc::new(Value::Block(stored))));
        self.feed(Event::Wrote { by: Some(by), key, value });
    }

    /// A request takes an address under a handle.
    fn take(&mut self, by: RequestId, addr: &str, handle: &str) {
        let block = if ip(addr) < ip("10.0.0.4") { FIRST } else { SECOND };
        let attribute = Arc::new(Attribute { handle_id: Some(handle.into()), ..Attribute::default() });
        self.write(by, block, |block| block::assign_addr(block, ip(addr), None, &attribute).unwrap());
    }

    /// A request frees an address.
    fn free(&mut self, by: RequestId, addr: &str) {
        let block = if ip(addr) < ip("10.0.0.4") { FIRST } else { SECOND };
        let now = time(self.seconds);
        let ips = [ReleaseIp { addr: ip(addr), handle: None, sequence: None }];
        self.write(by, block, |block| drop(block::release(block, &ips, now, 0).unwrap()));
    }

    fn sequence(&self, addr: &str) -> u64 {
        let blocks = self.history.stored.blocks();
        let mut found = blocks.filter_map(|block| Some(block.sequence_of(block.cidr.ordinal(ip(addr))?)));
        found.next().unwrap()
    }

    /// What was told since the last look, as text.
    fn told(&mut self) -> Vec<String> {
        self.told.drain(..).map(|violation| violation.to_string()).collect()
    }
}
