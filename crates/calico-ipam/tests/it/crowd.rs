//! Many processes at once, some of them killed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::harness::{Machine, addr, finish, node, pool};

fn machine() -> Machine {
    Machine::new(&[
        node("n1", json!({})),
        node("n2", json!({})),
        pool("four", "10.0.0.0/24", json!({"blockSize": 28})),
        pool("six", "fd00::/112", json!({})),
    ])
}

/// Starts `many` ADDs on two nodes, kills every seventh a little later, each at another moment of its life, and checks what is left.
fn crowd(many: usize, changes: Json) {
    let machine = machine();
    let container = |n: usize| format!("c{n}");
    let conf = |n: usize| {
        let mut conf = machine.conf(changes.clone());
        conf["nodename"] = format!("n{}", n % 2 + 1).into();
        conf["ipam"] = json!({"assign_ipv6": if n.is_multiple_of(3) { "true" } else { "false" }});
        conf
    };
    let mut children: Vec<_> = (0..many).map(|n| machine.start("ADD", &container(n), "", &conf(n))).collect();
    let victims: Vec<usize> = (0..many).step_by(7).collect();
    for n in &victims {
        thread::sleep(Duration::from_millis(3));
        // It may be done already.
        let _ = children[*n].kill();
    }
    let mut answered: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    let mut unanswered = BTreeSet::new();
    for (n, child) in children.into_iter().enumerate() {
        let answer = finish(child);
        let handle = format!("net.{}", container(n));
        if answer.code == Some(0) {
            answered.insert(handle, answer.addresses().iter().map(|text| addr(text)).collect());
        } else {
            assert!(victims.contains(&n) && answer.code.is_none(), "{n}: {answer:?}");
            unanswered.insert(handle);
        }
    }

    let taken = machine.taken();
    let counted = machine.counted();
    for (handle, addresses) in &answered {
        assert!(!addresses.is_empty(), "{handle}");
        for addr in addresses {
            assert_eq!(taken.get(addr), Some(handle), "{addr} was answered to {handle}");
        }
        assert_eq!(counted.get(handle), Some(&(addresses.len() as u32)), "{handle}");
    }
    let answers: usize = answered.values().map(Vec::len).sum();
    let of_victims = taken.values().filter(|handle| unanswered.contains(*handle)).count();
    assert_eq!(taken.len(), answers + of_victims, "every address is somebody's: {taken:?}");

    let children: Vec<_> = (0..many).map(|n| machine.start("DEL", &container(n), "", &conf(n))).collect();
    for child in children {
        let answer = finish(child);
        assert_eq!(answer.code, Some(0), "{answer:?}");
    }
    assert!(machine.taken().is_empty() && machine.counted().is_empty());
}

#[test]
fn sixty_four_at_once() {
    crowd(64, json!({}));
}

#[test]
fn without_the_hosts_lock() {
    crowd(32, json!({"ipam_lock_file": "/proc/nope/x.lock"}));
}
