//! A host starts anew: no pod gets a network before the agent has made the host what it must be.

use std::fs;

use serde_json::json;

use crate::agent::Agent;
use crate::pod::{Pod, not_reached};
use crate::world::{Shape, World, eventually};

#[test]
fn after_a_reboot_no_pod_starts_before_the_agent() {
    let Some((mut world, mut pods)) = World::with_agents(Shape::default(), &[]) else { return };
    world.wait_until_settled();
    // The host's network and its pods are gone, and so is the folder of the mark.
    world.nodes[0].agent.take().unwrap().kill();
    drop(pods.remove(0));
    let folder = world.node_folder(&world.nodes[0]);
    fs::remove_file(folder.join("mark")).unwrap();
    world.reboot(0);

    let required = json!({"require_agent_sync": true, "agent_sync_file": folder.join("mark")});
    let attach = |world: &World, name: &str| Pod::try_attach(world, 0, name, &required);
    let refusal = attach(&world, "early").err().unwrap();
    assert!(refusal.contains("\"code\": 11") || refusal.contains("\"code\":11"), "{refusal}");
    assert!(!world.nodes[0].host.sh("ip -o link").contains("cali"), "the pod's interface is there");
    assert_eq!(world.nodes[0].host.sh("nft list ruleset; ip route show proto 81"), "");

    // As a runtime does, ADD is called again and again. The first that succeeds finds everything in place.
    let agent = Agent::start(&world, 0, &[]);
    world.nodes[0].agent = Some(agent);
    let (mut pod, mut turn) = (None, 0);
    eventually("the agent lets pods start", || {
        turn += 1;
        pod = attach(&world, &format!("again-{turn}")).ok();
        pod.is_some()
    });
    let node = &world.nodes[0];
    assert!(node.host.sh("nft list ruleset").contains("table inet rackpool"));
    assert!(world.is_settled(node), "{}", world.logs());
    let others: Vec<String> = pods.iter().flat_map(|pod| &pod.addresses).map(ToString::to_string).collect();
    assert_eq!(not_reached(&pod.unwrap().inside, &others), [""; 0], "{}", world.logs());
}
