//! A machine for a test: a directory with a store, and the program.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use api::{Block, Key, Kind, Resource, Value};
use serde_json::{Value as Json, json};
use setup::{ConnectOptions, Datastore, Environment, Missing, Settings};
use store::{AnyStore, Batch, Depth, Expect, ReadSet, Scope, Store, View};
use tempfile::TempDir;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_calico-ipam");
const WITHIN: Duration = Duration::from_secs(20);

/// A directory with a store in it.
pub(crate) struct Machine {
    pub(crate) dir: TempDir,
}

/// The outcome of a run of the program.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Answer {
    /// Standard output as JSON.
    pub(crate) fn json(&self) -> Json {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The addresses in a result of version 1.0.0, with their prefix lengths.
    pub(crate) fn addresses(&self) -> Vec<String> {
        assert_eq!(self.code, Some(0), "{self:?}");
        let json = self.json();
        let ips = json["ips"].as_array().cloned().unwrap_or_default();
        ips.iter().map(|ip| ip["address"].as_str().unwrap().to_string()).collect()
    }

    /// The code and the message of an error.
    pub(crate) fn error(&self) -> (i64, String) {
        assert_eq!(self.code, Some(1), "{self:?}");
        let json = self.json();
        (json["code"].as_i64().unwrap(), json["msg"].as_str().unwrap().to_string())
    }
}

impl Machine {
    /// A machine whose store holds these resources.
    pub(crate) fn new(documents: &[Json]) -> Machine {
        Machine::with_records(documents.iter().map(|document| {
            let kind = Kind::from_name(document["kind"].as_str().unwrap()).unwrap();
            let resource = Resource::from_json(kind, document.clone()).unwrap();
            (resource.key(), Value::Resource(resource))
        }))
    }

    /// A machine whose store holds these records.
    pub(crate) fn with_records(records: impl IntoIterator<Item = (Key, Value)>) -> Machine {
        let machine = Machine { dir: tempfile::tempdir().unwrap() };
        let mut batch = Batch::new();
        for (key, value) in records {
            batch.put(key, Expect::Absent, value);
        }
        let report = machine.with_store(|store| wait_for(store.commit(&batch, WITHIN)).unwrap());
        assert!(report.is_applied(), "{report:?}");
        machine
    }

    /// The store's file.
    pub(crate) fn db(&self) -> PathBuf {
        self.dir.path().join("rackpool.db")
    }

    /// The network configuration for the store, with these fields changed.
    pub(crate) fn conf(&self, changes: Json) -> Json {
        let mut conf = json!({
            "cniVersion": "1.0.0", "name": "net", "type": "calico", "nodename": "n1",
            "datastore_type": "embedded", "rackpool_db": self.db().to_str().unwrap(),
            "ipam_lock_file": self.dir.path().join("ipam.lock").to_str().unwrap(),
            "ipam": {"type": "calico-ipam"}
        });
        for (field, value) in changes.as_object().unwrap() {
            conf[field] = value.clone();
        }
        conf
    }

    /// Runs a command for a container, with the unchanged configuration.
    pub(crate) fn run(&self, command: &str, container: &str, args: &str) -> Answer {
        self.run_with(command, container, args, &self.conf(json!({})))
    }

    /// As [`Machine::run`], with this configuration.
    pub(crate) fn run_with(&self, command: &str, container: &str, args: &str, conf: &Json) -> Answer {
        finish(self.start(command, container, args, conf))
    }

    /// Starts a command, and does not wait for its end.
    pub(crate) fn start(&self, command: &str, container: &str, args: &str, conf: &Json) -> Child {
        let env = [
            ("CNI_COMMAND", command),
            ("CNI_CONTAINERID", container),
            ("CNI_NETNS", "/var/run/netns/x"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_PATH", "/opt/cni/bin"),
            ("CNI_ARGS", args),
        ];
        spawn(Command::new(BINARY).env_clear().envs(env), &conf.to_string())
    }

    /// Opens the store, and calls `act` with it.
    pub(crate) fn with_store<T>(&self, act: impl FnOnce(&AnyStore) -> T) -> T {
        let environment: Environment = [("RACKPOOL_DB", self.db().to_str().unwrap())].into_iter().collect();
        let settings = Settings::from_environment(&environment).unwrap();
        let datastore = Datastore::choose(&settings, &environment).unwrap();
        let options = ConnectOptions { missing: Missing::Create, ..ConnectOptions::default() };
        act(&setup::connect(&datastore, options).unwrap())
    }

    /// A view of all allocations in the store.
    pub(crate) fn view(&self) -> View {
        let set = ReadSet::new()
            .scope(Scope::Blocks { family: None }, Depth::Full)
            .scope(Scope::Handles, Depth::Full)
            .scope(Scope::Affinities { owner: None, family: None }, Depth::Full);
        self.with_store(|store| wait_for(store.read(&set, WITHIN)).unwrap())
    }

    /// The stored text under a key, as a tool other than this program would see it.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        let file = rusqlite::Connection::open(self.db()).unwrap();
        file.query_row("SELECT value FROM kv WHERE key = ?1", [path], |row| row.get(0)).ok()
    }

