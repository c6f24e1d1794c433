//! The agent is killed, started again and replaced, blocks change hands meanwhile: no packet is lost.

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::agent::Agent;
use crate::moves::{claim, release};
use crate::pings::Pings;
use crate::pod::Pod;
use crate::world::{Node, OUTSIDE, Shape, World, eventually};

/// Pings that cross what the agents keep: to a pod of the same rack, to one of another rack, and to the
/// outside, in both families.
fn pings(pods: &[Pod]) -> Vec<Pings> {
    let between = |to: usize, is_v4| Pings::start(&pods[0].inside, &pods[to].address(is_v4));
    let mut all: Vec<Pings> =
        [(1, true), (1, false), (2, true), (2, false)].map(|(to, v)| between(to, v)).into();
    all.extend(OUTSIDE.map(|to| Pings::start(&pods[0].inside, to)));
    all
}

/// Kills the agents of all nodes with one blow after the other.
fn kill_all(world: &mut World) {
    world.nodes.iter_mut().for_each(|node| node.agent.take().unwrap().kill());
}

fn start_all_again(world: &mut World) {
    let agents: Vec<Agent> =
        (0..world.nodes.len()).map(|node| Agent::start_again(world, node, &[])).collect();
    for (node, agent) in world.nodes.iter_mut().zip(agents) {
        node.agent = Some(agent);
    }
}

#[test]
fn an_agent_that_is_killed_restarted_or_replaced_loses_nothing() {
    for vxlan in ["CrossSubnet", "Never"] {
        let shape = Shape { vxlan, is_translated: vxlan != "Never", ..Shape::default() };
        let Some((mut world, pods)) = World::with_agents(shape, &[]) else { return };
        if vxlan == "Never" {
            world.configure_router();
        }
        let pings = pings(&pods);

        // Killed for some seconds, while a block changes hands; then started again.
        claim(&world, "192.168.30.0/26", &world.nodes[0]);
        kill_all(&mut world);
        thread::sleep(Duration::from_secs(1));
        release(&world, "192.168.30.0/26", &world.nodes[0]);
        claim(&world, "192.168.30.0/26", &world.nodes[1]);
        thread::sleep(Duration::from_secs(1));
        // Killed while they start, each time a bit later.
        for turn in 0..10 {
            start_all_again(&mut world);
            thread::sleep(Duration::from_millis(20 * turn));
            kill_all(&mut world);
        }
        start_all_again(&mut world);
        world.wait_until_settled();

        // Replaced by another file, and told to end.
        for node in &world.nodes {
            let (folder, new) = (world.node_folder(node), world.node_folder(node).join("new"));
            fs::copy(env!("CARGO_BIN_EXE_rackpoold"), &new).unwrap();
            fs::rename(new, folder.join("rackpoold")).unwrap();
        }
        for node in &mut world.nodes {
            let status = node.agent.take().unwrap().end();
            assert!(status.success(), "{}: {status}", node.name);
        }
        start_all_again(&mut world);
        world.wait_until_settled();
        thread::sleep(Duration::from_millis(500));

        for pings in pings {
            assert!(pings.stop_without_loss() > 100);
        }
    }
}

/// Nodes take packets that come through the tunnel and those that do not, in both modes, so it does not
/// matter which of them changes first.
#[test]
fn pools_that_change_between_tunnel_and_subnet_lose_nothing() {
    let Some((world, pods)) = World::with_agents(Shape::default(), &[]) else { return };
    world.wait_until_settled();
    let pings = pings(&pods);
    for mode in ["CrossSubnet", "Always", "CrossSubnet", "Always"] {
        world.patch_pools(&json!({"vxlanMode": mode}));
        world.wait_until_settled();
    }
    for pings in pings {
        pings.stop_without_loss();
    }
}

/// The routes of ours on a node, without the block that moves.
fn routes(node: &Node, but: &str) -> BTreeSet<String> {
    let shown = node.host.sh("ip route show proto 81; ip -6 route show proto 81");
    shown.lines().filter(|line| !line.contains(but)).map(str::to_string).collect()
}

fn has_route(node: &Node, route: &str) -> bool {
    node.host.sh("ip route show proto 81").lines().any(|line| line.starts_with(route))
}

/// A block goes to and fro between the nodes of a rack. Everything else stays as it is.
fn blocks_move(moves: usize) {
    const BLOCK: &str = "192.168.30.0/26";
    for (vxlan, is_strict) in [("Always", false), ("Never", true)] {
        let shape = Shape { vxlan, is_strict, ..Shape::default() };
        let Some((world, pods)) = World::with_agents(shape, &[]) else { return };
        if vxlan == "Never" {
            world.configure_router();
        }
        world.wait_until_settled();
        let before: Vec<_> = world.nodes.iter().map(|node| routes(node, BLOCK)).collect();
        let pings = pings(&pods);
        for turn in 0..moves {
            let (owner, other) = (&world.nodes[turn % 2], &world.nodes[1 - turn % 2]);
            claim(&world, BLOCK, owner);
            eventually("the new owner and its neighbour know the block", || {
                has_route(owner, &format!("blackhole {BLOCK}")) && has_route(other, &format!("{BLOCK} via"))
            });
            release(&world, BLOCK, owner);
        }
        world.wait_until_settled();
        let after: Vec<_> = world.nodes.iter().map(|node| routes(node, BLOCK)).collect();
        assert_eq!(after, before, "{vxlan}");
        assert!(world.nodes.iter().all(|node| !has_route(node, BLOCK)), "{vxlan}");
        for pings in pings {
            pings.stop_without_loss();
        }
    }
}

#[test]
fn blocks_that_move_disturb_nobody() {
    blocks_move(25);
}

#[test]
#[ignore = "nightly: 1,000 moves take minutes"]
fn a_thousand_blocks_that_move_disturb_nobody() {
    blocks_move(500);
}
