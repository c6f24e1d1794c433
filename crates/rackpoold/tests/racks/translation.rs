//! What the outside sees of pods.

use std::net::{SocketAddr, TcpListener, TcpStream};

use serde_json::json;

use crate::namespace::Namespace;
use crate::world::{OUTSIDE, PATIENCE, Shape, World};

/// Who calls, as the one who is called sees it.
fn caller(from: &Namespace, to: &Namespace, at: &str) -> String {
    let at: std::net::IpAddr = at.parse().unwrap();
    let listener = to.run(|| TcpListener::bind((at, 0)).unwrap());
    let at: SocketAddr = listener.local_addr().unwrap();
    let _stream = from.run(|| TcpStream::connect_timeout(&at, PATIENCE)).unwrap();
    listener.accept().unwrap().1.ip().to_string()
}

#[test]
fn the_outside_sees_a_node_or_the_pod_itself_as_pools_say() {
    let Some((world, pods)) = World::with_agents(Shape::default(), &[]) else { return };
    let seen = |pod: usize| OUTSIDE.map(|at| caller(&pods[pod].inside, &world.outside, at));
    for pod in &pods {
        let node = &world.nodes[pod.node];
        assert_eq!(seen(pod.node), [node.v4.clone(), node.v6.clone()], "{}", world.logs());
    }
    // Between pods, nothing is translated.
    let own = [true, false].map(|is_v4| pods[0].address(is_v4));
    for (address, own) in [true, false].map(|is_v4| pods[3].address(is_v4)).iter().zip(&own) {
        assert_eq!(&caller(&pods[0].inside, &pods[3].inside, address), own);
    }

    world.patch_pools(&json!({"vxlanMode": "Never", "natOutgoing": false}));
    world.configure_router();
    world.wait_until_settled();
    for pod in &pods {
        assert_eq!(seen(pod.node), [true, false].map(|is_v4| pod.address(is_v4)), "{}", world.logs());
    }
    // The outside calls pods, too, and nobody stands in between.
    for address in own {
        let at = OUTSIDE[usize::from(address.contains(':'))];
        assert_eq!(caller(&world.outside, &pods[0].inside, &address), at);
    }
}
