//! A change of one block is one message to the kernel of each node that it concerns, and none elsewhere.

use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::moves::{claim, release};
use crate::namespace::Namespace;
use crate::world::{Node, Shape, World};

/// What the kernel of a host tells of routes and of the entries of tunnels.
struct Listener {
    process: Child,
    said: File,
}

impl Listener {
    fn start(host: &Namespace) -> Listener {
        let said = tempfile::tempfile().unwrap();
        let out = said.try_clone().unwrap();
        let process = host.run(|| {
            let mut monitor = Command::new("ip");
            monitor.args(["-o", "monitor", "route", "neigh"]).stdin(Stdio::null()).stdout(out);
            monitor.spawn().unwrap()
        });
        Listener { process, said }
    }

    /// The messages about what agents keep. The kernel's own routes, and the neighbours that it finds by
    /// itself, are left out.
    fn stop(mut self) -> Vec<String> {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        let mut said = String::new();
        self.said.rewind().unwrap();
        self.said.read_to_string(&mut said).unwrap();
        let is_of_agent = |line: &&str| line.contains("proto 81") || line.contains("vxlan");
        said.lines().filter(is_of_agent).map(str::to_string).collect()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What every node's kernel tells while something happens.
fn told(world: &World, act: impl FnOnce()) -> Vec<(&Node, Vec<String>)> {
    let listeners: Vec<_> = world.nodes.iter().map(|node| (node, Listener::start(&node.host))).collect();
    // The listeners have begun, and the kernel's neighbours have come to rest.
    thread::sleep(Duration::from_millis(500));
    act();
    world.wait_until_settled();
    thread::sleep(Duration::from_millis(500));
    listeners.into_iter().map(|(node, listener)| (node, listener.stop())).collect()
}

#[test]
fn a_changed_block_is_one_message() {
    for (vxlan, is_strict) in [("Always", true), ("Never", false)] {
        let shape = Shape { racks: &[2, 2, 1], vxlan, is_strict, ..Shape::default() };
        let Some((world, _pods)) = World::with_agents(shape, &[]) else { return };
        world.wait_until_settled();
        for block in ["192.168.30.0/26", "2001:db8:80::f00/122"] {
            for (doing, change) in [("claim", claim as fn(&World, &str, &Node)), ("release", release)] {
                for (node, told) in told(&world, || change(&world, block, &world.nodes[0])) {
                    // With one route a rack, other racks do not notice.
                    let expected = usize::from(vxlan == "Always" || node.rack == 0);
                    assert_eq!(told.len(), expected, "{vxlan}, {doing} of {block}, {}: {told:?}", node.name);
                    let is_of_block = |line: &String| line.contains(block);
                    assert!(told.iter().all(is_of_block), "{vxlan}, {block}, {}: {told:?}", node.name);
                }
            }
        }
    }
}
