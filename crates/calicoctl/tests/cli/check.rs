//! `ipam check` and `ipam release --from-report`: what Calico's do not find, and what they do not do.

use serde_json::{Value as Json, json};

use crate::damage::put;
use crate::world::World;

const IPAM: &str = "/calico/ipam/v2/";
const RESOURCES: &str = "/calico/resources/v3/projectcalico.org/";

/// A store with a pool of either family whose blocks have 4 addresses, and a node with tunnels.
fn world() -> World {
    let world = World::new();
    world.good("datastore init --ipv4-cidr=none");
    let of = |kind: &str, name: &str, spec: Json| json!({"kind": kind, "apiVersion": "projectcalico.org/v3", "metadata": {"name": name}, "spec": spec});
    let tunnels = json!({"ipv6VXLANTunnelAddr": "fd00::1", "wireguard": {"interfaceIPv6Address": "fd00::2"}});
    let all = json!([
        of("IPPool", "four", json!({"cidr": "10.0.0.0/24", "blockSize": 30})),
        of("IPPool", "six", json!({"cidr": "fd00::/112", "blockSize": 126})),
        of("Node", "n1", tunnels),
    ]);
    world.good_with("create -f -", &all.to_string());
    block(&world, "fd00::/126", &["four", "vxlan-v6-tunnel-addr-n1", "wireguard-v6-tunnel-addr-n1"]);
    endpoint(&world, "v6", "fd00::/128");
    for id in ["four", "vxlan-v6-tunnel-addr-n1", "wireguard-v6-tunnel-addr-n1"] {
        handle(&world, id, json!({"fd00::/126": 1}));
    }
    world
}

fn path(cidr: &str, owner: &str) -> String {
    let family = if cidr.contains(':') { "ipv6" } else { "ipv4" };
    format!("{IPAM}{owner}/{family}/block/{}", cidr.replace('/', "-"))
}

/// A block of n1. Its first addresses are held by these handles.
fn block(world: &World, cidr: &str, handles: &[&str]) {
    put(world, &path(cidr, "assignment"), &block_of(cidr, Some("host:n1"), handles).to_string());
    put(world, &path(cidr, "host/n1"), r#"{"state":"confirmed","deleted":false}"#);
}

fn block_of(cidr: &str, affinity: Option<&str>, handles: &[&str]) -> Json {
    let count = handles.len();
    let allocations: Vec<Json> = (0..4).map(|o| if o < count { o.into() } else { Json::Null }).collect();
    let attribute = |id: &&str| json!({"handle_id": id, "secondary": {"node": "n1"}});
    let sequences: Json = (0..count).map(|o| (o.to_string(), Json::from(50))).collect();
    json!({"cidr": cidr, "affinity": affinity, "allocations": allocations,
        "unallocated": (count..4).collect::<Vec<_>>(), "sequenceNumber": 100, "deleted": false,
        "attributes": handles.iter().map(attribute).collect::<Vec<_>>(), "sequenceNumberForAllocation": sequences})
}

fn handle(world: &World, id: &str, counts: Json) {
    put(world, &format!("{IPAM}handle/{id}"), &json!({"block": counts, "deleted": false}).to_string());
}

fn endpoint(world: &World, name: &str, net: &str) {
    let text = json!({"kind": "WorkloadEndpoint", "apiVersion": "projectcalico.org/v3",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"orchestrator": "k8s", "node": "n1", "ipNetworks": [net]}});
    put(world, &format!("{RESOURCES}workloadendpoints/default/{name}"), &text.to_string());
}

/// What only this program finds: each kind, with its record.
fn more(world: &World) -> Vec<(String, String)> {
    let found: Json = serde_json::from_str(&world.good("ipam check --format json")).unwrap();
    let ours = found["found"].as_array().unwrap().iter().filter(|entry| entry["counted"] == "rackpool");
    let text = |entry: &Json, field: &str| entry[field].as_str().unwrap().to_string();
    let ours: Vec<_> = ours.map(|entry| (text(entry, "kind"), text(entry, "record"))).collect();
    assert_eq!(found["moreProblems"], ours.len());
    ours
}

