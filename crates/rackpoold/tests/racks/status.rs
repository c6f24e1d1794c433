//! `rackpoold node status` tells what differs, and changes nothing.

use serde_json::{Value as Json, json};

use crate::world::{Families, Shape, World};

#[test]
fn what_differs_is_told() {
    let shape = Shape { racks: &[1, 1], families: Families::V4, ..Shape::default() };
    let Some((world, _pods)) = World::with_agents(shape, &[]) else { return };
    world.wait_until_settled();
    let node = &world.nodes[0];
    let said = || {
        let out = world.rackpoold(node, &["status", "-o", "json"]);
        let document: Json = serde_json::from_slice(&out.stdout).unwrap();
        (out.status.success(), document["differs"].clone())
    };
    let nothing = json!({"missing": [], "tooMuch": [], "filter": [], "filterNotCompared": null,
        "tunnels": [], "sysctls": []});
    assert_eq!(said(), (true, nothing.clone()));
    node.agent.as_ref().unwrap().paused(|| {
        node.host.sh("nft add rule inet rackpool $(nft list table inet rackpool | awk '/chain/ {print $2; exit}') counter
             ip link set vxlan.calico mtu 1300
             sysctl -qw net.ipv4.ip_forward=0");
        let (is_as_wanted, differs) = said();
        assert!(!is_as_wanted);
        assert_eq!((&differs["missing"], &differs["tooMuch"]), (&json!([]), &json!([])), "{differs:#}");
        assert_eq!(differs["filter"].as_array().unwrap().len(), 1, "{differs:#}");
        let size = json!([{"device": "vxlan.calico", "what": "mtu", "wanted": "1450", "found": "1300"}]);
        assert_eq!(differs["tunnels"], size);
        assert_eq!(differs["sysctls"][0]["name"], "net.ipv4.ip_forward");
        let text = String::from_utf8(world.rackpoold(node, &["status"]).stdout).unwrap();
        for line in [
            "differs: chain ",
            "differs: vxlan.calico: mtu is 1300, and must be 1450",
            "differs: net.ipv4.ip_forward=1 (is 0)",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    });
    node.host.sh("sysctl -qw net.ipv4.ip_forward=1");
    world.wait_until_settled();
    assert_eq!(said(), (true, nothing));
}
