//! `datastore preflight` on states that Calico has left in etcd.

use serde_json::Value as Json;
use servers::etcd_server::EtcdServer;
use store::testing::etcd_client::{Client, DeleteOptions};

use crate::fixture::{User, needs_etcd, wait_for};
use crate::values::{recorded, states};

const POOLS: &str = "/calico/resources/v3/projectcalico.org/ippools/";
const BLOCKS: &str = "/calico/ipam/v2/assignment/ipv";
/// The version of the Calico that was recorded.
const OURS: &str = "v3.33.0";

/// The scenarios with the most in them; each state costs a process.
const SCENARIOS: [&str; 9] = [
    "003-guide-pools",
    "009-guide-pods",
    "068-ippool-uses",
    "085-bgppeer",
    "087-node-wide",
    "103-ipam-show-ipv6",
    "115-datastore-lock",
    "118-ipam-check-problems",
    "125-ipam-check-broken-blocks",
];

#[test]
fn recorded_states_are_told_in_full() {
    needs_etcd!();
    let Some(files) = states() else { return };
    let server = EtcdServer::start();
    let user = User::of(&server.endpoint());
    let address = server.address().to_string();
    let files =
        files.iter().filter(|file| SCENARIOS.iter().any(|name| file.parent().unwrap().ends_with(name)));
    let mut codes = std::collections::BTreeSet::new();
    for file in files {
        wait_for(async {
            let mut client = Client::connect([&address], None).await.unwrap();
            client.delete("", Some(DeleteOptions::new().with_all_keys())).await.unwrap();
        });
        let pairs = recorded(file);
        let count = |start: &str| pairs.iter().filter(|(key, _)| key.starts_with(start)).count();
        let (pools, blocks) = (count(POOLS), count(BLOCKS));
        server.put_all(pairs);
        let ran = user.run("datastore preflight -o json");
        let told: Json = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{file:?}: {ran:?}"));
        assert_eq!(told["pools"].as_array().unwrap().len(), pools, "{file:?}: {told:#}");
        assert_eq!(told["ipam"]["blocks"], blocks, "{file:?}: {told:#}");
        assert_eq!(told["version"].as_str().unwrap_or(OURS), OURS, "{file:?}: {told:#}");
        let reasons = told["reasons"].as_array().unwrap();
        let lost: Vec<&str> = reasons
            .iter()
            .filter(|reason| reason["effect"] == "lost")
            .map(|reason| reason["code"].as_str().unwrap())
            .collect();
        assert_eq!((ran.code, lost), (Some(0), vec![]), "{file:?}: {told:#}");
        codes.extend(reasons.iter().map(|reason| reason["code"].as_str().unwrap().to_string()));
    }
    for code in ["ipip", "ipam-problems", "pools", "addresses", "leak-collection"] {
        assert!(codes.contains(code), "no state has {code}: {codes:?}");
    }
    // What the recorded clusters do not use, as Calico stores it; and Felix, as it says that it runs.
    let of = |plural: &str, name: &str, spec: &str| {
        let key = format!("/calico/resources/v3/projectcalico.org/{plural}/{name}");
        (
            key,
            format!(r#"{{"metadata": {{"name": "{}"}}, "spec": {spec}}}"#, name.rsplit('/').next().unwrap()),
        )
    };
    server.put_all([
        of("bgppeers", "router", r#"{"peerIP": "10.9.9.9", "asNumber": 64512}"#),
        of("networkpolicies", "web/default.deny", "{}"),
        of("felixconfigurations", "default", r#"{"wireguardEnabled": true, "logSeverityScreen": "Info"}"#),
        of("bgpconfigurations", "node.kube-node-0", r#"{"listenPort": 1790}"#),
        of("ippools", "services", r#"{"cidr": "10.77.0.0/24", "allowedUses": ["LoadBalancer"]}"#),
        ("/calico/felix/v2/no-region/host/kube-node-0/status".to_string(), "{}".to_string()),
    ]);
    let ran = user.run("datastore preflight");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    for line in [
        "  policy: networkpolicies.projectcalico.org default.deny. ",
        "  wireguard: felixconfigurations.projectcalico.org default (wireguardEnabled). ",
        "  bgp: bgppeers.projectcalico.org router",
        "  loadbalancer: IPPool services. ",
        "  node-agents: host kube-node-0. ",
        "  felix-settings: FelixConfiguration default (logSeverityScreen). ",
        "  bgp-settings: BGPConfiguration node.kube-node-0 (listenPort). ",
    ] {
        assert!(ran.stdout.contains(line), "{line}: {}", ran.stdout);
    }
    let all = "policy,wireguard,bgp,loadbalancer";
    assert!(ran.stderr.contains(&format!("calicoctl datastore preflight --accept-loss={all}\n")), "{ran:?}");
    assert_eq!(user.run(&format!("datastore preflight --accept-loss={all}")).code, Some(0));
}
