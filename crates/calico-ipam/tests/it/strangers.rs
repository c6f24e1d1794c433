//! Handles are joined from names that may contain dots, so two containers can have the same handle. Neither
//! can release the other's addresses.

use serde_json::json;

use crate::harness::{Machine, node, pool};

fn machine() -> Machine {
    Machine::new(&[node("n1", json!({})), pool("four", "10.0.0.0/24", json!({}))])
}

fn pod(namespace: &str, name: &str) -> String {
    format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name}")
}

/// The handle of Calico's version 2, `<namespace>.<pod>` or `<container>`, may equal another container's
/// handle of today.
#[test]
fn an_old_handle_that_is_anothers_of_today() {
    // Each row: the victim's network, container and arguments; the other container and its arguments.
    for (network, container, victims, stranger, strangers) in [
        ("net", "c1", pod("default", "web-0"), "x", pod("net", "c1")),
        ("net", "c1", String::new(), "x", pod("net", "c1")),
        ("net", "c1", pod("default", "web-0"), "net.c1", String::new()),
        ("net", "c1", String::new(), "net.c1", String::new()),
        // The handle of a virtual machine has this form.
        ("net.vmi.default", "vm", pod("default", "virt-launcher-vm-x"), "x", pod("net", "vmi.default.vm")),
    ] {
        let machine = machine();
        let theirs = machine.conf(json!({"name": network}));
        machine.run_with("ADD", container, &victims, &theirs).addresses();
        let (taken, blocks) = (machine.taken(), machine.blocks());
        assert_eq!(taken.values().collect::<Vec<_>>(), [&format!("{network}.{container}")]);

        let mine = machine.conf(json!({"name": "mine", "log_level": "info"}));
        let answer = machine.run_with("DEL", stranger, &strangers, &mine);
        assert_eq!((answer.code, answer.stdout.as_str()), (Some(0), ""), "{answer:?}");
        assert_eq!(machine.blocks(), blocks, "{network}.{container}, {stranger} {strangers}");
        assert_eq!(machine.counted().len(), 1);
        if !strangers.is_empty() {
            assert!(answer.stderr.contains("stays: its handle"), "{answer:?}");
        }
        // The victim's own container can still release the address.
        assert_eq!(machine.run_with("DEL", container, &victims, &theirs).code, Some(0));
        assert!(machine.taken().is_empty() && machine.counted().is_empty());
    }
}

/// An address under the old handle that is stored as the pod's is released with the pod.
#[test]
fn an_old_handle_of_the_pods_own() {
    let machine = machine();
    let own = pod("team", "web-0");
    let old = machine.conf(json!({"name": "team"}));
    machine.run_with("ADD", "web-0", &own, &old).addresses();
    assert_eq!(machine.taken().into_values().collect::<Vec<_>>(), ["team.web-0"]);
    machine.run("ADD", "c1", &own).addresses();
    assert_eq!(machine.run("DEL", "c1", &own).code, Some(0));
    assert!(machine.taken().is_empty() && machine.counted().is_empty());
}

/// The network `a.b` with the container `c` has the same handle as the network `a` with the container `b.c`.
#[test]
fn two_networks_with_one_handle() {
    let machine = machine();
    let (first, second) = (pod("default", "web-0"), pod("default", "web-1"));
    let (one, other) = (machine.conf(json!({"name": "a.b"})), machine.conf(json!({"name": "a"})));
    machine.run_with("ADD", "c", &first, &one).addresses();
    let given = machine.run_with("ADD", "b.c", &second, &other).addresses();
    assert_eq!(machine.counted()["a.b.c"], 2);
    assert_eq!(machine.run_with("DEL", "c", &first, &one).code, Some(0));
    let left: Vec<_> = machine.taken().into_keys().collect();
    assert_eq!((left, machine.counted()["a.b.c"]), (vec![crate::harness::addr(&given[0])], 1));
    // A container without a pod cannot release a pod's address, and a pod cannot release an address that is
    // stored without a pod.
    assert_eq!(machine.run_with("DEL", "c", "", &one).code, Some(0));
    assert_eq!(machine.counted()["a.b.c"], 1);
    assert_eq!(machine.run_with("DEL", "b.c", &second, &other).code, Some(0));
    assert!(machine.taken().is_empty() && machine.counted().is_empty());
    machine.run_with("ADD", "b.c", "", &other).addresses();
    assert_eq!(machine.run_with("DEL", "c", &first, &one).code, Some(0));
    assert_eq!(machine.counted()["a.b.c"], 1);
    assert_eq!(machine.run_with("DEL", "b.c", "", &other).code, Some(0));
    assert!(machine.taken().is_empty() && machine.counted().is_empty());
}
