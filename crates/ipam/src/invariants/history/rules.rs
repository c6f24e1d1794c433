//! The rules by which addresses may be assigned, with all their changes: pools, nodes, reservations, the
//! configuration.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use api::{Cidr, Family, IpamConfig, Key, Kind, Pool, Use, Value};

use super::Request;
use crate::pools;
use crate::reservations::Reserved;

type Labels = BTreeMap<String, String>;

/// Each change of something, with the step from which it is so.
#[derive(Clone, Debug)]
struct Changes<T>(Vec<(u64, T)>);

impl<T> Default for Changes<T> {
    fn default() -> Self {
        Changes(Vec::new())
    }
}

impl<T> Changes<T> {
    /// All that it has been from a step on.
    fn since(&self, step: u64) -> impl Iterator<Item = &T> {
        let first = self.0.partition_point(|(at, _)| *at <= step).saturating_sub(1);
        self.0[first..].iter().map(|(_, value)| value)
    }

    fn last(&self) -> Option<&T> {
        self.0.last().map(|(_, value)| value)
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    pools: BTreeMap<String, Changes<Option<Arc<Pool>>>>,
    nodes: BTreeMap<String, Changes<Option<Labels>>>,
    reservations: BTreeMap<String, Vec<Cidr>>,
    reserved: Changes<Reserved>,
    config: IpamConfig,
}

impl Rules {
    pub fn note(&mut self, step: u64, key: &Key, value: Option<&Value>) {
        let resource = value.and_then(|value| if let Value::Resource(r) = value { Some(r) } else { None });
        match key {
            Key::Resource { kind: Kind::IPPool, name, .. } => {
                let pool = resource.and_then(|resource| resource.as_pool().ok().cloned());
                self.pools.entry(name.clone()).or_default().0.push((step, pool));
            }
            Key::Resource { kind: Kind::Node, name, .. } => {
                let labels = resource.map(|resource| resource.metadata().labels.clone());
                self.nodes.entry(name.clone()).or_default().0.push((step, labels));
            }
            Key::Resource { kind: Kind::IPReservation, name, .. } => {
                let cidrs = resource.map(|resource| resource.as_reservation().cidrs.clone());
                self.reservations.insert(name.clone(), cidrs.unwrap_or_default());
                let all = Reserved::of(self.reservations.values().flatten().copied());
                self.reserved.0.push((step, all));
            }
            Key::IpamConfig => {
                let config = value.and_then(|v| if let Value::IpamConfig(c) = v { Some(c) } else { None });
                self.config = config.cloned().unwrap_or_default();
            }
            Key::Resource { .. }
            | Key::Affinity { .. }
            | Key::Block(_)
            | Key::Handle(_)
            | Key::IpamHost(_) => {}
        }
    }

    pub fn config(&self) -> &IpamConfig {
        &self.config
    }

    /// The pools as they are now.
    pub fn pools(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.pools.values().filter_map(|changes| changes.last()?.as_ref())
    }

    /// Whether a pool allows a request an address, by the rules of now.
    pub fn allow(&self, pool: &Pool, request: &Request, addr: IpAddr) -> bool {
        let is_reserved = self.reserved.last().is_some_and(|reserved| reserved.holds(addr));
        let labels = host_of(request).and_then(|host| self.nodes.get(host)?.last()?.as_ref());
        (matches!(request, Request::Named(_)) || !is_reserved) && allows(pool, request, addr, labels)
    }

    /// Whether some pool has allowed a request an address at any time from a step on, or allows it now. What
    /// is read of pools, nodes and reservations may be of different moments.
    pub fn allowed_since(&self, step: u64, now: bool, request: &Request, addr: IpAddr) -> bool {
        let mut all = self.reserved.since(step).peekable();
        let was_free = matches!(request, Request::Named(_))
            || all.peek().is_none()
            || self.reserved.0.first().is_some_and(|(first, _)| *first > step)
            || all.any(|reserved| !reserved.holds(addr));
        let node = host_of(request).and_then(|host| self.nodes.get(host));
        let labels: Vec<Option<&Labels>> = match node {
            Some(changes) => changes.since(step).map(Option::as_ref).collect(),
            None => vec![None],
        };
        let pools_since = if now { u64::MAX } else { step };
        let mut pools = self.pools.values().flat_map(|changes| changes.since(pools_since)).flatten();
        was_free && pools.any(|pool| labels.iter().any(|labels| allows(pool, request, addr, *labels)))
    }
}

/// The node whose labels decide.
fn host_of(request: &Request) -> Option<&str> {
    match request {
        Request::Assign(request) if request.intended_use != Use::LoadBalancer => Some(&request.host),
        _ => None,
    }
}

fn allows(pool: &Pool, request: &Request, addr: IpAddr, labels: Option<&Labels>) -> bool {
    if !pool.is_enabled() || !pool.cidr.contains(addr) {
        return false;
    }
    match request {
        Request::Named(named) => named.intended_use.is_none_or(|wanted| pool.allows(wanted)),
        Request::Assign(asked) => {
            let requested = match Family::of(addr) {
                Family::V4 => &asked.v4_pools,
                Family::V6 => &asked.v6_pools,
            };
            let is_chosen = match requested.is_empty() {
                true => !pool.manual && selects(pool, asked, labels),
                false => requested.contains(&pool.cidr),
            };
            is_chosen && pool.allows(asked.intended_use)
        }
        _ => false,
    }
}

fn selects(pool: &Pool, asked: &crate::AutoAssign, labels: Option<&Labels>) -> bool {
    let is_of_node = asked.intended_use != Use::LoadBalancer;
    let labels = labels.map(|labels| labels.iter().collect::<Vec<_>>());
    let namespace = asked.namespace_labels.as_ref().map(|labels| labels.iter().collect::<Vec<_>>());
    (labels.is_some() || !is_of_node)
        && pools::selects_node(pool, &labels) == Some(true)
        && pool.namespace_selector.as_ref().is_ok_and(|selector| selector.matches(&namespace))
}
