//! Records in the store that cannot be read: other requests go on, and the log names each of the records.

use api::{Key, Kind};
use serde_json::{Value as Json, json};

use crate::harness::{Answer, Machine, node, pool};

/// A machine with a node, a pool with free addresses, and the container `c0` with an address.
fn machine() -> Machine {
    let machine = Machine::new(&[pool("p", "10.0.0.0/24", json!({"blockSize": 28})), node("n1", json!({}))]);
    assert_eq!(machine.run("ADD", "c0", "").addresses().len(), 1);
    machine
}

/// Changes the stored text of a record.
fn damage(machine: &Machine, key: &Key, change: impl FnOnce(&mut Json)) {
    let path = key.etcd_path();
    let mut json: Json = serde_json::from_str(&machine.text(&path).unwrap()).unwrap();
    change(&mut json);
    machine.put_text(&path, &json.to_string());
}

fn block_of(machine: &Machine) -> Key {
    Key::Block(machine.blocks()[0].cidr)
}

fn names(answer: &Answer, words: &[&str]) {
    for word in words {
        assert!(answer.stderr.contains(word), "{word:?} is not in {}", answer.stderr);
    }
}

/// Each record is damaged alone: containers still come and go, and the log names the record with field and
/// reason.
#[test]
fn one_bad_record_stops_nothing() {
    let pool_key = |name: &str| Key::global(Kind::IPPool, name).etcd_path();
    let bad_pool = |spec: Json| json!({"metadata": {"name": "bad"}, "spec": spec}).to_string();
    let rows: Vec<(String, String, &[&str])> = vec![
        (
            pool_key("bad"),
            bad_pool(json!({"cidr": "10.9.0.0/24", "nodeSelector": "rack == 1"})),
            &["IPPool(bad)", "spec.nodeSelector", "rack == 1", "values are in quotes"],
        ),
        (
            pool_key("bad"),
            bad_pool(json!({"cidr": "10.9.0.0/24", "namespaceSelector": 5})),
            &["IPPool(bad)", "spec.namespaceSelector"],
        ),
        (
            pool_key("other"),
            bad_pool(json!({"cidr": "10.9.0.0/24"})),
            &["IPPool(other)", "metadata.name", "bad"],
        ),
        (pool_key("bad"), "{".to_string(), &["IPPool(bad)"]),
        (pool_key("a/b"), "{}".to_string(), &["ippools/a/b"]),
        (
            "/calico/ipam/v2/host/n1/ipv4/block/10.0.0.96-28".to_string(),
            r#"{"state":"perhaps"}"#.to_string(),
            &["BlockAffinityKey(cidr=10.0.0.96/28", "state", "perhaps"],
        ),
        ("/calico/ipam/v2/host/n1/ipv4/block/nonsense".to_string(), "{}".to_string(), &["block/nonsense"]),
        (
            Key::IpamConfig.etcd_path(),
            r#"{"strict_affinity":"yes"}"#.to_string(),
            &["IPAMConfig", "strict_affinity"],
        ),
    ];
    for (path, text, words) in rows {
        let machine = machine();
        machine.put_text(&path, &text);
        let added = machine.run("ADD", "c1", "");
        assert_eq!(added.addresses().len(), 1, "{path}: {added:?}");
        assert!(added.addresses()[0].starts_with("10.0.0."), "{path}: {added:?}");
        names(&added, words);
        assert_eq!(added.stderr.matches("[ERROR]").count(), 1, "once: {}", added.stderr);
        for container in ["c0", "c1"] {
            let gone = machine.run("DEL", container, "");
            assert_eq!(gone.code, Some(0), "{path}: {gone:?}");
        }
        assert!(machine.counted().is_empty(), "{path}");
        assert_eq!(machine.text(&path).as_deref(), Some(&*text), "{path}");
    }
}

/// It is uncertain who holds an address of this block. Other blocks are used, and a DEL that cannot be served
/// names the block.
#[test]
fn a_doubtful_block_keeps_its_addresses() {
    for (pointer, value, field) in [
        ("/allocations", json!([0]), "allocations"),
        ("/allocations/0", json!(9), "allocations[0]"),
        ("/affinity", json!(5), "affinity"),
        ("/sequenceNumber", json!("x"), "sequenceNumber"),
    ] {
        let machine = machine();
        let key = block_of(&machine);
        damage(&machine, &key, |json| *json.pointer_mut(pointer).unwrap() = value);
        let added = machine.run("ADD", "c1", "");
        names(&added, &[&key.to_string(), field]);
        let Key::Block(cidr) = &key else { unreachable!() };
        let addr = added.addresses().remove(0);
        assert!(!cidr.cidr().contains(addr.split('/').next().unwrap().parse().unwrap()), "{addr}");
        let (code, told) = machine.run("DEL", "c0", "").error();
        assert!(code == 999 && told.contains(&key.to_string()) && told.contains(field), "{told}");
        assert_eq!(machine.run("DEL", "c1", "").code, Some(0));
        assert_eq!(machine.handles(), ["net.c0"], "the next DEL finds it");
    }
}

