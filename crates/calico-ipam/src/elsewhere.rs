//! Addresses that are asked for by name, from pools that are not for the node. They are given, as Calico
//! gives them; but the one route of a rack does not lead to them.

use std::net::IpAddr;

use api::{Key, Kind, Pool};
use cni::log::Level;
use ipam::pools;
use store::{Depth, ReadSet, Scope, Store, View};

use crate::request::{Deadline, Request};

/// Warns, in the log, of each of the pools that does not select the node. The view must hold pools and node;
/// without the node nothing is said.
pub fn warn(request: &Request<'_, impl Store>, view: &View, is_asked: impl Fn(&Pool) -> bool) {
    let node = &request.ask.identity.node;
    let Some((resource, _)) = view.resource(&Key::global(Kind::Node, &**node)).flatten() else { return };
    let labels = &resource.as_node().labels;
    for pool in pools::all(view).filter(|pool| is_asked(pool)) {
        if pools::selects_node(pool, labels) == Some(false) {
            let (name, cidr) = (&pool.name, pool.cidr);
            let line = format!(
                "the pool {name} {cidr} was asked for by name, and its nodeSelector leaves the node {node} out: \
                 a route to the pool's own nodes does not lead to this address"
            );
            request.log.say(Level::Error, line);
        }
    }
}

/// The same for one address, whose pools are read first.
pub async fn warn_of_address(request: &Request<'_, impl Store>, addr: IpAddr, deadline: Deadline) {
    let node = Key::global(Kind::Node, &*request.ask.identity.node);
    let set = ReadSet::new().scope(Scope::kind(Kind::IPPool), Depth::Full).key(node);
    if let Ok(view) = request.store.look(&set, deadline.left()).await {
        warn(request, &view, |pool| pool.is_enabled() && pool.cidr.contains(addr));
    }
}
