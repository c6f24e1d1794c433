//! The node's name, and whose it is.

use std::time::Duration;

use rackpoold::node::name::{Holder, MachineId, NameError, Whose, first_alive, name, refuse_taken, whose};
use setup::Environment;

use crate::detect::interfaces;
use crate::home::block_on;

const ID: &str = "0123456789abcdef0123456789abcdef\n";

#[test]
fn the_order_of_names() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("nodename");
    let path = file.to_str().unwrap();
    let environment = |nodename: &str| {
        Environment::from_iter([
            ("NODENAME", nodename),
            ("CALICO_NODENAME_FILE", path),
            ("HOSTNAME", "Host-A"),
        ])
    };
    assert_eq!(name(&environment("")).unwrap(), "host-a");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "From-File").unwrap();
    assert_eq!(name(&environment("")).unwrap(), "From-File");
    assert_eq!(name(&environment(" N1 ")).unwrap(), "N1");
}

#[test]
fn a_machines_id_is_not_told() {
    let own = MachineId::of(ID).unwrap();
    assert_eq!(own, MachineId::of(&ID.to_uppercase()).unwrap());
    assert_eq!(own.as_str().len(), 32);
    assert!(!own.as_str().contains(&ID[..8]));
    // It must never change: all Nodes would be other machines' then.
    assert_eq!(own.as_str(), "426af09693d6f3a2df2c549167523057");
    assert_ne!(own, MachineId::of("1123456789abcdef0123456789abcdef").unwrap());
    assert_eq!((MachineId::of("uninitialized"), MachineId::of("")), (None, None));
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(MachineId::read(&dir.path().join("none")).unwrap(), None);
    assert!(MachineId::read(dir.path()).is_err());
}

#[test]
fn whose_a_node_is() {
    let own = MachineId::of(ID).unwrap();
    let here = interfaces(&[("eth0", &["10.0.0.1/24"])]);
    let holder = |noted: Option<&str>, kubelet: Option<&str>| Holder {
        noted: noted.map(str::to_string),
        kubelet: kubelet.map(str::to_string),
        addresses: vec!["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()],
    };
    let anothers = Whose::Anothers(vec!["10.0.0.2".parse().unwrap()]);
    for (noted, kubelet, expected) in [
        (None, None, Whose::Ours),
        (Some(own.as_str()), None, Whose::Ours),
        (Some("other"), None, anothers.clone()),
        // This machine was installed anew; its kubelet has the Node already.
        (Some("other"), Some(ID), Whose::Ours),
        (Some("other"), Some("ffff6789abcdef0123456789abcdef00"), anothers.clone()),
        // The name of a Node that another machine's kubelet serves.
        (None, Some("ffff6789abcdef0123456789abcdef00"), anothers.clone()),
        (None, Some(""), Whose::Ours),
    ] {
        assert_eq!(whose(Some(&own), &holder(noted, kubelet), &here), expected, "{noted:?} {kubelet:?}");
    }
    assert_eq!(whose(None, &holder(Some("other"), None), &here), Whose::Ours);
}

/// A machine that answers keeps its name; one that does not is taken for gone.
#[test]
fn a_machine_that_is_alive_keeps_its_name() {
    let own = MachineId::of(ID).unwrap();
    let holder = |addr: &str| Holder {
        noted: Some("other".to_string()),
        kubelet: None,
        addresses: vec![addr.parse().unwrap()],
    };
    let judge = |addr: &str| {
        let holder = holder(addr);
        block_on(async { refuse_taken("n1", Some(&own), &holder, &[], "/f").await })
    };
    // Every address of the loopback answers, if only by a refusal.
    let error = judge("127.0.0.9").unwrap_err();
    assert!(matches!(&error, NameError::Taken { .. }));
    let text = error.to_string();
    assert!(text.contains("another machine is Node(n1): it answers at 127.0.0.9"), "{text}");
    // The network whose packets are discarded.
    let quiet = "100::1".parse().unwrap();
    assert_eq!(block_on(first_alive(&[quiet], Duration::from_millis(50))), None);
}
