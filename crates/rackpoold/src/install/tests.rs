//! What is written, read as the container runtime and the plugins read it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use serde_json::{Value as Json, json};
use setup::{Datastore, Settings};
use tempfile::TempDir;

use super::*;

/// A host: its folders, and rackpool's programs in one folder.
struct Host {
    dir: TempDir,
    places: Places,
}

impl Host {
    fn new() -> Host {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let places = Places {
            programs: vec![at("bin"), at("bin2")],
            networks: at("net.d"),
            mark: at("run/rackpool/synced"),
            mtu: at("lib/mtu"),
            node_name: at("lib/nodename"),
            notes: at("notes/installed.json"),
            ..Places::default()
        };
        let host = Host { dir, places };
        for folder in ["bin", "net.d", "from"] {
            fs::create_dir(host.at(folder)).unwrap();
        }
        host.program("from/calico", "one");
        host.program("from/calico-ipam", "two");
        host
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn program(&self, name: &str, content: &str) {
        fs::write(self.at(name), content).unwrap();
        fs::set_permissions(self.at(name), Permissions::from_mode(0o755)).unwrap();
    }

    /// A plugin that answers VERSION with that text.
    fn plugin(&self, name: &str, answer: &str) {
        let script = format!("#!/bin/sh\nread -r all\n[ \"$CNI_COMMAND\" = VERSION ] && echo '{answer}'\n");
        self.program(&format!("bin/{name}"), &script);
    }

    fn notes(&self) -> Notes {
        Notes::read(&self.places.notes).unwrap()
    }

    fn conflist_with(
        &self,
        variables: &[(&str, &str)],
        has_kubeconfig: bool,
    ) -> Result<Vec<Finding>, InstallError> {
        let environment: Environment = variables.iter().copied().collect();
        let settings = Settings::from_environment(&environment).unwrap();
        let datastore = Datastore::choose(&settings, &environment).unwrap();
        let network = Network {
            node: "n1",
            datastore: &datastore,
            has_kubeconfig,
            template: &Template::of(&environment).unwrap(),
            environment: &environment,
        };
        conflist(&self.places, &mut self.notes(), &network).map(|(_, findings)| findings)
    }

    fn written(&self) -> Json {
        serde_json::from_str(&fs::read_to_string(self.places.conflist()).unwrap()).unwrap()
    }
}

fn mode(file: &Path) -> u32 {
    place::mode(file).unwrap()
}

const GOOD: &str = r#"{"cniVersion": "1.0.0", "supportedVersions": ["0.4.0", "1.0.0"]}"#;

#[test]
fn programs_are_copied_and_equal_ones_left_alone() {
    let host = Host::new();
    let install =
        || programs(&host.places, &mut host.notes(), &host.at("from"), &Selection::default()).unwrap();
    assert_eq!(
        install(),
        ["bin/calico", "bin/calico-ipam", "bin2/calico", "bin2/calico-ipam"].map(|name| host.at(name))
    );
    let inode = |name: &str| fs::metadata(host.at(name)).unwrap().ino();
    let before = (inode("bin/calico"), inode("bin/calico-ipam"));
    assert_eq!(install(), Vec::<PathBuf>::new());
    host.program("from/calico", "newer");
    assert_eq!(install(), ["bin/calico", "bin2/calico"].map(|name| host.at(name)));
    assert_ne!(before.0, inode("bin/calico"), "it is another file: the old one may be running");
    assert_eq!(before.1, inode("bin/calico-ipam"));
    assert_eq!(fs::read_to_string(host.at("bin/calico")).unwrap(), "newer");
    fs::set_permissions(host.at("bin/calico"), Permissions::from_mode(0o644)).unwrap();
    assert_eq!(install(), [host.at("bin/calico")]);
    assert_eq!(mode(&host.at("bin/calico")), 0o755);
    let left: Vec<_> =
        fs::read_dir(host.at("bin")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn programs_may_be_left_out_and_kept() {
    let host = Host::new();
    let install = |variables: &[(&str, &str)]| {
        let selection = Selection::of(&variables.iter().copied().collect())?;
        programs(&host.places, &mut host.notes(), &host.at("from"), &selection)
    };
    let skip = ("SKIP_CNI_BINARIES", "bandwidth, calico-ipam");
    fs::remove_file(host.at("from/calico-ipam")).unwrap();
    assert_eq!(install(&[skip]).unwrap(), ["bin/calico", "bin2/calico"].map(|name| host.at(name)));
    host.program("from/calico-ipam", "two");
    host.program("from/calico", "newer");
    let keep = ("UPDATE_CNI_BINARIES", "false");
    let new = ["bin/calico-ipam", "bin2/calico-ipam"].map(|name| host.at(name));
    assert_eq!(install(&[keep]).unwrap(), new);
    assert_eq!(fs::read_to_string(host.at("bin/calico")).unwrap(), "one");
    let error = install(&[("UPDATE_CNI_BINARIES", "maybe")]).unwrap_err().to_string();
    assert!(error.contains("\"maybe\""), "{error}");
}

/// The new configuration is there before the old one goes, and nothing else goes.
#[test]
fn a_former_configuration_is_replaced() {
    let mut host = Host::new();
    let embedded = [("RACKPOOL_DB", "/db")];
    host.conflist_with(&embedded, false).unwrap();
    let former = host.places.conflist();
    for other in ["net.d/20-other.conflist", "net.d/calico-kubeconfig"] {
        fs::write(host.at(other), "another's").unwrap();
    }
    (host.places.network, host.places.former_network) =
        ("15-rackpool.conflist".to_string(), Some(host.places.network.clone()));
    for _ in 0..2 {
        let found = host.conflist_with(&embedded, false).unwrap();
        assert!(!found.iter().any(|one| matches!(one, Finding::Hidden { .. })), "{found:?}");
        let left = fs::read_dir(host.at("net.d")).unwrap().map(|entry| entry.unwrap().file_name());
        let mut left: Vec<_> = left.collect();
        left.sort();
        assert_eq!(left, ["15-rackpool.conflist", "20-other.conflist", "calico-kubeconfig"]);
        assert!(!host.notes().files().any(|file| file == former));
    }
}

#[test]
fn a_missing_program_stops_all() {
    let host = Host::new();
    fs::remove_file(host.at("from/calico-ipam")).unwrap();
    let error = programs(&host.places, &mut host.notes(), &host.at("from"), &Selection::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("from/calico-ipam does not exist"), "{error}");
    assert!(!host.at("bin/calico").exists());
}

/// A folder that cannot be written: the old file stays whole, and nothing is left beside it.
#[test]
fn what_cannot_be_written_is_named() {
    let host = Host::new();
    fs::create_dir(host.at("bin/calico")).unwrap();
    let error = programs(&host.places, &mut host.notes(), &host.at("from"), &Selection::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("bin/calico"), "{error}");
    assert_eq!(fs::read_dir(host.at("bin")).unwrap().count(), 1);
}

#[test]
fn the_network_of_each_store() {
    let host = Host::new();
    host.plugin("portmap", GOOD);
    host.plugin("loopback", GOOD);
    let db = host.at("store.db");
    let mark = host.places.mark.to_str().unwrap();
    let kubeconfig = host.at("net.d/calico-kubeconfig");
    type Row<'a> = (&'a [(&'a str, &'a str)], bool, Json);
    let rows: [Row<'_>; 4] = [
        (
            &[("KUBECONFIG", "/k")],
            true,
            json!({"datastore_type": "kubernetes", "kubernetes": {"kubeconfig": "/etc/cni/net.d/calico-kubeconfig"}, "policy": {"type": "k8s"}}),
        ),
        (
            &[("RACKPOOL_DB", db.to_str().unwrap())],
            false,
            json!({"datastore_type": "embedded", "rackpool_db": db}),
        ),
        (
            &[
                ("ETCD_ENDPOINTS", "https://a:1,https://b:1"),
                ("ETCD_CA_CERT_FILE", "/ca"),
                ("ETCD_CERT_FILE", "/cert"),
                ("ETCD_KEY_FILE", "/key"),
            ],
            false,
            json!({"datastore_type": "etcdv3", "etcd_endpoints": "https://a:1,https://b:1", "etcd_ca_cert_file": "/ca", "etcd_cert_file": "/cert", "etcd_key_file": "/key"}),
        ),
        (
            &[("ETCD_ENDPOINTS", "http://a:1")],
            true,
            json!({"datastore_type": "etcdv3", "etcd_endpoints": "http://a:1", "kubernetes": {"kubeconfig": "/etc/cni/net.d/calico-kubeconfig"}, "policy": {"type": "k8s"}}),
        ),
    ];
    for (variables, has_kubeconfig, wanted) in rows {
        assert_eq!(host.conflist_with(variables, has_kubeconfig).unwrap(), []);
        let written = host.written();
        let calico = written["plugins"][0].clone();
        let mut all = json!({"type": "calico", "nodename_file": host.places.node_name, "require_agent_sync": true,
            "agent_sync_file": mark, "ipam": {"type": "calico-ipam"}});
        all.as_object_mut().unwrap().extend(wanted.as_object().unwrap().clone());
        assert_eq!(calico, all, "{variables:?}");
        assert_eq!(written["plugins"][1]["type"], "portmap");
        assert_eq!(mode(&host.places.conflist()), 0o600);
        // A runtime hands a plugin its own part, with the list's name and version.
        let mut part = calico;
        part["name"] = written["name"].clone();
        part["cniVersion"] = written["cniVersion"].clone();
        let conf = cni::conf::Document::parse(part.to_string().as_bytes()).unwrap().conf().unwrap();
        assert_eq!((conf.flag(&["require_agent_sync"]), conf.text(&["agent_sync_file"])), (true, Some(mark)));
        assert_eq!(conf.oddities(), Vec::<String>::new());
    }
    assert!(!kubeconfig.exists());
}

#[test]
fn what_a_configuration_cannot_hold_is_refused_without_secrets() {
    let host = Host::new();
    let variables = [("ETCD_ENDPOINTS", "https://a:1"), ("ETCD_USERNAME", "u"), ("ETCD_PASSWORD", "hunter2")];
    let error = host.conflist_with(&variables, false).unwrap_err().to_string();
    assert!(error.contains("a user and a password") && !error.contains("hunter2"), "{error}");
    assert!(!host.places.conflist().exists());
}

#[test]
fn what_is_missing_is_told_and_portmap_is_chained_only_where_it_answers() {
    let host = Host::new();
    let embedded = [("RACKPOOL_DB", "/db")];
    let words = |found: &[Finding]| found.iter().map(Finding::word).collect::<Vec<_>>();
    let found = host.conflist_with(&embedded, false).unwrap();
    assert_eq!(words(&found), ["no-loopback", "no-portmap"]);
    assert!(found[0].to_string().contains(host.at("bin").to_str().unwrap()), "{}", found[0]);
    assert_eq!(host.written()["plugins"].as_array().unwrap().len(), 1);
    host.plugin("loopback", GOOD);
    for (answer, reason) in [
        ("no JSON", "names no versions"),
        (r#"{"supportedVersions": ["0.3.1"]}"#, "does not speak version 1.0.0"),
    ] {
        host.plugin("portmap", answer);
        let found = host.conflist_with(&embedded, false).unwrap();
        assert!(words(&found) == ["no-portmap"] && found[0].to_string().contains(reason), "{found:?}");
    }
    host.program("bin/portmap", "#!/bin/sh\nexit 3\n");
    let found = host.conflist_with(&embedded, false).unwrap();
    assert!(found[0].to_string().contains("exit status: 3"), "{found:?}");
    host.plugin("portmap", GOOD);
    assert_eq!(host.conflist_with(&embedded, false).unwrap(), []);
    fs::write(host.at("net.d/05-other.conf"), "{}").unwrap();
    fs::write(host.at("net.d/00-none.txt"), "").unwrap();
    assert_eq!(
        host.conflist_with(&embedded, false).unwrap(),
        [Finding::Hidden { by: host.at("net.d/05-other.conf") }]
    );
}

#[test]
fn a_template_is_filled_in() {
    let host = Host::new();
    host.plugin("loopback", GOOD);
    let template = r#"{"name": "x", "cniVersion": "0.3.1", "plugins": [
        {"type": "calico", "log_level": "__LOG_LEVEL__", "datastore_type": "__DATASTORE_TYPE__", "nodename": "__KUBERNETES_NODE_NAME__",
         "mtu": __CNI_MTU__, "kubernetes": {"kubeconfig": "__KUBECONFIG_FILEPATH__"}, "etcd_endpoints": "__ETCD_ENDPOINTS__"},
        {"type": "bandwidth"}]}"#;
    let variables = [("CNI_NETWORK_CONFIG", template), ("KUBECONFIG", "/k"), ("CNI_MTU", "1400")];
    assert_eq!(host.conflist_with(&variables, true).unwrap(), [Finding::NoAgentSync]);
    let calico = json!({"type": "calico", "log_level": "info", "datastore_type": "kubernetes", "nodename": "n1", "mtu": 1400,
        "kubernetes": {"kubeconfig": "/etc/cni/net.d/calico-kubeconfig"}, "etcd_endpoints": ""});
    assert_eq!(
        host.written(),
        json!({"name": "x", "cniVersion": "0.3.1", "plugins": [calico, {"type": "bandwidth"}]})
    );
    for wrong in [r#"{"name": "x", "type": "calico"}"#, r#"{"plugins": [{"type": "other"}]}"#, "[]"] {
        let error =
            host.conflist_with(&[("CNI_NETWORK_CONFIG", wrong), ("KUBECONFIG", "/k")], true).unwrap_err();
        assert!(error.to_string().contains("\"plugins\""), "{error}");
    }
}

#[test]
fn names_from_the_environment() {
    let of = |variables: &[(&str, &str)]| Places::of(&variables.iter().copied().collect());
    let places = of(&[("CNI_CONF_NAME", "05-x.conflist"), ("CNI_NET_DIR", "/other")]).unwrap();
    assert_eq!(places.conflist(), Path::new("/etc/cni/net.d/05-x.conflist"));
    assert_eq!(places.kubeconfig_outside(), Path::new("/other/calico-kubeconfig"));
    assert_eq!(places.former_network.as_deref(), Some("10-calico.conflist"));
    assert_eq!(of(&[]).unwrap().former_network, None);
    for variable in ["CNI_CONF_NAME", "CNI_OLD_CONF_NAME"] {
        let error = of(&[(variable, "../x")]).unwrap_err().to_string();
        assert!(error.contains(variable) && error.contains("\"../x\""), "{error}");
    }
}

#[test]
fn the_mark_and_the_packet_size() {
    let host = Host::new();
    assert!(!mark::is_set(&host.places));
    assert_eq!(mark::set(&host.places, &mut host.notes()).unwrap(), Written::New);
    assert_eq!(mark::set(&host.places, &mut host.notes()).unwrap(), Written::Same);
    assert!(mark::is_set(&host.places));
    // The next agent is ready only when it has done everything itself; that another was stays true.
    assert!(!mark::is_ready(&host.places));
    assert_eq!(mark::ready(&host.places, &mut host.notes()).unwrap(), Written::New);
    assert!(mark::is_ready(&host.places));
    for _ in 0..2 {
        mark::begin(&host.places).unwrap();
        assert!(!mark::is_ready(&host.places) && mark::is_set(&host.places));
    }
    assert_eq!(mark::ready(&host.places, &mut host.notes()).unwrap(), Written::New);
    for (bytes, wanted) in [(1450, Written::New), (1450, Written::Same), (1430, Written::New)] {
        assert_eq!(mtu(&host.places, &mut host.notes(), bytes).unwrap(), wanted);
    }
    assert_eq!(fs::read_to_string(&host.places.mtu).unwrap(), "1430\n");
    assert_eq!(mode(&host.places.notes), 0o600);
}

#[test]
fn everything_of_ours_is_taken_back_and_nothing_else() {
    let host = Host::new();
    let others = ["bin/bridge", "net.d/99-other.conf", "net.d/calico-kubeconfig", "notes/store.db"];
    let install = || {
        programs(&host.places, &mut host.notes(), &host.at("from"), &Selection::default()).unwrap();
        mark::set(&host.places, &mut host.notes()).unwrap();
        mark::ready(&host.places, &mut host.notes()).unwrap();
        mtu(&host.places, &mut host.notes(), 1450).unwrap();
        node_name(&host.places, &mut host.notes(), "n1").unwrap();
        host.conflist_with(&[("RACKPOOL_DB", "/db")], false).unwrap();
    };
    install();
    for other in others {
        fs::write(host.at(other), "another's").unwrap();
    }
    // An administrator has put another program in the place of ours, and removed one.
    host.program("bin2/calico", "Calico's own");
    fs::remove_file(host.at("bin2/calico-ipam")).unwrap();
    let taken = uninstall(&host.places).unwrap();
    assert_eq!(taken.removed[0], host.places.conflist(), "the network goes first");
    let mut removed: Vec<_> =
        taken.removed.iter().map(|file| file.strip_prefix(host.dir.path()).unwrap()).collect();
    removed.sort();
    let wanted = [
        "bin/calico",
        "bin/calico-ipam",
        "lib/mtu",
        "lib/nodename",
        "net.d/10-calico.conflist",
        "run/rackpool/ready",
        "run/rackpool/synced",
    ];
    assert_eq!(removed, wanted.map(Path::new));
    assert_eq!((taken.left, taken.failed.len()), (vec![host.at("bin2/calico")], 0));
    for other in others {
        assert_eq!(fs::read_to_string(host.at(other)).unwrap(), "another's");
    }
    assert!(!host.places.notes.exists() && !host.at("run/rackpool").exists());
    // A second time there is nothing to do.
    let again = uninstall(&host.places).unwrap();
    assert!(again.removed.is_empty() && again.left.is_empty());
}

/// A file that was there before with the same content is its owner's.
#[test]
fn an_equal_file_that_was_there_stays() {
    let host = Host::new();
    fs::copy(host.at("from/calico"), host.at("bin/calico")).unwrap();
    programs(&host.places, &mut host.notes(), &host.at("from"), &Selection::default()).unwrap();
    let taken = uninstall(&host.places).unwrap();
    assert!(!taken.removed.contains(&host.at("bin/calico")) && host.at("bin/calico").exists());
    assert!(!host.at("bin2/calico").exists());
}

/// A write that ended after the notes and before the file: the old program is still known as ours.
#[test]
fn a_write_that_was_cut_off() {
    let host = Host::new();
    programs(&host.places, &mut host.notes(), &host.at("from"), &Selection::default()).unwrap();
    let (file, mut notes) = (host.at("bin/calico"), host.notes());
    let present = notes::sum_of_file(&file).unwrap();
    notes.intend(&file, present.as_deref(), &notes::sum_of(b"newer")).unwrap();
    assert!(uninstall(&host.places).unwrap().removed.contains(&file));
}

#[test]
fn notes_that_are_no_notes_stop_everything() {
    let host = Host::new();
    programs(&host.places, &mut host.notes(), &host.at("from"), &Selection::default()).unwrap();
    fs::write(&host.places.notes, "{}").unwrap();
    let error = uninstall(&host.places).unwrap_err().to_string();
    assert!(error.contains("notes/installed.json") && host.at("bin/calico").exists(), "{error}");
}
