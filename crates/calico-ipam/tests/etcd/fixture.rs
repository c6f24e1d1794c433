//! A cluster's store in etcd, and the program.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use api::{Kind, Resource, Value};
use serde_json::{Value as Json, json};
use servers::etcd_server::EtcdServer;
use store::etcd::{EtcdOptions, EtcdStore};
use store::{Batch, Expect, Store};
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

/// The outcome of a run of the program, and how long it took.
#[derive(Debug)]
pub struct Answer {
    pub code: Option<i32>,
    pub json: Json,
    pub stderr: String,
    pub took: Duration,
}

impl Answer {
    /// The addresses in the result.
    pub fn addresses(&self) -> Vec<&str> {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.json["ips"].as_array().into_iter().flatten().map(|ip| ip["address"].as_str().unwrap()).collect()
    }

    /// The message of an error, which must contain all of these texts.
    pub fn says(&self, words: &[&str]) -> &str {
        assert_eq!((self.code, self.json["code"].as_i64()), (Some(1), Some(999)), "{self:?}");
        let message = self.json["msg"].as_str().unwrap();
        for word in words {
            assert!(message.contains(word), "{word:?} is not in {message:?}");
        }
        message
    }
}

/// A host that calls the program.
pub struct Host {
    dir: TempDir,
    endpoints: String,
    pub name: String,
}

impl Host {
    pub fn new(name: &str, endpoints: &str) -> Host {
        Host { dir: tempfile::tempdir().unwrap(), endpoints: endpoints.to_string(), name: name.to_string() }
    }

    pub fn run(&self, command: &str, container: &str, changes: Json) -> Answer {
        let mut conf = json!({
            "cniVersion": "1.0.0", "name": "net", "type": "calico", "nodename": self.name,
            "etcd_endpoints": self.endpoints,
            "ipam_lock_file": self.dir.path().join("ipam.lock").to_str().unwrap(),
            "ipam": {"type": "calico-ipam"}
        });
        for (field, value) in changes.as_object().unwrap() {
            conf[field] = value.clone();
        }
        let env = [
            ("CNI_COMMAND", command),
            ("CNI_CONTAINERID", container),
            ("CNI_NETNS", "/var/run/netns/x"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_PATH", "/opt/cni/bin"),
            ("CNI_ARGS", ""),
        ];
        #[allow(clippy::disallowed_methods, reason = "measures how long users wait")]
        let start = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_calico-ipam"))
            .env_clear()
            .envs(env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(conf.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let json = serde_json::from_slice(&output.stdout).unwrap_or(Json::Null);
        let stderr = String::from_utf8(output.stderr).unwrap();
        Answer { code: output.status.code(), json, stderr, took: start.elapsed() }
    }
}

/// Stores resources.
pub fn fill(server: &EtcdServer, documents: &[Json]) {
    let mut batch = Batch::new();
    for document in documents {
        let kind = Kind::from_name(document["kind"].as_str().unwrap()).unwrap();
        let resource = Resource::from_json(kind, document.clone()).unwrap();
        batch.put(resource.key(), Expect::Absent, Value::Resource(resource));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let report = runtime.block_on(async {
        let options = EtcdOptions { endpoints: vec![server.endpoint()], ..EtcdOptions::default() };
        EtcdStore::open(options).unwrap().commit(&batch, Duration::from_secs(10)).await.unwrap()
    });
    assert!(report.is_applied(), "{report:?}");
}

pub fn pool(name: &str, cidr: &str) -> Json {
    json!({"kind": "IPPool", "metadata": {"name": name}, "spec": {"cidr": cidr, "nodeSelector": "all()"}})
}

pub fn node(name: &str) -> Json {
    json!({"kind": "Node", "metadata": {"name": name}, "spec": {}})
}
