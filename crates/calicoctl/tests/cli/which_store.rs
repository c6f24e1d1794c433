//! Which store a command uses where nothing names one, and how that is told.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::world::{Ran, World, pool};

/// An ordinary user with a home of his own. (Root's store would be that of the machine.)
struct User {
    home: TempDir,
}

impl User {
    /// `None` where the machine has a store, which every user would use.
    fn new() -> Option<User> {
        if !matches!(Path::new(setup::MACHINE_STORE).try_exists(), Ok(false)) {
            println!("skipped: this machine has a store");
            return None;
        }
        let user = User { home: tempfile::tempdir().unwrap() };
        fs::set_permissions(user.home.path(), fs::Permissions::from_mode(0o777)).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_calicoctl"), user.path("calicoctl")).unwrap();
        Some(user)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Whether anything was written to where the user's store would be.
    fn has_store(&self) -> bool {
        self.path(".local").exists()
    }

    fn has_kubeconfig(&self) {
        fs::create_dir_all(self.path(".kube")).unwrap();
        let text = "{clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}], contexts: [{name: c, context: {cluster: c}}], current-context: c}";
        fs::write(self.path(".kube/config"), text).unwrap();
    }

    fn run(&self, line: &str, variables: &[(&str, &str)]) -> Ran {
        let mut program = Command::new(self.path("calicoctl"));
        program.args(line.split(' ')).env_clear().env("HOME", self.home.path()).current_dir("/");
        program.envs(variables.iter().copied()).stdin(Stdio::null());
        if rustix::process::geteuid().is_root() {
            program.uid(65534).gid(65534);
        }
        let output = program.output().unwrap();
        let home = self.home.path().to_str().unwrap();
        let plain = |text: Vec<u8>| String::from_utf8(text).unwrap().replace(home, "[HOME]");
        Ran {
            code: output.status.code().unwrap().try_into().unwrap(),
            stdout: plain(output.stdout),
            stderr: plain(output.stderr),
        }
    }

    fn good(&self, line: &str) -> String {
        let ran = self.run(line, &[]);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{line}: {ran:?}");
        ran.stdout
    }

    /// The path of a manifest that the user may read.
    fn manifest(&self) -> String {
        let path = self.path("pool.yaml");
        fs::write(&path, pool("p", "10.0.0.0/16")).unwrap();
        path.to_str().unwrap().to_string()
    }
}

#[test]
fn without_a_store_nothing_answers_and_nothing_is_made() {
    let Some(user) = User::new() else { return };
    let manifest = user.manifest();
    let saved = user.path("saved.db").display().to_string();
    for line in [
        "get ippools",
        "ipam show",
        "version",
        "label nodes n rack=0",
        "ipam configure --strictaffinity=true",
        "datastore migrate lock",
        &format!("create -f {manifest}"),
        &format!("delete -f {manifest}"),
        &format!("datastore backup {saved}"),
    ] {
        let ran = user.run(line, &[]);
        let told = format!("{}{}", ran.stdout, ran.stderr);
        let wanted = "no store here yet: calicoctl datastore init makes one in [HOME]/.local/state/rackpool/rackpool.db";
        assert!(ran.code == 1 && told.contains(wanted), "{line}: {ran:?}");
        assert!(!user.has_store(), "{line}");
    }
    let told = user.good("datastore init --ipv4-cidr 10.1.0.0/16");
    assert!(told.ends_with("Datastore initialised: [HOME]/.local/state/rackpool/rackpool.db\n"), "{told}");
    assert!(user.good("get ippools").contains("10.1.0.0/16"));
    user.good(&format!("create -f {manifest}"));
    user.good(&format!("datastore backup {saved}"));
    // A backup begins a store.
    fs::remove_dir_all(user.path(".local")).unwrap();
    user.good(&format!("datastore restore {saved}"));
    assert!(user.good("get ippools").contains("10.1.0.0/16"));
}

/// A file that something names is a store, which the first write begins, as ever.
#[test]
fn a_store_that_is_named_begins_with_the_first_write() {
    let Some(user) = User::new() else { return };
    let (manifest, file) = (user.manifest(), user.path("named.db"));
    for named in [("RACKPOOL_DB", file.to_str().unwrap()), ("DATASTORE_TYPE", "embedded")] {
        assert_eq!(user.run("get ippools", &[named]).stdout, "NAME   CIDR   SELECTOR   \n\n");
        let ran = user.run(&format!("create -f {manifest}"), &[named]);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    }
    assert!(file.exists() && user.has_store());
}

#[cfg(feature = "kubernetes")]
#[test]
fn a_kubeconfig_alone_leads_to_its_cluster() {
    let Some(user) = User::new() else { return };
    user.has_kubeconfig();
    for line in ["get nodes", &format!("create -f {}", user.manifest()), "datastore init"] {
        let ran = user.run(line, &[]);
        let told = format!("{}{}", ran.stdout, ran.stderr);
        assert!(ran.code == 1 && told.contains("http://127.0.0.1:1 cannot be reached"), "{line}: {ran:?}");
    }
    assert!(!user.has_store());
}

#[cfg(feature = "kubernetes")]
#[test]
fn of_two_stores_one_is_read_and_none_is_written() {
    let Some(user) = User::new() else { return };
    let manifest = user.manifest();
    user.good("datastore init");
    user.has_kubeconfig();
    for line in ["get ippools", "ipam show", "version"] {
        let ran = user.run(line, &[]);
        assert_eq!(ran.code, 0, "{line}: {ran:?}");
        for part in
            ["[HOME]/.local/state/rackpool/rackpool.db", "[HOME]/.kube/config", "DATASTORE_TYPE=kubernetes"]
        {
            assert!(
                ran.stderr.starts_with("warning: two stores") && ran.stderr.contains(part),
                "{line}: {ran:?}"
            );
        }
        assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
    }
    for line in [
        format!("create -f {manifest}"),
        format!("delete -f {manifest}"),
        "ipam release --ip=10.0.0.1".to_string(),
        "datastore init".to_string(),
    ] {
        let ran = user.run(&line, &[]);
        let told = format!("{}{}", ran.stdout, ran.stderr);
        for part in
            ["two stores", "DATASTORE_TYPE=embedded", "DATASTORE_TYPE=kubernetes", "[HOME]/.kube/config"]
        {
            assert!(ran.code == 1 && told.contains(part), "{line}: {ran:?}");
        }
    }
    let named = user.run(&format!("create -f {manifest}"), &[("DATASTORE_TYPE", "embedded")]);
    assert_eq!((named.code, named.stderr.as_str()), (0, ""), "{named:?}");
}

#[test]
fn misspelt_variables_are_warned_of() {
    let mut world = World::new();
    world.set("ETCD_ENDPOINT", "http://127.0.0.1:1");
    world.set("KUBE_CONFIG", "/x");
    let ran = world.run("get ippools");
    assert_eq!(ran.code, 0);
    assert_eq!(
        ran.stderr,
        "warning: the environment variable ETCD_ENDPOINT has no effect; was ETCD_ENDPOINTS meant?\n\
         warning: the environment variable KUBE_CONFIG has no effect; was KUBECONFIG meant?\n"
    );
    // The store is opened twice, and the warning printed once.
    assert_eq!(world.run("datastore init").stderr.lines().count(), 2);
}
