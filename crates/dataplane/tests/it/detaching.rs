//! Detaching a container, also when parts of the attachment are gone.

use std::path::Path;
use std::time::Duration;

use dataplane::{AccessError, DETACH_LIMIT, DetachError, Detached, detach};

use crate::harness::Machine;

const BOTH: [&str; 2] = ["10.0.0.1", "2001:db8:1::1"];

fn told(detached: Detached) -> (bool, bool) {
    (detached.container, detached.host)
}

#[test]
fn nothing_is_left_and_again_is_fine() {
    let Some(machine) = Machine::new() else { return };
    let before = machine.host.state();
    let wiring = machine.wiring(&BOTH);
    machine.attach(&wiring);
    assert_ne!(machine.host.state(), before);
    let again = || machine.host.run(|| detach(&wiring.netns, "eth0", Some("cali0"), DETACH_LIMIT)).unwrap();
    assert_eq!(told(again()), (true, false));
    assert_eq!(machine.host.state(), before);
    assert!(!machine.container.has("eth0"));
    assert_eq!(told(again()), (false, false));
}

#[test]
fn a_namespace_that_is_gone_is_fine() {
    let Some(machine) = Machine::new() else { return };
    let plain_file = std::env::temp_dir().join(format!("dataplane-{}", std::process::id()));
    std::fs::write(&plain_file, "").unwrap();
    for gone in [Path::new("/var/run/netns/never-was"), &plain_file.join("below"), &plain_file] {
        machine.attach(&machine.wiring(&BOTH));
        let detach = |host| machine.host.run(|| detach(gone, "eth0", host, DETACH_LIMIT)).unwrap();
        assert_eq!(told(detach(None)), (false, false), "{}", gone.display());
        assert!(machine.host.has("cali0"), "the newer sandbox lost its interface");
        assert_eq!(told(detach(Some("cali0"))), (false, true), "{}", gone.display());
        assert!(!machine.host.has("cali0"));
    }
    std::fs::remove_file(plain_file).unwrap();
}

#[test]
fn what_is_not_ours_stays() {
    let Some(machine) = Machine::new() else { return };
    let gone = Path::new("/var/run/netns/never-was");
    let detached = machine.host.run(|| detach(gone, "eth0", Some("lo"), DETACH_LIMIT)).unwrap();
    assert_eq!(told(detached), (false, false));

    let before = machine.host.state();
    let own = machine.host.path();
    let error = machine.host.run(|| detach(&own, "uplink", None, DETACH_LIMIT)).unwrap_err();
    assert!(matches!(error, DetachError::Access(AccessError::SameNamespace(_))), "{error}");
    assert_eq!(machine.host.state(), before);
}

#[test]
fn the_caller_is_not_held_longer_than_it_wants() {
    let Some(machine) = Machine::new() else { return };
    let wiring = machine.wiring(&BOTH);
    // On a busy machine the kernel may finish before the caller checks, so this is tried several times.
    let timed_out = (0..50).any(|_| {
        machine.attach(&wiring);
        let result = machine.host.run(|| detach(&wiring.netns, "eth0", None, Duration::ZERO));
        matches!(result, Err(DetachError::TimedOut { .. }))
    });
    assert!(timed_out);
    machine.host.run(|| detach(&wiring.netns, "eth0", None, DETACH_LIMIT)).unwrap();
    assert!(!machine.container.has("eth0"));
}