    /// Stores a text under a key, as a tool other than this program would.
    pub(crate) fn put_text(&self, path: &str, text: &str) {
        let file = rusqlite::Connection::open(self.db()).unwrap();
        let put = "INSERT INTO kv (key, value, revision) VALUES (?1, ?2, 1000000) \
                   ON CONFLICT (key) DO UPDATE SET value = excluded.value";
        assert_eq!(file.execute(put, [path, text]).unwrap(), 1);
    }

    /// Deletes the record under a key.
    pub(crate) fn delete(&self, path: &str) {
        let file = rusqlite::Connection::open(self.db()).unwrap();
        assert_eq!(file.execute("DELETE FROM kv WHERE key = ?1", [path]).unwrap(), 1);
    }

    /// The names of the handles.
    pub(crate) fn handles(&self) -> Vec<String> {
        let view = self.view();
        let keys = view.slots(&Scope::Handles).map(|(key, _)| key);
        keys.filter_map(|key| if let Key::Handle(id) = key { Some(id.to_string()) } else { None }).collect()
    }

    /// All blocks in the store.
    pub(crate) fn blocks(&self) -> Vec<Block> {
        let view = self.view();
        let slots = view.slots(&Scope::Blocks { family: None });
        slots.map(|(_, slot)| slot.record().unwrap().block().unwrap().clone()).collect()
    }

    /// The addresses in use, with their handles.
    pub(crate) fn taken(&self) -> BTreeMap<IpAddr, String> {
        let mut taken = BTreeMap::new();
        for block in self.blocks() {
            for ordinal in 0..block.cidr.size() {
                if let Some(attribute) = block.attribute(ordinal) {
                    let handle = attribute.handle().unwrap_or_default().to_string();
                    assert!(taken.insert(block.cidr.addr(ordinal).unwrap(), handle).is_none());
                }
            }
        }
        taken
    }

    /// How many addresses each handle counts.
    pub(crate) fn counted(&self) -> BTreeMap<String, u32> {
        let view = self.view();
        let slots = view.slots(&Scope::Handles);
        slots
            .map(|(key, slot)| {
                let Key::Handle(id) = key else { unreachable!("of the scope of handles") };
                let handle = slot.record().unwrap().handle().unwrap();
                (id.to_string(), handle.blocks.values().sum())
            })
            .collect()
    }
}

/// Starts the program with that text as its standard input.
pub(crate) fn spawn(command: &mut Command, stdin: &str) -> Child {
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    // A program that has ended already does not read its input.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child
}

/// Waits for the end of the program.
pub(crate) fn finish(child: Child) -> Answer {
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Answer { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

pub(crate) fn wait_for<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
}

/// The document of a pool.
pub(crate) fn pool(name: &str, cidr: &str, spec: Json) -> Json {
    let mut document = json!({"kind": "IPPool", "metadata": {"name": name}, "spec": {"cidr": cidr, "nodeSelector": "all()"}});
    for (field, value) in spec.as_object().unwrap() {
        document["spec"][field] = value.clone();
    }
    document
}

/// The document of a node.
pub(crate) fn node(name: &str, labels: Json) -> Json {
    json!({"kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": {}})
}

/// The folder of the recordings, if it has at least as many as the test wants. Where `RACKPOOL_RECORDINGS`
/// names no folder, prints that and gives `None`.
#[allow(
    clippy::disallowed_methods,
    reason = "the one place where these tests learn where the recordings are"
)]
pub(crate) fn recordings(least: usize) -> Option<PathBuf> {
    let root = std::env::var_os("RACKPOOL_RECORDINGS").map(PathBuf::from);
    if root.is_none() {
        println!("skipped: {least} recordings: RACKPOOL_RECORDINGS names none");
    }
    root
}

/// Reads a JSON file, which must exist.
pub(crate) fn read_json(path: &Path) -> Json {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The address in a text with a prefix length.
pub(crate) fn addr(text: &str) -> IpAddr {
    text.split('/').next().and_then(|addr| addr.parse().ok()).unwrap_or_else(|| panic!("no address: {text}"))
}
