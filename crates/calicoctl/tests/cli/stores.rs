//! Creating, saving and restoring stores; and files that are no stores.

use std::fs;

use crate::world::{World, pool};

#[test]
fn init_begins_a_store_and_does_so_once() {
    let world = World::new();
    insta::assert_snapshot!(world.good("datastore init --ipv6-cidr=fd00:10::/64 --ipv6-vxlan=Always"), @r"
    Created IPPool default-ipv4-ippool 192.168.0.0/16
    Created IPPool default-ipv6-ippool fd00:10::/64
    Datastore initialised: [DIR]/rackpool.db
    ");
    insta::assert_snapshot!(world.good("get ippools -o wide"), @r"
    NAME                  CIDR             NAT     IPIPMODE   VXLANMODE   DISABLED   DISABLEBGPEXPORT   SELECTOR   ASSIGNMENTMODE   
    default-ipv4-ippool   192.168.0.0/16   true    Always     Never       false      false              all()      Automatic        
    default-ipv6-ippool   fd00:10::/64     false   Never      Always      false      false              all()      Automatic        
    ");
    let before = world.contents();
    insta::assert_snapshot!(world.good("datastore init"), @r"
    Exists: IPPool default-ipv4-ippool 192.168.0.0/16
    Datastore initialised: [DIR]/rackpool.db
    ");
    assert!(world.contents() == before);
    let other = world.run("datastore init --ipv4-cidr=10.0.0.0/16");
    assert_eq!(
        other.stderr,
        "IPPool default-ipv4-ippool exists with another network than 10.0.0.0/16; nothing was changed about it\n"
    );
    let version = world.good("version");
    assert!(version.ends_with("Cluster Version:   unknown\nCluster Type:      unknown\n"), "{version}");
}

#[test]
fn questions_make_no_file() {
    let world = World::new();
    for line in
        ["get ippools", "get nodes -o yaml", "ipam show", "ipam show --ip=10.0.0.1", "version --client"]
    {
        world.good(line);
    }
    assert_eq!(world.run("delete ippool x").code, 1);
    assert!(!world.path("rackpool.db").exists());
}

/// With --poll the question is asked again after a second, and then given up.
#[test]
fn a_version_that_is_not_there_is_waited_for() {
    let world = World::new();
    let ran = world.run("version --poll=1s");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("unable to retrieve Cluster Version or Type"), "{ran:?}");
}

#[test]
fn a_backup_comes_back() {
    let world = World::new();
    world.good("datastore init");
    let saved = world.path("saved.db");
    let saved = saved.to_str().unwrap();
    let told = world.good(&format!("datastore backup {saved}"));
    assert_eq!(told, "Backed up [DIR]/rackpool.db to [DIR]/saved.db\n");
    let again = world.run(&format!("datastore backup {saved}"));
    assert_eq!(again.code, 1, "a backup is never overwritten: {again:?}");
    world.good_with("create -f -", &pool("later", "10.0.0.0/16"));
    let before = world.contents();
    let refused = world.run(&format!("datastore restore {saved}"));
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("nothing was changed") && refused.stderr.contains("--force"),
        "{refused:?}"
    );
    assert!(world.contents() == before);
    let told = world.good(&format!("datastore restore --force {saved}"));
    assert_eq!(told, "Restored [DIR]/rackpool.db from [DIR]/saved.db\n");
    insta::assert_snapshot!(world.good("get ippools"), @r"
    NAME                  CIDR             SELECTOR   
    default-ipv4-ippool   192.168.0.0/16   all()      
    ");
}

#[test]
fn a_backup_begins_a_store_elsewhere() {
    let world = World::new();
    world.good("datastore init");
    let saved = world.path("saved.db");
    world.good(&format!("datastore backup {}", saved.display()));
    let other = World::new();
    other.good(&format!("datastore restore {}", saved.display()));
    for line in ["get clusterinfo", "get ippools -o wide", "get tiers"] {
        assert_eq!(other.good(line), world.good(line));
    }
}

/// After each of these commands, all contents are in the store's own file. If the -wal file beside it is
/// lost, every command says so.
#[test]
fn a_store_is_whole_or_says_what_is_missing() {
    let world = World::new();
    world.good("datastore init");
    world.good_with("create -f -", &pool("later", "10.0.0.0/16"));
    let saved = world.path("saved.db");
    world.good(&format!("datastore backup {}", saved.display()));
    world.good(&format!("datastore restore --force {}", saved.display()));
    let wal = world.path("rackpool.db-wal");
    let held = fs::read(&wal).unwrap();
    fs::remove_file(&wal).unwrap();
    let before = fs::read(world.path("rackpool.db")).unwrap();
    for line in ["get ippools", "ipam show", "datastore init", "datastore backup copy.db", "apply -f -"] {
        let ran = world.run_with(line, &pool("x", "10.9.0.0/16"));
        assert_eq!(ran.code, 1, "{line} {ran:?}");
        let told = format!("{}{}", ran.stdout, ran.stderr);
        assert!(told.contains("[DIR]/rackpool.db is not complete: its -wal is missing"), "{line} {told}");
    }
    assert!(fs::read(world.path("rackpool.db")).unwrap() == before && !wal.exists());
    for (broken, whys) in [
        (&b""[..], ["it was emptied"; 2]),
        (&[7; 9000][..], ["cut or overwritten", "does not begin as a -wal file does"]),
    ] {
        fs::write(&wal, broken).unwrap();
        for line in ["get ippools", "datastore backup copy.db", "apply -f -"] {
            let ran = world.run_with(line, &pool("x", "10.9.0.0/16"));
            let told = format!("{}{}", ran.stdout, ran.stderr);
            assert!(ran.code == 1 && told.contains("is not complete"), "{line} {told}");
            assert!(whys.iter().any(|why| told.contains(why)), "{line} {told}");
        }
    }
    fs::write(&wal, held).unwrap();
    assert!(world.good("get ippools").contains("later"), "nothing was lost with it");
}

#[test]
fn a_store_has_one_name() {
    let mut world = World::new();
    world.good("datastore init");
    fs::hard_link(world.path("rackpool.db"), world.path("other.db")).unwrap();
    for name in ["rackpool.db", "other.db"] {
        world.set("RACKPOOL_DB", world.path(name).to_str().unwrap().to_string().as_str());
        let ran = world.run("ipam show");
        assert_eq!(ran.code, 1);
        assert!(ran.stderr.contains(&format!("[DIR]/{name} cannot be used: it has 2 names")), "{ran:?}");
    }
    fs::remove_file(world.path("other.db")).unwrap();
    world.set("RACKPOOL_DB", world.path("rackpool.db").to_str().unwrap().to_string().as_str());
    world.good("ipam show");
}

/// If a record cannot be what was written, no backup is made, and the error names the record.
#[test]
fn a_backup_is_looked_at() {
    let world = World::new();
    world.good("datastore init");
    let damage = |world: &World, with: &str| {
        let mut bytes = fs::read(world.path("rackpool.db")).unwrap();
        let at = bytes.windows(12).position(|text| text == b"\"192.168.0.0").unwrap();
        bytes[at + 1..at + 3].copy_from_slice(with.as_bytes());
        fs::write(world.path("rackpool.db"), bytes).unwrap();
    };
    // First a different but valid network, then an invalid one.
    for with in ["12", "x\""] {
        damage(&world, with);
        let ran = world.run(&format!("datastore backup {}", world.path("copy.db").display()));
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
        let key = "/calico/resources/v3/projectcalico.org/ippools/default-ipv4-ippool";
        assert!(ran.stderr.contains(&format!("the record {key}: ")), "{ran:?}");
        assert!(ran.stderr.contains("calicoctl or with `sqlite3"), "{ran:?}");
        assert!(!world.path("copy.db").exists());
        let mut bytes = fs::read(world.path("rackpool.db")).unwrap();
        let wrong = format!("\"{with}2.168.0.0");
        let at = bytes.windows(12).position(|text| text == wrong.as_bytes()).unwrap();
        bytes[at + 1..at + 3].copy_from_slice(b"19");
        fs::write(world.path("rackpool.db"), bytes).unwrap();
    }
    world.good(&format!("datastore backup {}", world.path("copy.db").display()));
}

#[test]
fn what_is_no_store_is_said_to_be_none() {
    let mut world = World::new();
    world.write("text.db", "this is no database, and long enough to be seen as none\n");
    fs::create_dir(world.path("dir.db")).unwrap();
    let mut told = String::new();
    for name in ["text.db", "dir.db"] {
        world.set("RACKPOOL_DB", world.path(name).to_str().unwrap().to_string().as_str());
        for line in ["get ippools", "ipam show", "datastore init", "datastore backup copy.db", "version"] {
            let ran = world.run(line);
            assert_eq!(ran.code, 1, "{name} {line} {ran:?}");
            told.push_str(&format!("$ RACKPOOL_DB={name} calicoctl {line}\n{}{}", ran.stdout, ran.stderr));
        }
    }
    assert!(!world.path("copy.db").exists());
    let kept = fs::read_to_string(world.path("text.db")).unwrap();
    assert!(kept.starts_with("this is no database"));
    insta::assert_snapshot!(told);
}

#[test]
fn restoring_what_is_no_backup_changes_nothing() {
    let world = World::new();
    world.good("datastore init");
    let text = world.write("text.db", "this is no database, and long enough to be seen as none\n");
    let before = world.contents();
    for source in [text.as_str(), "/nowhere/x.db", world.path("").to_str().unwrap()] {
        let ran = world.run(&format!("datastore restore --force {source}"));
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
        assert!(!ran.stderr.is_empty());
        assert!(world.contents() == before, "{source}");
    }
}

#[test]
fn another_store_is_not_replaced_by_the_embedded_one() {
    let mut world = World::new();
    world.set("DATASTORE_TYPE", "etcdv3");
    let ran = world.run("get ippools");
    assert_eq!(ran.stdout, "Failed to create Calico API client: no etcd endpoints specified\n");
    world.set("DATASTORE_TYPE", "mongodb");
    let ran = world.run("ipam show");
    assert_eq!((ran.code, ran.stderr.as_str()), (1, "unknown datastore type: mongodb\n"));
    assert!(!world.path("rackpool.db").exists());
}

#[test]
fn a_configuration_file_chooses_alone() {
    let world = World::new();
    world.good("datastore init");
    let other = world.path("other.db");
    let text = format!(
        "apiVersion: projectcalico.org/v3\nkind: CalicoAPIConfig\nmetadata:\nspec:\n  datastoreType: embedded\n  rackpoolDB: {}\n",
        other.display()
    );
    let file = world.write("calicoctl.cfg", &text);
    assert_eq!(world.good(&format!("get ippools -c {file}")), "NAME   CIDR   SELECTOR   \n\n");
    assert!(world.good("get ippools").contains("default-ipv4-ippool"));
    let missing = world.run("get ippools -c nowhere.cfg");
    assert_eq!((missing.code, missing.stdout.as_str()), (1, "Error reading config file: nowhere.cfg\n"));
}

#[test]
fn a_locked_store_says_so_and_is_unlocked() {
    let world = World::new();
    assert_eq!(world.good("datastore migrate lock"), "Datastore locked.\n");
    let ready = "get clusterinfo -o custom-columns=DATASTOREREADY";
    assert!(world.good(ready).contains("false"));
    assert_eq!(world.good("datastore migrate unlock"), "Datastore unlocked.\n");
    assert!(world.good(ready).contains("true"));
}

/// Somebody may have deleted the default pool on purpose.
#[test]
fn init_makes_its_pool_only_where_there_is_none() {
    let world = World::new();
    world.good("datastore init --ipv4-cidr none");
    world.good_with("create -f -", &pool("mine", "10.0.0.0/16"));
    let told = world.good("datastore init");
    assert!(told.starts_with("IPv4 pools exist: no IPPool default-ipv4-ippool was made\n"), "{told}");
    let told = world.good("datastore init --if-no-pools --ipv4-cidr 10.1.0.0/16 --ipv6-cidr fd00::/48");
    assert!(
        told.starts_with(
            "IPv4 pools exist: no IPPool default-ipv4-ippool was made\nCreated IPPool default-ipv6-ippool"
        ),
        "{told}"
    );
    assert!(!world.good("get ippools").contains("default-ipv4"));
    assert!(
        world
            .good("datastore init --ipv4-cidr 10.1.0.0/16")
            .starts_with("Created IPPool default-ipv4-ippool")
    );
}

/// What rackpool's agent would not carry out is named, and the exit code says it.
#[test]
fn preflight_names_what_is_lost() {
    let world = World::new();
    world.good("datastore init");
    let told = world.good("datastore preflight");
    let unknown = "Calico of a version that is not known, in the embedded store [DIR]/rackpool.db\n";
    assert!(told.starts_with(unknown), "{told}");
    for part in [
        "\n  IPPool default-ipv4-ippool: 192.168.0.0/16, encapsulation IPIP Always, for all()\n",
        "\nChanges\n  ipip: IPPool default-ipv4-ippool. ",
        "\nStays\n  pools: default-ipv4-ippool 192.168.0.0/16. ",
        "\nSteps\n  1. Give this pool VXLAN",
        "\nNothing of the embedded store [DIR]/rackpool.db is lost\n",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("Lost") && !told.contains("Not known"), "{told}");
    assert!(world.good("datastore preflight -o json").contains("\"unknown\": []"));
    let endpoint = |name: &str| {
        format!(
            "apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {{name: {name}}}\nspec: {{node: n1, interfaceName: eth0}}\n---\n"
        )
    };
    world.good_with("create -f -", &["h1", "h2", "h3", "h4", "h5", "h6", "h7"].map(endpoint).concat());
    let lost = world.run("datastore preflight");
    assert_eq!(lost.code, 1);
    let beginning =
        "\nLost\n  hostendpoint: hostendpoints.projectcalico.org h1, hostendpoints.projectcalico.org h2, ";
    assert!(
        lost.stdout.contains(beginning) && lost.stdout.contains(" h5 and 2 more. rackpool does not"),
        "{lost:?}"
    );
    assert!(lost.stderr.contains("rackpoold node --accept-loss=hostendpoint"), "{lost:?}");
    assert!(!lost.stdout.contains("is lost\n"), "{lost:?}");
    // What was accepted is told, and is no failure; what nobody can lose is refused.
    assert!(
        world.good("datastore preflight --accept-loss=hostendpoint").contains("\nLost\n  hostendpoint: ")
    );
    assert_eq!(world.run("datastore preflight --accept-loss=policy").code, 1);
    let wrong = world.run("datastore preflight --accept-loss=pools");
    assert!(
        wrong.stderr.contains("the words are policy, hostendpoint, wireguard, ebpf, bgp, loadbalancer"),
        "{wrong:?}"
    );
    let document = world.run("datastore preflight -o yaml");
    assert_eq!(document.code, 1);
    for part in
        ["code: hostendpoint\n", "effect: lost\n", "- hostendpoints.projectcalico.org h7\n", "unknown: []\n"]
    {
        assert!(document.stdout.contains(part), "{document:?}");
    }
}
