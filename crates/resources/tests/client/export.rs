//! The contents of an export. Its exact texts are compared with recordings 119 and 123 elsewhere.

use std::collections::BTreeMap;

use api::{Affinity, HandleId, Key, Kind, Owner, Use, Value};
use ipam::AutoAssign;
use resources::export::{Export, ExportError, reads};
use serde_json::{Value as Json, json};
use store::{MemoryStore, Store};

use crate::common::{Fixed, WITHIN, client, pool, resource, run};

/// A store with a node that Kubernetes knows as `k-1`, and a tunnel address of that node.
fn world(orchestrator: &str) -> MemoryStore {
    let (store, effects) = (MemoryStore::new(), Fixed::default());
    let client = client(&store, &effects);
    run(client.ensure_initialised()).unwrap();
    let refs = json!({"orchRefs": [{"nodeName": "k-1", "orchestrator": orchestrator}]});
    run(client.create(&resource(Kind::Node, "n1", refs))).unwrap();
    run(client.create(&resource(Kind::BGPConfiguration, "node.n1", json!({"logSeverityScreen": "Info"}))))
        .unwrap();
    run(client.create(&resource(Kind::BGPConfiguration, "node.gone", json!({"logSeverityScreen": "Info"}))))
        .unwrap();
    run(client.create(&pool("a", "10.0.0.0/24"))).unwrap();
    let mut request = AutoAssign::new("n1", Use::Workload);
    request.handle = HandleId::new("vxlan-tunnel-addr-n1");
    request.attributes = BTreeMap::from([("node".to_string(), "n1".to_string())]);
    request.v4 = 1;
    assert!(run(ipam::run(&store, &effects, request.planner(), WITHIN)).unwrap().is_whole());
    store.put(
        Key::Affinity { owner: Owner::load_balancer(), block: "10.0.0.252/30".parse().unwrap() },
        Value::Affinity(Affinity::default()),
    );
    store
}

fn export(store: &MemoryStore) -> Export {
    Export::of(&run(store.read(&reads(), WITHIN)).unwrap())
}

fn names(list: &Json) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

#[test]
fn nodes_have_their_names_in_kubernetes_everywhere() {
    let export = export(&world("k8s"));
    let kinds: Vec<_> = export.lists.iter().map(|list| list["kind"].as_str().unwrap()).collect();
    assert_eq!((kinds.len(), kinds[0], kinds[16]), (17, "IPPoolList", "BGPFilterList"));
    assert_eq!(
        (names(&export.lists[12]), names(&export.lists[13])),
        (vec!["k-1"], vec!["node.gone", "node.k-1"])
    );
    let rest = export.rest.unwrap();
    assert_eq!(rest.virtual_affinities, 1);
    assert_eq!(rest.cluster["metadata"]["name"], "default");
    let [affinities, blocks, handles] =
        ["block_affinities", "blocks", "handles"].map(|part| rest.ipam[part].as_array().unwrap());
    assert_eq!((affinities.len(), blocks.len(), handles.len()), (1, 1, 1));
    assert!(affinities[0]["Key"].as_str().unwrap().starts_with("/calico/ipam/v2/host/k-1/ipv4/block/"));
    assert_eq!(handles[0]["Key"], "/calico/ipam/v2/handle/vxlan-tunnel-addr-k-1");
    let block = &blocks[0]["Value"];
    assert_eq!(block["affinity"], "host:k-1");
    assert_eq!(block["attributes"][0]["handle_id"], "vxlan-tunnel-addr-k-1");
    assert_eq!(block["attributes"][0]["secondary"]["node"], "k-1");
    assert_eq!(rest.ipam.get("config"), None, "there is none");
}

#[test]
fn what_comes_before_the_nodes_is_there_when_one_has_no_name_in_kubernetes() {
    let export = export(&world("nomad"));
    assert_eq!(export.lists.len(), 12);
    assert_eq!(export.rest, Err(ExportError::NotOfKubernetes("n1".to_string())));
}

#[test]
fn kinds_of_others_are_named_as_in_keys() {
    let kinds: Vec<_> = resources::export::unknown_kinds().collect();
    for plural in ["globalnetworkpolicies", "globalnetworksets", "bgpfilters"] {
        assert!(kinds.iter().any(|kind| kind == plural), "{kinds:?}");
    }
    assert!(kinds.iter().all(|kind| api::Kind::from_plural(kind).is_none()), "{kinds:?}");
}
