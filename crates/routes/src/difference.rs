//! From what is there to what is wanted, in an order in which no destination is ever without a route.
//!
//! First everything is added or replaced, the other sides of tunnels before the routes that use them, and
//! narrow routes before wide ones: a wide route never hides what has no narrow one yet. Then the rest is
//! removed, wide routes before narrow ones: what a narrow route leaves behind is never caught by a wide one
//! that must go too.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use api::Cidr;

use crate::mac::Mac;
use crate::node::Desired;
use crate::route::Route;

/// What of ours is there: routes of our protocol number, and the entries of our tunnel devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Present {
    /// The routes.
    pub routes: Vec<Route>,
    /// By device and tunnel address the hardware address of the other side.
    pub neighbours: BTreeMap<(Arc<str>, IpAddr), Mac>,
    /// By device and hardware address the node's address.
    pub forwarding: BTreeMap<(Arc<str>, Mac), IpAddr>,
    /// The addresses of pods here: each has a route by its pod's interface, which is not ours. Records tell
    /// of a new pod later than that route does.
    pub pods: BTreeSet<IpAddr>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Frames to this hardware address go to this node; whatever was there is replaced.
    Forward(Arc<str>, Mac, IpAddr),
    /// This tunnel address has this hardware address; whatever was there is replaced.
    Neighbour(Arc<str>, IpAddr, Mac),
    /// The route is added, or replaces the one of its destination and metric, in one message.
    Route(Route),
    /// The route is removed.
    RemoveRoute(Route),
    /// The tunnel address is forgotten.
    RemoveNeighbour(Arc<str>, IpAddr),
    /// The hardware address is forgotten.
    RemoveForward(Arc<str>, Mac),
}

/// Where the records come from that say what is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// They were gathered over time.
    Kept,
    /// All of them have just been listed, for this comparison.
    Fresh,
}

/// So much is missing that the records may not be all there are. List them anew.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{missing} of {present} destinations that have a route are in no record: nothing is removed before all records are listed anew"
)]
pub struct Doubt {
    /// How many destinations would lose their route.
    pub missing: usize,
    /// How many destinations have one.
    pub present: usize,
}

/// The changes, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// What is added or replaced.
    pub sets: Vec<Step>,
    /// What is removed after that.
    pub removals: Vec<Step>,
    /// The addresses for which no route is set, because a pod here has each of them.
    pub at_pods: BTreeSet<IpAddr>,
    present: usize,
    missing: usize,
}

impl Difference {
    /// The changes that lead from what is there to what is wanted.
    pub fn between(present: &Present, desired: &Desired) -> Difference {
        let (neighbours, forwarding) = sides(desired);
        let mut change = Difference { present: present.routes.len(), ..Difference::default() };
        for ((device, mac), at) in &forwarding {
            if present.forwarding.get(&(device.clone(), *mac)) != Some(at) {
                change.sets.push(Step::Forward(device.clone(), *mac, *at));
            }
        }
        for ((device, addr), mac) in &neighbours {
            if present.neighbours.get(&(device.clone(), *addr)) != Some(mac) {
                change.sets.push(Step::Neighbour(device.clone(), *addr, *mac));
            }
        }
        let there: BTreeMap<(Cidr, u32), &Route> =
            present.routes.iter().map(|route| ((route.to, route.metric), route)).collect();
        let mut sets: Vec<&Route> = desired.routes.values().map(|wanted| &wanted.route).collect();
        sets.retain(|route| match present.has_pod_at(route.to) {
            true => {
                change.at_pods.insert(route.to.first());
                false
            }
            false => true,
        });
        sets.retain(|route| there.get(&(route.to, route.metric)).is_none_or(|found| !route.is_met_by(found)));
        sets.sort_by_key(|route| (Reverse(route.to.prefix()), route.to));
        change.sets.extend(sets.into_iter().cloned().map(Step::Route));

        let is_wanted = |route: &Route| {
            desired.routes.get(&route.to).is_some_and(|wanted| wanted.route.metric == route.metric)
        };
        let may_be_wanted = |route: &Route| desired.unknown.iter().any(|network| network.overlaps(&route.to));
        let mut removed: Vec<&Route> =
            present.routes.iter().filter(|route| !is_wanted(route) && !may_be_wanted(route)).collect();
        removed.sort_by_key(|route| (route.to.prefix(), route.to, Reverse(route.metric)));
        change.missing = removed.iter().filter(|route| !desired.routes.contains_key(&route.to)).count();
        change.removals.extend(removed.into_iter().cloned().map(Step::RemoveRoute));
        if !desired.has_unknown_peers {
            let gone = present.neighbours.keys().filter(|key| !neighbours.contains_key(key));
            change.removals.extend(gone.map(|(device, addr)| Step::RemoveNeighbour(device.clone(), *addr)));
            let gone = present.forwarding.keys().filter(|key| !forwarding.contains_key(key));
            change.removals.extend(gone.map(|(device, mac)| Step::RemoveForward(device.clone(), *mac)));
        }
        change
    }

    /// The steps to take now. Records that lack a fifth or more of the destinations that have a route are not
    /// believed before they are a fresh list: until then nothing is removed.
    pub fn steps(&self, list: List) -> (Vec<Step>, Option<Doubt>) {
        let doubt = Doubt { missing: self.missing, present: self.present };
        match list == List::Kept && self.missing > 0 && self.missing * 5 >= self.present {
            true => (self.sets.clone(), Some(doubt)),
            false => (self.sets.iter().chain(&self.removals).cloned().collect(), None),
        }
    }

    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty() && self.removals.is_empty()
    }
}

type Neighbours = BTreeMap<(Arc<str>, IpAddr), Mac>;
type Forwarding = BTreeMap<(Arc<str>, Mac), IpAddr>;

/// The entries that the tunnels of a node need.
fn sides(desired: &Desired) -> (Neighbours, Forwarding) {
    let (mut neighbours, mut forwarding) = (Neighbours::new(), Forwarding::new());
    for tunnel in desired.tunnels.iter().filter(|tunnel| tunnel.is_complete()) {
        let device: Arc<str> = tunnel.device.into();
        for peer in tunnel.peers.values() {
            neighbours.insert((device.clone(), peer.address), peer.mac);
            forwarding.insert((device.clone(), peer.mac), peer.at);
        }
    }
    (neighbours, forwarding)
}

impl Present {
    /// Whether a destination is a single address that a pod here has.
    fn has_pod_at(&self, to: Cidr) -> bool {
        to == Cidr::single(to.first()) && self.pods.contains(&to.first())
    }

    /// What is there after a step.
    pub fn apply(&mut self, step: &Step) {
        match step {
            Step::Forward(device, mac, at) => drop(self.forwarding.insert((device.clone(), *mac), *at)),
            Step::Neighbour(device, addr, mac) => drop(self.neighbours.insert((device.clone(), *addr), *mac)),
            Step::Route(route) => {
                self.routes.retain(|other| (other.to, other.metric) != (route.to, route.metric));
                self.routes.push(route.clone());
            }
            Step::RemoveRoute(route) => self.routes.retain(|other| other != route),
            Step::RemoveNeighbour(device, addr) => drop(self.neighbours.remove(&(device.clone(), *addr))),
            Step::RemoveForward(device, mac) => drop(self.forwarding.remove(&(device.clone(), *mac))),
        }
    }
}