/// IPv6 tunnels and workloads are known, so nothing has leaked.
#[test]
fn a_store_without_problems_has_none() {
    let world = world();
    let text = world.good("ipam check --exit-code --show-all-ips");
    assert!(text.ends_with("Check complete; found 0 problems.\n"), "{text}");
    assert!(text.contains("No configuration for LoadBalancer kubecontroller found"), "{text}");
    assert!(text.contains("Found 0 node tunnel IPs."), "Calico counts only those of IPv4: {text}");
    let found: Json = serde_json::from_str(&world.good("ipam check --format=json")).unwrap();
    assert_eq!(
        (&found["problems"], &found["moreProblems"], &found["found"]),
        (&json!(0), &json!(0), &json!([]))
    );
    assert!(world.good("ipam check --format=yaml").contains("moreProblems: 0"));
    put(&world, &format!("{RESOURCES}nodes/n1"), r#"{"metadata":{"name":"n1"},"spec":{}}"#);
    assert!(
        world.good("ipam check").contains("Found 2 IPs that are allocated in IPAM but not actually in use.")
    );
}

/// Every kind of problem that Calico's check does not count, each in a store of its own.
#[test]
fn each_problem_of_ours_is_told_and_counted() {
    type Break = fn(&World);
    let broken: &[(&str, &str, Break)] = &[
        ("missing-handle", "IPAMHandleKey(id=gone)", |world| {
            block(world, "10.0.0.0/30", &["gone"]);
            endpoint(world, "a", "10.0.0.0/32");
        }),
        ("handle-count", "IPAMHandleKey(id=high)", |world| {
            block(world, "10.0.0.0/30", &["high"]);
            handle(world, "high", json!({"10.0.0.0/30": 3}));
            endpoint(world, "a", "10.0.0.0/32");
        }),
        ("handle-count", "IPAMHandleKey(id=low)", |world| {
            block(world, "10.0.0.0/30", &["low", "low"]);
            handle(world, "low", json!({"10.0.0.0/30": 1}));
            endpoint(world, "a", "10.0.0.0/32");
            endpoint(world, "b", "10.0.0.1/32");
        }),
        ("two-owners", "10.0.0.0", |world| {
            block(world, "10.0.0.0/30", &["h"]);
            handle(world, "h", json!({"10.0.0.0/30": 1}));
            endpoint(world, "a", "10.0.0.0/32");
            endpoint(world, "b", "10.0.0.0/32");
        }),
        ("pool-gone", "block 11.0.0.0/30", |world| {
            block(world, "11.0.0.0/30", &["h"]);
            handle(world, "h", json!({"11.0.0.0/30": 1}));
            endpoint(world, "a", "11.0.0.0/32");
        }),
        ("ownerless-block", "block 10.0.0.0/30", |world| {
            let json = block_of("10.0.0.0/30", None, &[]);
            put(world, &path("10.0.0.0/30", "assignment"), &json.to_string());
        }),
        ("affinity", "BlockAffinityKey(cidr=10.0.0.0/30, host=n1, affinityType=host)", |world| {
            put(world, &path("10.0.0.0/30", "host/n1"), r#"{"state":"confirmed","deleted":false}"#);
        }),
        ("affinity", "BlockKey(cidr=10.0.0.0/30)", |world| {
            let json = block_of("10.0.0.0/30", Some("host:n1"), &[]);
            put(world, &path("10.0.0.0/30", "assignment"), &json.to_string());
        }),
        ("block-size", "BlockKey(cidr=10.0.0.0/29)", |world| {
            let mut json = block_of("10.0.0.0/29", Some("host:n1"), &[]);
            json["allocations"] = vec![Json::Null; 8].into();
            json["unallocated"] = (0..8).collect::<Vec<_>>().into();
            put(world, &path("10.0.0.0/29", "assignment"), &json.to_string());
            put(world, &path("10.0.0.0/29", "host/n1"), r#"{"state":"confirmed","deleted":false}"#);
        }),
        ("unreadable", "IPPool(odd)", |world| put(world, &format!("{RESOURCES}ippools/odd"), "{")),
        ("unreadable", "BlockKey(cidr=10.0.0.0/30)", |world| {
            block(world, "10.0.0.0/30", &[]);
            put(world, &path("10.0.0.0/30", "assignment"), "{}");
        }),
        ("unreadable", "Workload(default/odd)", |world| endpoint(world, "odd", "elsewhere")),
        ("not-allocated", "fd00::1:5", |world| {
            let node = json!({"metadata": {"name": "n2"}, "spec": {"ipv6VXLANTunnelAddr": "fd00::1:5"}});
            put(world, &format!("{RESOURCES}nodes/n2"), &node.to_string());
        }),
    ];
    for (kind, record, break_it) in broken {
        let world = world();
        break_it(&world);
        assert_eq!(more(&world), [(kind.to_string(), record.to_string())]);
        let ran = world.run("ipam check --exit-code");
        assert!(ran.code == 1 && ran.stderr.is_empty(), "{ran:?}");
        let (calicos, ours) = ran.stdout.split_once("Check complete; found 0 problems.\n").unwrap();
        assert!(!calicos.contains("rackpool"), "{calicos}");
        assert!(ours.starts_with(&format!("  {record}: ")), "{ours}");
        assert!(ours.ends_with(&format!("({kind})\nrackpool found 1 more problems.\n")), "{ours}");
        assert_eq!(world.run("ipam check").code, 0, "as Calico's");
        assert_eq!(world.good("ipam check"), world.good("ipam check"), "the order is stable");
    }
}

/// Nobody can look services up, so their addresses are not called leaked.
#[test]
fn services_that_cannot_be_seen_keep_their_addresses() {
    let world = world();
    let controllers = json!({"node": {}, "loadBalancer": {"assignIPs": "AllServices"}});
    let document = json!({"kind": "KubeControllersConfiguration", "apiVersion": "projectcalico.org/v3",
        "metadata": {"name": "default"}, "spec": {"controllers": controllers}});
    world.good_with("create -f -", &document.to_string());
    let mut json = block_of("10.0.0.0/30", Some("host:n1"), &["lb", "pod"]);
    json["attributes"][0]["secondary"] = json!({"type": "LoadBalancer", "namespace": "ns", "service": "s"});
    put(&world, &path("10.0.0.0/30", "assignment"), &json.to_string());
    let text = world.good("ipam check --show-problem-ips");
    assert!(text.contains("No Kubernetes is named (--kubeconfig), skipping service check"), "{text}");
    assert!(text.contains("  10.0.0.1 leaked;") && !text.contains("10.0.0.0 leaked"), "{text}");
}

#[test]
fn many_problems_are_shown_where_they_are_wanted() {
    let world = world();
    for n in 0..30 {
        put(&world, &path(&format!("10.0.0.{}/30", n * 4), "host/n1"), r#"{"state":"confirmed"}"#);
    }
    let text = world.good("ipam check");
    assert!(
        text.contains(
            "\n  ... and 10 more, which --show-problem-ips shows\nrackpool found 30 more problems.\n"
        )
    );
    assert_eq!(world.good("ipam check --show-problem-ips").matches("(affinity)").count(), 30);
}

/// Two addresses have leaked; one of them was assigned anew after the report was made.
#[test]
fn only_what_is_still_as_reported_is_released() {
    let world = world();
    block(&world, "10.0.0.0/30", &["a", "b"]);
    handle(&world, "a", json!({"10.0.0.0/30": 1}));
    handle(&world, "b", json!({"10.0.0.0/30": 1}));
    handle(&world, "idle", json!({"10.0.0.4/30": 1}));
    let report = world.path("report.json").display().to_string();
    let text = world.good(&format!("ipam check -o {report}"));
    assert!(text.contains("found 3 problems"), "{text}");
    let mut json = block_of("10.0.0.0/30", Some("host:n1"), &["a", "b"]);
    json["sequenceNumberForAllocation"]["1"] = 77.into();
    put(&world, &path("10.0.0.0/30", "assignment"), &json.to_string());
    let release = format!("ipam release --from-report {report}");
    let ran = world.run(&release);
    assert!(ran.code == 1 && ran.stderr.contains("data store is not locked"), "{ran:?}");
    let ran = world.run(&format!("{release} --force"));
    assert_eq!(ran.code, 1, "{ran:?}");
    for line in [
        "Releasing 2 old IPs...",
        "An error occurred while releasing some IPs: update conflict: 10.0.0.1.  Problems are",
        "Released 1 IPs successfully",
        "Released 1 handles; 0 skipped; 0 errors.",
        "Not everything was released.",
    ] {
        assert!(ran.stdout.contains(line), "{line}: {ran:?}");
    }
    assert!(!ran.stdout.contains("You may now unlock"), "{ran:?}");
    assert_eq!(world.good("ipam show --ip 10.0.0.0"), "10.0.0.0 is not assigned\n");
    assert!(world.good("ipam show --ip 10.0.0.1").contains("Handle ID: b"));
    assert!(more(&world).is_empty());
}

/// A report that calls a handle leaked of which a block holds an address: the handle stays.
#[test]
fn a_handle_with_addresses_is_kept() {
    let world = world();
    block(&world, "10.0.0.0/30", &["used"]);
    handle(&world, "used", json!({"10.0.0.0/30": 1}));
    endpoint(&world, "a", "10.0.0.0/32");
    let path = world.path("report.json").display().to_string();
    world.good(&format!("ipam check -o {path}"));
    let mut report: Json = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    // The revision that `put` gives.
    report["leakedHandles"] = json!([{"ID": "used", "UID": null, "Revision": "1000000"}]);
    std::fs::write(&path, report.to_string()).unwrap();
    let text = world.good(&format!("ipam release --from-report {path} --force"));
    assert!(text.contains("Released 0 handles; 1 skipped; 0 errors."), "{text}");
    assert!(more(&world).is_empty());
}

#[test]
fn reports_of_others_are_refused() {
    let world = world();
    let path = world.path("report.json").display().to_string();
    world.good(&format!("ipam check -o {path}"));
    let report: Json = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    for (field, value, words) in [
        ("clusterGUID", "x", "mismatched cluster GUID. Refusing to release"),
        (
            "version",
            "v1.0.0",
            "was produced using a different version (v1.0.0) of calicoctl. Refusing to release",
        ),
        ("clusterInformationRevision", "0", "the provided reports are all stale"),
        ("allocations", "none", "data store is not locked"),
    ] {
        let mut other = report.clone();
        other[field] = value.into();
        std::fs::write(&path, other.to_string()).unwrap();
        let ran = world.run(&format!("ipam release --from-report {path}"));
        assert!(ran.code == 1 && ran.stderr.contains(words), "{ran:?}");
    }
    std::fs::write(&path, "no JSON").unwrap();
    let ran = world.run(&format!("ipam release --from-report {path} --force"));
    assert!(ran.code == 1 && ran.stderr.contains("report.json is no report"), "{ran:?}");
    let ran = world.run(&format!("ipam release --from-report {path} --ip 10.0.0.1"));
    assert!(ran.code == 1 && ran.stderr.contains("do not go together"), "{ran:?}");
}

/// A store with a report, made while the addresses 10.0.0.0 and 10.0.0.1 of n1 had leaked; and the command
/// that releases them, with the store locked.
fn leaked() -> (World, String) {
    let world = world();
    block(&world, "10.0.0.0/30", &["a", "b"]);
    handle(&world, "a", json!({"10.0.0.0/30": 1}));
    handle(&world, "b", json!({"10.0.0.0/30": 1}));
    world.good("datastore migrate lock");
    let report = world.path("report.json").display().to_string();
    world.good(&format!("ipam check -o {report}"));
    (world, format!("ipam release --from-report {report}"))
}

fn is_assigned(world: &World, addr: &str) -> bool {
    world.good(&format!("ipam show --ip {addr}")).contains("is in use")
}

#[test]
fn what_is_in_use_by_now_is_kept() {
    let (world, release) = leaked();
    endpoint(&world, "late", "10.0.0.0/32");
    let ran = world.run(&format!("{release} --force"));
    assert!(ran.code == 1 && ran.stderr.contains("kept, for they are in use by now: 10.0.0.0"), "{ran:?}");
    assert!(is_assigned(&world, "10.0.0.0") && !is_assigned(&world, "10.0.0.1"));
}

/// An endpoint that cannot be read may use any address.
#[test]
fn where_an_endpoint_cannot_be_read_nothing_is_released() {
    let path = format!("{RESOURCES}workloadendpoints/default/odd");
    let of =
        |spec: Json| json!({"metadata": {"name": "odd", "namespace": "default"}, "spec": spec}).to_string();
    for text in [
        "{".to_string(),
        of(json!({"node": "n1", "ipNetworks": "10.0.0.0/32"})),
        of(json!({"node": "n1", "ipNetworks": ["10.0.0.0/33"]})),
        of(json!("x")),
        of(Json::Null),
    ] {
        let (world, release) = leaked();
        put(&world, &path, &text);
        let ran = world.run(&release);
        assert!(ran.code == 1 && ran.stderr.contains("nothing was released"), "{text}: {ran:?}");
        assert!(is_assigned(&world, "10.0.0.0") && is_assigned(&world, "10.0.0.1"), "{text}");
    }
    // Go reads a field in any case.
    let (world, release) = leaked();
    put(&world, &path, &of(json!({"node": "n1", "IPNetworks": ["10.0.0.0/32"]})));
    let ran = world.run(&release);
    assert!(ran.code == 1 && is_assigned(&world, "10.0.0.0"), "{ran:?}");
}

/// Where another main plugin calls calico-ipam, nobody writes endpoints.
#[test]
fn addresses_of_a_node_without_endpoints_are_kept() {
    let (world, release) = leaked();
    let endpoint = format!("{RESOURCES}workloadendpoints/default/v6");
    let elsewhere = json!({"metadata": {"name": "v6", "namespace": "default"},
        "spec": {"node": "n2", "ipNetworks": ["fd00::/128"]}});
    put(&world, &endpoint, &elsewhere.to_string());
    let ran = world.run(&release);
    assert!(ran.code == 1 && ran.stderr.contains("have no WorkloadEndpoint at all"), "{ran:?}");
    assert!(is_assigned(&world, "10.0.0.0") && is_assigned(&world, "10.0.0.1"));
    assert!(world.good(&format!("{release} --force")).contains("Released 2 IPs"));
}

#[test]
fn a_report_that_does_not_say_who_uses_an_address_is_refused() {
    let (world, release) = leaked();
    let path = world.path("report.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let bare: Vec<&str> = text.lines().filter(|line| !line.contains("\"inUse\"")).collect();
    assert!(bare.len() < text.lines().count());
    std::fs::write(&path, bare.join("\n")).unwrap();
    let ran = world.run(&release);
    assert!(ran.code == 1 && ran.stderr.contains("is no report"), "{ran:?}");
    assert!(is_assigned(&world, "10.0.0.0"));
}

#[test]
fn what_the_allocator_reads_is_looked_at_too() {
    let world = world();
    put(&world, &format!("{RESOURCES}ipreservations/bad"), "{");
    let found = more(&world);
    assert!(found.len() == 1 && found[0].0 == "unreadable" && found[0].1.contains("bad"), "{found:?}");
}