/// The block has a strange attribute or queue. It is kept as it is, and the block is still used.
#[test]
fn an_odd_block_goes_on() {
    for (pointer, value, kept) in [
        ("/attributes/0/secondary/node", json!(5), "\"node\":5"),
        ("/unallocated/0", json!(null), "null,null"),
        ("/unallocated/0", json!(-1), "-1"),
        ("/unallocated/0", json!(4), "4"),
    ] {
        let machine = machine();
        let key = block_of(&machine);
        damage(&machine, &key, |json| *json.pointer_mut(pointer).unwrap() = value);
        let added = machine.run("ADD", "c1", "");
        let Key::Block(cidr) = &key else { unreachable!() };
        let addr = added.addresses().remove(0);
        assert!(cidr.cidr().contains(addr.split('/').next().unwrap().parse().unwrap()), "{addr}");
        names(&added, &[&key.to_string()]);
        let text = machine.text(&key.etcd_path()).unwrap();
        assert!(text.contains(kept), "{text}");
        assert_eq!(machine.run("DEL", "c0", "").code, Some(0));
        assert_eq!(machine.taken().into_values().collect::<Vec<_>>(), ["net.c1"]);
    }
}

/// A request that cannot go on reports which record is the reason, and what is wrong with it.
#[test]
fn what_is_refused_names_the_record() {
    let machine = machine();
    let reservation = Key::global(Kind::IPReservation, "r").etcd_path();
    machine.put_text(&reservation, r#"{"metadata":{"name":"r"},"spec":{"reservedCIDRs":["10.0.0.0/33"]}}"#);
    let added = machine.run("ADD", "reserving", "");
    assert_eq!(added.addresses().len(), 1);
    names(&added, &["IPReservation(r)", "spec.reservedCIDRs[0]", "10.0.0.0/33"]);
    assert_eq!(machine.run("DEL", "reserving", "").code, Some(0));
    assert_eq!(machine.run("DEL", "c0", "").code, Some(0));
    machine.delete(&reservation);

    let node = Key::global(Kind::Node, "n1").etcd_path();
    let was = machine.text(&node).unwrap();
    machine.put_text(&node, r#"{"metadata":{"name":"n1","labels":{"rack":0}}}"#);
    let (_, told) = machine.run("ADD", "c1", "").error();
    assert!(told.contains("Node(n1)") && told.contains("metadata.labels"), "{told}");
    machine.put_text(&node, &was);

    machine.put_text("/calico/ipam/v2/handle/net.c1", r#"{"block":{"10.0.0.0/28":-1}}"#);
    for command in ["ADD", "DEL"] {
        let (_, told) = machine.run(command, "c1", "").error();
        assert!(told.contains("IPAMHandleKey(id=net.c1)"), "{command}: {told}");
    }
    assert_eq!(machine.run("ADD", "c2", "").addresses().len(), 1);

    // If no pool is left, the error names the pool that could not be read.
    let pool = Key::global(Kind::IPPool, "p");
    damage(&machine, &pool, |json| json["spec"]["nodeSelector"] = json!("rack = '0'"));
    let refused = machine.run("ADD", "c3", "");
    assert_eq!(refused.error().1, "no configured Calico pools for node n1");
    let details = refused.json()["details"].as_str().unwrap_or_default().to_string();
    assert!(details.contains("IPPool(p): spec.nodeSelector: 'rack = '0''"), "{details}");
}

/// Control characters in stored names cannot change a terminal that shows the log.
#[test]
fn control_characters_of_names_are_spelled_out() {
    let machine = machine();
    machine.put_text("/calico/resources/v3/projectcalico.org/ippools/a\u{1b}[2J\u{9b}b", "{");
    let added = machine.run("ADD", "c1", "");
    assert_eq!(added.code, Some(0));
    assert!(
        added.stderr.contains("a\\u{1b}[2J") && !added.stderr.contains(['\u{1b}', '\u{9b}']),
        "{added:?}"
    );
}
