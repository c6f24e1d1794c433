//! A user of the program, in a directory of its own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use api::{HandleId, Use};
use ipam::AutoAssign;
use servers::etcd_server::EtcdServer;
use setup::{ConnectOptions, Datastore, Environment, Settings};
use store::AnyStore;
use store::etcd::{EtcdOptions, EtcdStore};
use tempfile::TempDir;

/// Ends the test where tests with etcd are left out.
macro_rules! needs_etcd {
    () => {
        if servers::etcd_server::is_left_out() {
            return;
        }
    };
}
pub(crate) use needs_etcd;

pub const WITHIN: Duration = Duration::from_secs(10);

/// A user: a directory, and the variables that lead to a store.
pub struct User {
    pub dir: TempDir,
    pub variables: Vec<(String, String)>,
}

/// The outcome of a run of the program.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl User {
    /// A user of an embedded store, in that file of the directory.
    pub fn of_file(name: &str) -> User {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(name).to_str().unwrap().to_string();
        User { dir, variables: vec![("RACKPOOL_DB".to_string(), file)] }
    }

    /// A user of an etcd.
    pub fn of(endpoints: &str) -> User {
        User::of_file("unused.db").with("ETCD_ENDPOINTS", endpoints)
    }

    pub fn with(mut self, name: &str, value: &str) -> User {
        self.variables.push((name.to_string(), value.to_string()));
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a configuration file with these fields. Gives its path.
    pub fn config(&self, name: &str, fields: &[(&str, &str)]) -> String {
        let mut text =
            "apiVersion: projectcalico.org/v3\nkind: CalicoAPIConfig\nmetadata: {}\nspec:\n".to_string();
        for (field, value) in fields {
            text.push_str(&format!("  {field}: {value:?}\n"));
        }
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_string()
    }

    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_calicoctl"));
        let home = self.dir.path().to_str().unwrap();
        command.args(line.split(' ')).env_clear().env("HOME", home).current_dir(home);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    pub fn run(&self, line: &str) -> Ran {
        #[allow(clippy::disallowed_methods, reason = "measures how long users wait")]
        let start = Instant::now();
        Ran::of(self.command(line).stdin(Stdio::null()).output().unwrap(), start.elapsed())
    }

    /// The output of a run, which must succeed.
    pub fn good(&self, line: &str) -> String {
        let ran = self.run(line);
        assert_eq!(ran.code, Some(0), "{line}: {ran:?}");
        ran.stdout
    }

    /// Opens the store to which the variables lead.
    pub fn with_store<T>(&self, act: impl AsyncFnOnce(&AnyStore) -> T) -> T {
        let environment: Environment = self.variables.iter().cloned().collect();
        let datastore =
            Datastore::choose(&Settings::from_environment(&environment).unwrap(), &environment).unwrap();
        let store = setup::connect(&datastore, ConnectOptions::default()).unwrap();
        wait_for(act(&store))
    }

    /// Creates a store and fills it: pools, nodes, addresses of both families, and those of a load balancer.
    pub fn fill(&self) {
        self.good("datastore init --ipv6-cidr fd00::/112");
        let node = |name: &str| {
            format!(
                "apiVersion: projectcalico.org/v3\nkind: Node\nmetadata:\n  name: {name}\n  labels:\n    rack: a\nspec: {{}}\n"
            )
        };
        let path = self.path("nodes.yaml");
        std::fs::write(&path, [node("n1"), node("n2")].join("---\n")).unwrap();
        self.good(&format!("create -f {}", path.display()));
        self.good("ipam configure --strictaffinity=true");
        for (host, handle) in [("n1", "net.c1"), ("n1", "net.c2"), ("n2", "net.c3")] {
            let mut request = AutoAssign::new(host, Use::Workload);
            request.handle = HandleId::new(handle);
            request.attributes = BTreeMap::from([("node".to_string(), host.to_string())]);
            (request.v4, request.v6) = (3, 1);
            let answer = self
                .with_store(async |store| ipam::run(store, &Real, request.planner(), WITHIN).await.unwrap());
            assert!(answer.is_whole(), "{answer:?}");
        }
    }
}

impl Ran {
    pub fn of(output: Output, took: Duration) -> Ran {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr), took }
    }

    /// Checks that the run failed with an error that contains all of these texts.
    pub fn says(&self, words: &[&str]) {
        assert_eq!(self.code, Some(1), "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not in {:?}", self.stderr);
        }
    }
}

/// Effects with the real time, and with random numbers that are the same in every run.
pub struct Real;

impl store::Effects for Real {
    fn now(&self) -> api::Timestamp {
        api::Timestamp::new(1_785_578_400, 0).unwrap()
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }

    fn seed(&self) -> u64 {
        7
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(time)
    }
}

pub fn wait_for<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

pub fn open(server: &EtcdServer) -> EtcdStore {
    EtcdStore::open(EtcdOptions { endpoints: vec![server.endpoint()], ..EtcdOptions::default() }).unwrap()
}
