//! Calls where nothing names a store: where there is none, and where there are two.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use crate::harness::{Answer, BINARY, finish, spawn};

/// The home of an ordinary user, with the program in it. `None` where the machine has a store, which every
/// user would use.
fn home() -> Option<TempDir> {
    if !matches!(Path::new(setup::MACHINE_STORE).try_exists(), Ok(false)) {
        println!("skipped: this machine has a store");
        return None;
    }
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o777)).unwrap();
    fs::copy(BINARY, home.path().join("calico-ipam")).unwrap();
    Some(home)
}

fn call(home: &TempDir, command: &str) -> Answer {
    let lock = home.path().join("ipam.lock");
    let conf = json!({"cniVersion": "1.0.0", "name": "net", "type": "calico", "nodename": "n1",
        "ipam_lock_file": lock, "ipam": {"type": "calico-ipam"}});
    let mut program = Command::new(home.path().join("calico-ipam"));
    program.env_clear().env("HOME", home.path()).env("CNI_COMMAND", command).env("CNI_CONTAINERID", "c1");
    program.env("CNI_NETNS", "/var/run/netns/x").env("CNI_IFNAME", "eth0").env("CNI_PATH", "/opt/cni/bin");
    if rustix::process::geteuid().is_root() {
        program.uid(65534).gid(65534);
    }
    finish(spawn(&mut program, &conf.to_string()))
}

#[test]
fn an_add_makes_no_store_and_a_del_needs_none() {
    let Some(home) = home() else { return };
    let (code, msg) = call(&home, "ADD").error();
    assert!(code == 999 && msg.starts_with("no store here yet: calicoctl datastore init"), "{msg}");
    let deleted = call(&home, "DEL");
    assert_eq!((deleted.code, deleted.stdout.as_str()), (Some(0), ""), "{deleted:?}");
    assert!(!home.path().join(".local").exists());
}

/// A store that has lost its file is no store that never was: its addresses may be in use.
#[test]
fn a_store_that_has_lost_its_file_is_told() {
    let Some(home) = home() else { return };
    let folder = home.path().join(".local/state/rackpool");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("rackpool.db-wal"), [7; 100]).unwrap();
    for command in ["ADD", "DEL"] {
        let (code, msg) = call(&home, command).error();
        assert!(code == 999 && msg.contains("rackpool.db is missing, but"), "{msg}");
    }
}

#[cfg(feature = "kubernetes")]
#[test]
fn of_two_stores_an_add_takes_none() {
    let Some(home) = home() else { return };
    for file in [".local/state/rackpool/rackpool.db", ".kube/config"] {
        let file = home.path().join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::set_permissions(file.parent().unwrap(), fs::Permissions::from_mode(0o777)).unwrap();
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    }
    let (code, msg) = call(&home, "ADD").error();
    assert!(code == 999 && msg.contains("two stores") && msg.contains("datastore_type in a CNI"), "{msg}");
    let deleted = call(&home, "DEL");
    assert_eq!((deleted.code, deleted.stdout.as_str()), (Some(0), ""), "{deleted:?}");
}
