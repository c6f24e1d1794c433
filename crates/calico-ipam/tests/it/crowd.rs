//! Many processes at once, some of them killed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::process::Child;
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

/// Starts `many` ADDs on two nodes, kills every seventh of them at different moments, and checks what is
/// left.
fn crowd(many: usize, changes: Json) {
    let machine = machine();
    let container = |n: usize| format!("c{n}");
    let conf = |n: usize| {
        let mut conf = machine.conf(changes.clone());
        conf["nodename"] = format!("n{}", n % 2 + 1).into();
        conf["ipam"] = json!({"assign_ipv6": if n.is_multiple_of(3) { "true" } else { "false" }});
        conf
    };
    let mut children: Vec<Child> = Vec::new();
    let mut victims = BTreeSet::new();
    for tick in 0..3 * many {
        match tick < many {
            true => children.push(machine.start("ADD", &container(tick), "", &conf(tick))),
            false => thread::sleep(Duration::from_millis(1)),
        }
        // Every seventh process is killed: the first at once, and each later one at a greater age than the
        // one before.
        for victim in (0..children.len()).step_by(7).filter(|victim| victim + victim / 7 * 6 == tick) {
            victims.insert(victim);
            // The process may have ended already.
            let _ = children[victim].kill();
        }
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
    println!("{} killed before they answered; they left {of_victims} addresses", unanswered.len());
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

/// Processes run one after the other. Each is killed a little later than the one before, until one ends
/// before it is killed.
#[test]
fn killed_at_every_moment() {
    let machine = machine();
    let conf = machine.conf(json!({"ipam": {"assign_ipv6": "true"}}));
    let (mut whole, mut left) = (0, 0);
    for n in 0..120 {
        let container = format!("c{n}");
        let mut child = machine.start("ADD", &container, "", &conf);
        thread::sleep(Duration::from_micros(75 * n));
        let _ = child.kill();
        let answer = finish(child);
        let handle = format!("net.{container}");
        let taken: Vec<_> = machine.taken().into_iter().filter(|(_, of)| *of == handle).collect();
        // There are addresses of both families or of neither, and the count is never too low.
        assert!(taken.is_empty() || taken.len() == 2, "{n}: {taken:?}");
        assert_eq!(machine.counted().get(&handle).copied().unwrap_or(0) as usize, taken.len(), "{n}");
        match answer.code {
            Some(0) => {
                assert_eq!(answer.addresses().len(), taken.len(), "{n}");
                whole += 1;
            }
            code => {
                assert_eq!(code, None, "{n}: {answer:?}");
                left += usize::from(!taken.is_empty());
            }
        }
        assert_eq!(machine.run("DEL", &container, "").code, Some(0));
        assert!(machine.taken().is_empty() && machine.counted().is_empty(), "{n}");
    }
    println!(
        "{whole} of 120 were done before they were killed; {left} of the others had their addresses already"
    );
    assert!(whole < 120, "none was killed");
}
