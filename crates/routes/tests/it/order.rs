//! The changes from one state of a cluster to another: applied, they give what is wanted, and at every step
//! each destination that is reached before and after is reached.

use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;
use routes::{Desired, Difference, List, Options, Present, Route, Step, Target};
use serde_json::json;

use crate::world::World;

/// Blocks with owner, size and borrowed addresses; whether the third node has an address; the pool's mode.
type State = (Vec<(u8, u8, Vec<(u32, u8)>)>, bool, u8);

fn state() -> impl Strategy<Value = State> {
    let held = prop::collection::vec((0..4u32, 0..4u8), 0..3);
    (prop::collection::vec((0..16u8, 0..4u8, held), 0..12), any::<bool>(), 0..4u8)
}

fn desired((blocks, has_third, mode): &State, renamed: bool) -> Desired {
    let mut world = World::new();
    for node in 0..4 {
        if node == 2 && !has_third {
            continue;
        }
        let mac =
            if renamed && node == 1 { json!({"vxlanTunnelMACAddr": "66:00:00:00:00:01"}) } else { json!({}) };
        let mut fields = json!({"ipv4VXLANTunnelAddr": format!("10.0.1.{node}")});
        fields.as_object_mut().unwrap().extend(mac.as_object().unwrap().clone());
        world.node(
            &format!("n{node}"),
            &format!("10.100.{}.{}/24", node / 2, node + 1),
            &(node / 2).to_string(),
            fields,
        );
    }
    let mode = match mode {
        0 => json!({"nodeSelector": "rack == \"1\""}),
        1 => json!({"vxlanMode": "CrossSubnet"}),
        2 => json!({"nodeSelector": "rack == \"0\""}),
        _ => json!({"vxlanMode": "Always"}),
    };
    world.pool("p", "10.0.0.0/24", mode);
    world.pool("tunnels", "10.0.1.0/24", json!({"vxlanMode": "Always"}));
    for (block, owner, held) in blocks {
        let names: Vec<(u32, String)> = held.iter().map(|(at, node)| (*at, format!("n{node}"))).collect();
        let names: Vec<(u32, &str)> = names.iter().map(|(at, name)| (*at, name.as_str())).collect();
        world.block(&format!("10.0.0.{}/30", block * 4), Some(&format!("n{owner}")), &names);
    }
    world.desired("n0", &Options { via: vec!["10.100.0.254".parse().unwrap()], ..Options::default() })
}

/// The route that a packet takes; `None` where it goes nowhere, or into a tunnel whose other side is unknown.
fn route(present: &Present, to: IpAddr) -> Option<&Route> {
    let around = present.routes.iter().filter(|route| route.to.contains(to));
    let route = around.max_by_key(|route| (route.to.prefix(), std::cmp::Reverse(route.metric)))?;
    match &route.target {
        Target::Via { gateways, device: Some(device) } => {
            let mac = present.neighbours.get(&(device.clone(), gateways[0]))?;
            present.forwarding.get(&(device.clone(), *mac)).map(|_| route)
        }
        target => target.forwards().then_some(route),
    }
}

fn all() -> impl Iterator<Item = IpAddr> {
    (0..=255u8).map(|last| IpAddr::from([10, 0, 0, last]))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 384, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_step_leaves_a_destination_without_a_route(before in state(), after in state(), renamed in any::<bool>()) {
        let (before, after) = (desired(&before, false), desired(&after, renamed));
        let mut present = Present::default();
        Difference::between(&present, &before).steps(List::Fresh).0.iter().for_each(|step| present.apply(step));
        let difference = Difference::between(&present, &after);
        let mut end = present.clone();
        let (steps, _) = difference.steps(List::Fresh);
        steps.iter().for_each(|step| end.apply(step));
        let reached = |to: &IpAddr| route(&present, *to).is_some() && route(&end, *to).is_some();
        let kept: Vec<IpAddr> = all().filter(reached).collect();
        let mut now = present.clone();
        for (index, step) in steps.iter().enumerate() {
            now.apply(step);
            for to in &kept {
                prop_assert!(route(&now, *to).is_some(), "{} after step {} of {:?}", to, index + 1, steps);
                // A packet goes where it went before, or where it will go.
                let target = &route(&now, *to).unwrap().target;
                let known = [&present, &end].map(|state| route(state, *to).map(|route| &route.target));
                prop_assert!(known.contains(&Some(target)), "{} goes astray after step {} of {:?}", to, index + 1, steps);
            }
        }
        let mut routes: Vec<Route> = end.routes.clone();
        routes.sort();
        let mut wanted: Vec<Route> = after.routes.values().map(|wanted| wanted.route.clone()).collect();
        wanted.sort();
        prop_assert_eq!(routes, wanted);
        prop_assert!(Difference::between(&end, &after).is_empty());
    }
}

