//! Records that cannot be read: lists leave them out and name them; a command for a single one fails with the
//! reason.

use api::{Key, Kind};
use serde_json::json;

use crate::world::{World, pool};

const PATH: &str = "/calico/resources/v3/projectcalico.org/";

pub fn put(world: &World, path: &str, text: &str) {
    let file = rusqlite::Connection::open(world.path("rackpool.db")).unwrap();
    let put = "INSERT INTO kv (key, value, revision) VALUES (?1, ?2, 1000000) \
               ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    assert_eq!(file.execute(put, [path, text]).unwrap(), 1);
}

fn world() -> World {
    let world = World::new();
    world.good("datastore init --ipv4-cidr=none");
    world.good_with("create -f -", &pool("good", "10.0.0.0/16"));
    world
}

/// Tests each kind. A list shows the other records and names the bad one on standard error. A command for the
/// bad record fails with the reason, but the record can be deleted.
#[test]
fn lists_leave_out_and_name() {
    for (kind, plural) in [
        (Kind::IPPool, "ippools"),
        (Kind::IPReservation, "ipreservations"),
        (Kind::Node, "nodes"),
        (Kind::BGPPeer, "bgppeers"),
        (Kind::BGPConfiguration, "bgpconfigurations"),
    ] {
        for (text, words) in [
            ("{", &[][..]),
            (r#"{"metadata":{"name":"other"},"spec":{}}"#, &["metadata.name", "other"]),
            (r#"{"metadata":{"name":"bad","labels":{"a":1}},"spec":{}}"#, &["metadata.labels"]),
        ] {
            let world = world();
            put(&world, &Key::global(kind, "bad").etcd_path(), text);
            let title = format!("{}(bad)", kind.name());
            for line in
                [format!("get {plural}"), format!("get {plural} -o yaml"), format!("get {plural} -o json")]
            {
                let ran = world.run(&line);
                assert_eq!(ran.code, 0, "{line}: {ran:?}");
                assert!(
                    ran.stderr.starts_with("warning: ") && ran.stderr.contains(&title),
                    "{line}: {ran:?}"
                );
                assert!(words.iter().all(|word| ran.stderr.contains(word)), "{line}: {ran:?}");
                assert_eq!(ran.stderr.lines().count(), 1, "once: {ran:?}");
                assert_eq!(ran.stdout.contains("good"), kind == Kind::IPPool, "{line}: {ran:?}");
            }
            let ran = world.run(&format!("get {plural} bad"));
            assert!(ran.code == 1 && ran.stderr.contains(&title), "{ran:?}");
            let ran = world.run(&format!("delete {plural} bad"));
            assert_eq!(ran.code, 0, "{ran:?}");
            world.good(&format!("get {plural}"));
        }
    }
}

/// A pool whose selector cannot be read is still shown, with the fault's place marked.
#[test]
fn a_bad_selector_is_shown_with_its_place() {
    let world = world();
    let spec = json!({"cidr": "10.73.0.0/24", "nodeSelector": "rack == 1"});
    let text = json!({"metadata": {"name": "rack-7"}, "spec": spec}).to_string();
    put(&world, &format!("{PATH}ippools/rack-7"), &text);
    let ran = world.run("get ippool rack-7 -o yaml");
    assert!(ran.code == 0 && ran.stdout.contains("nodeSelector: rack == 1"), "{ran:?}");
    insta::assert_snapshot!(ran.stderr, @r#"
    warning: IPPool(rack-7): spec.nodeSelector: 'rack == 1' is no selector: expected string (values are in quotes: "1"); no address comes from it until it is mended (calicoctl apply)
      |
      | rack == 1
      |         ^
      = values are in quotes: "1"
    "#);
    let ran = world.run("ipam show");
    assert!(ran.stdout.contains("10.73.0.0/24") && ran.stderr.contains("IPPool(rack-7)"), "{ran:?}");
}

/// Every block and pool is shown or named. A block that cannot be read counts as full.
#[test]
fn usage_names_what_it_cannot_count() {
    let world = world();
    let block = |cidr: &str, changed: serde_json::Value| {
        let mut json = json!({"cidr": cidr, "affinity": "host:n", "allocations": [0, null, null, null],
            "unallocated": [1, 2, 3], "attributes": [{"handle_id": "h", "secondary": {"pod": "p"}}],
            "sequenceNumber": 1, "sequenceNumberForAllocation": {"0": 1}, "deleted": false});
        json.as_object_mut().unwrap().extend(changed.as_object().unwrap().clone());
        json.to_string()
    };
    let at = |cidr: &str| format!("/calico/ipam/v2/assignment/ipv4/block/{}", cidr.replace('/', "-"));
    put(&world, &at("10.0.0.0/30"), &block("10.0.0.0/30", json!({})));
    put(&world, &at("10.0.0.4/30"), &block("10.0.0.4/30", json!({"allocations": [0]})));
    let odd = json!({"attributes": [{"handle_id": "h", "secondary": {"pod": 5}}]});
    put(&world, &at("10.0.0.8/30"), &block("10.0.0.8/30", odd));
    put(&world, &format!("{PATH}ippools/bad"), "[]");
    let ran = world.run("ipam show --show-blocks");
    assert_eq!(ran.code, 0, "{ran:?}");
    for word in ["BlockKey(cidr=10.0.0.4/30): allocations", "attributes[0].secondary.pod", "IPPool(bad)"] {
        assert!(ran.stderr.contains(word), "{word}: {ran:?}");
    }
    let row =
        |cidr: &str| ran.stdout.lines().find(|line| line.contains(cidr)).unwrap_or_default().to_string();
    assert!(
        row("10.0.0.4/30").contains("4 (100%)") && row("10.0.0.4/30").contains("0 (0%)"),
        "{}",
        ran.stdout
    );
    assert!(
        row("10.0.0.0/30").contains("1 (25%)") && row("10.0.0.8/30").contains("1 (25%)"),
        "{}",
        ran.stdout
    );
    let ran = world.run("ipam show --ip=10.0.0.5");
    assert!(ran.code == 1 && ran.stderr.contains("BlockKey(cidr=10.0.0.4/30)"), "{ran:?}");
    let ran = world.run("ipam show --ip=10.0.0.8");
    assert!(ran.code == 0 && ran.stdout.contains("Handle ID: h"), "{ran:?}");
    let ran = world.run("ipam release --ip=10.0.0.5");
    assert!(ran.code == 1 && ran.stderr.contains("allocations"), "{ran:?}");
}

/// A record that cannot be read is not replaced by defaults, neither by `ipam configure` nor by a copy.
#[test]
fn what_cannot_be_read_is_not_overwritten() {
    let world = world();
    put(&world, "/calico/ipam/v2/config", r#"{"maxBlocksPerHost":"many"}"#);
    for line in ["ipam show --show-configuration", "ipam configure --strictaffinity=true"] {
        let ran = world.run(line);
        assert!(ran.code == 1 && ran.stderr.contains("maxBlocksPerHost"), "{line}: {ran:?}");
    }
    let ran = world.run_with("apply -f -", &pool("good", "10.0.0.0/16"));
    assert_eq!(ran.code, 0, "{ran:?}");
}

/// Names, labels and owners come from other people, who may put control characters into them.
#[test]
fn a_terminal_does_not_obey_what_is_stored() {
    let world = world();
    let name = "a\u{1b}[2J\u{9b}31mb";
    let text =
        json!({"metadata": {"name": name, "labels": {"x": "\u{1b}]0;t\u{7}"}}, "spec": {}}).to_string();
    put(&world, &format!("{PATH}nodes/{name}"), &text);
    put(&world, &format!("{PATH}nodes/b\u{1b}[1m"), "{");
    for line in [
        "get nodes",
        "get nodes -o wide",
        "get nodes -o yaml",
        "get nodes -o json",
        "get nodes \u{1b}[5m",
        "get nodes -o custom-columns=NAME",
        "get nodes -o go-template={{range.}}{{range.Items}}{{.ObjectMeta.Name}}{{end}}{{end}}",
    ] {
        let ran = world.run(line);
        let all = format!("{}{}", ran.stdout, ran.stderr);
        let obeyed = |c: char| c.is_control() && !['\n', '\t'].contains(&c);
        assert!(!all.contains(obeyed), "{line}: {all:?}");
        let is_shown = ["get nodes", "get nodes -o wide", "get nodes -o json"].contains(&line);
        assert!(all.contains("[2J") || !is_shown, "{line}: {all:?}");
    }
    let json: serde_json::Value = serde_json::from_str(&world.run("get nodes -o json").stdout).unwrap();
    assert_eq!(json["items"][0]["metadata"]["name"], name, "it is the same name");
}

/// In this file a table is replaced by a view that computes without end. The file is used as the store, and
/// as the backup to be restored.
#[test]
fn what_computes_without_end_is_not_begun() {
    let world = world();
    let file = world.path("backup.db");
    world.good(&format!("datastore backup {}", file.display()));
    let endless = "DROP TABLE kv; CREATE VIEW kv AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) \
                   SELECT x AS key, x AS revision, x AS value, x AS sum FROM n WHERE x < 0";
    rusqlite::Connection::open(&file).unwrap().execute_batch(endless).unwrap();
    let ran = world.run(&format!("datastore restore --force {}", file.display()));
    assert!(ran.code == 1 && ran.stderr.contains(r#"the view "kv" in it is not"#), "{ran:?}");
    assert!(world.good("get ippools").contains("good"));
    rusqlite::Connection::open(world.path("rackpool.db")).unwrap().execute_batch(endless).unwrap();
    // Calico prints this error to standard output.
    let ran = world.run("get ippools");
    assert!(ran.code == 1 && ran.stdout.contains(r#"the view "kv" in it is not"#), "{ran:?}");
}