/// A block that changes hands is one message; a route of another metric is added before the old one goes.
#[test]
fn a_change_is_made_before_the_old_is_broken() {
    let state = |owner: u8| (vec![(3, owner, vec![])], true, 3);
    let mut present = Present::default();
    Difference::between(&present, &desired(&state(1), false))
        .steps(List::Fresh)
        .0
        .iter()
        .for_each(|step| present.apply(step));
    let moved = Difference::between(&present, &desired(&state(3), false));
    assert!(
        matches!(moved.sets.as_slice(), [Step::Route(route)] if route.to.to_string() == "10.0.0.12/30"),
        "{moved:?}"
    );
    assert_eq!(moved.removals, []);

    present.routes.iter_mut().for_each(|route| route.metric = 7);
    let (steps, doubt) = Difference::between(&present, &desired(&state(1), false)).steps(List::Kept);
    assert!(
        matches!(steps.as_slice(), [Step::Route(new), Step::RemoveRoute(old)] if (new.metric, old.metric) == (0, 7))
    );
    assert_eq!(doubt, None, "no destination is lost");
}

/// A changed hardware address: the new one is known before anybody uses it.
#[test]
fn a_tunnel_changes_its_hardware_address_without_a_gap() {
    let state = (vec![(3, 1, vec![])], true, 3);
    let mut present = Present::default();
    Difference::between(&present, &desired(&state, false))
        .steps(List::Fresh)
        .0
        .iter()
        .for_each(|step| present.apply(step));
    let steps = Difference::between(&present, &desired(&state, true)).steps(List::Kept).0;
    let device: Arc<str> = "vxlan.calico".into();
    assert!(
        matches!(steps.as_slice(), [Step::Forward(a, ..), Step::Neighbour(b, ..), Step::RemoveForward(c, _)]
            if [a, b, c].iter().all(|found| **found == device)),
        "{steps:?}"
    );
}

/// The records have an address elsewhere, and a pod here has it: records lag behind. Its own route counts,
/// until the pod goes.
#[test]
fn the_address_of_a_pod_here_gets_no_route() {
    let desired = desired(&(vec![(3, 1, vec![]), (5, 2, vec![(1, 1)])], true, 3), false);
    let lent: IpAddr = [10, 0, 0, 21].into();
    assert!(desired.routes.contains_key(&api::Cidr::single(lent)), "{:?}", desired.routes.keys());
    let beside: IpAddr = [10, 0, 0, 20].into();
    let mut present = Present { pods: [lent, beside].into(), ..Present::default() };
    let difference = Difference::between(&present, &desired);
    assert_eq!(difference.at_pods, [lent].into());
    difference.steps(List::Fresh).0.iter().for_each(|step| present.apply(step));
    let is_single = |route: &&Route| route.to == api::Cidr::single(route.to.first());
    assert_eq!(present.routes.iter().find(is_single), None);
    assert!(Difference::between(&present, &desired).is_empty());
    present.pods.clear();
    let steps = Difference::between(&present, &desired).steps(List::Kept).0;
    assert!(matches!(steps.as_slice(), [Step::Route(one)] if one.to == api::Cidr::single(lent)), "{steps:?}");
}
