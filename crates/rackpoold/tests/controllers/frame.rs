//! Settings, status, leader, health and figures of the process.

use std::path::Path;
use std::time::Duration;

use api::{Key, Kind, Resource, Value};
use rustix::process::Signal;
use serde_json::{Value as Json, json};
use servers::etcd_server::{self, EtcdServer};
use servers::kube_server::{self, KubeServer, KubeServerOptions};
use store::etcd::{EtcdOptions, EtcdStore};
use store::kubernetes::{KubeOptions, KubeStore, Kubeconfig, ObjectName};
use store::sqlite::{Missing, SqliteOptions, SqliteStore};
use store::{Batch, Expect, ReadSet, Store};

use super::WITHIN;
use super::process::{Process, ask, get, until};

/// Whom `deploy/rbac` gives what the controllers need.
pub const ACCOUNT: &str = "system:serviceaccount:kube-system:rackpoold-controllers";
const TAKEN_OVER: Duration = Duration::from_secs(30);

fn key() -> Key {
    Key::global(Kind::KubeControllersConfiguration, "default")
}

async fn stored<S: Store>(store: &S) -> Option<Resource> {
    let view = store.read(&ReadSet::new().key(key()), WITHIN).await.unwrap();
    view.resource(&key()).flatten().map(|(resource, _)| resource.clone())
}

/// Changes the spec, whatever other writers do meanwhile.
async fn configure<S: Store>(store: &S, spec: Json) {
    loop {
        let view = store.read(&ReadSet::new().key(key()), WITHIN).await.unwrap();
        let mut json = json!({"metadata": {"name": "default"}, "spec": spec});
        let expect = match view.resource(&key()).flatten() {
            Some((stored, revision)) => {
                json["status"] = stored.body().get("status").cloned().unwrap_or_default();
                Expect::Revision(revision.clone())
            }
            None => Expect::Absent,
        };
        let resource = Resource::from_json(Kind::KubeControllersConfiguration, json).unwrap();
        let mut batch = Batch::new();
        batch.put(key(), expect, Value::Resource(resource));
        if store.commit(&batch, WITHIN).await.unwrap().is_applied() {
            return;
        }
    }
}

fn leads(port: u16) -> bool {
    get(port, "/metrics").is_some_and(|(_, text)| text.contains("\nrackpool_controllers_leader 1\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_embedded_store() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rackpool.db");
    let options = SqliteOptions { missing: Missing::CreateOnCommit, ..SqliteOptions::default() };
    let store = SqliteStore::open(&path, options).unwrap();
    let [first_port, second_port] = servers::etcd_server::free_ports::<2>();
    configure(&store, json!({"prometheusMetricsPort": first_port, "controllers": {"node": {}}})).await;
    let variables = [("DATASTORE_TYPE", "embedded"), ("RACKPOOL_DB", path.to_str().unwrap())];
    let mut first = Process::start(&variables, &[]);
    until("the first is ready", WITHIN, || {
        get(first.health, "/readiness").is_some_and(|(code, _)| code == 200)
    });
    assert_eq!(get(first.health, "/liveness").unwrap().0, 200);
    assert_eq!(get(first.health, "/metrics").unwrap().0, 404);
    until("the first leads", WITHIN, || leads(first_port));
    let (_, text) = get(first_port, "/metrics").unwrap();
    assert!(text.contains("content-type: text/plain; version=0.0.4"), "{text}");

    // Questions that nobody needs an answer to.
    assert_eq!(
        ask(first_port, "POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap().0,
        405
    );
    assert_eq!(get(first_port, "/other").unwrap().0, 404);
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(40 << 10));
    assert!(ask(first_port, &long).is_none_or(|(code, _)| code == 431 || code == 414));

    // The status tells what is in force.
    let resource = stored(&store).await.unwrap();
    assert_eq!(resource.field(&["status", "runningConfig", "healthChecks"]), Some(&"Enabled".into()));

    // A second stands by, and cannot have the same port.
    let second = Process::start(&variables, &[]);
    until("the second is ready", WITHIN, || {
        get(second.health, "/readiness").is_some_and(|(code, _)| code == 200)
    });
    until("the port is missed", WITHIN, || {
        second.log().contains(&format!("port {first_port} cannot be used"))
    });

    // A change counts without a restart.
    configure(&store, json!({"prometheusMetricsPort": second_port, "healthChecks": "Disabled"})).await;
    until("the port has moved", WITHIN, || get(second_port, "/metrics").is_some());
    assert!(get(first_port, "/metrics").is_none());
    assert_eq!(get(first.health, "/readiness").unwrap().0, 404);

    // The first dies; the second takes its place, and then its port.
    first.signal(Signal::KILL);
    first.end(WITHIN);
    until("the second leads", TAKEN_OVER, || leads(second_port));
    let mut second = second;
    second.signal(Signal::TERM);
    assert!(second.end(WITHIN).success(), "{}", second.log());
    assert!(second.log().contains("the controllers end"), "{}", second.log());
}

/// A leader that was paused knows that it is none any more, before it does anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_leader() {
    if etcd_server::is_left_out() {
        return;
    }
    let server = EtcdServer::start();
    let endpoints = vec![server.endpoint()];
    let store = EtcdStore::open(EtcdOptions { endpoints, ..Default::default() }).unwrap();
    let [port] = servers::etcd_server::free_ports::<1>();
    configure(&store, json!({"prometheusMetricsPort": port, "controllers": {"node": {}}})).await;
    let endpoint = server.endpoint();
    let start = |name: &str| {
        let variables = [("DATASTORE_TYPE", "etcdv3"), ("ETCD_ENDPOINTS", &endpoint), ("POD_NAME", name)];
        Process::start(&variables, &[])
    };
    let leads = async |name: &str| {
        let texts = store.texts_below("/rackpool/controllers/", WITHIN).await.unwrap();
        texts.iter().any(|(_, value)| value.starts_with(&format!("{name}_")))
    };
    let wait = async |name: &str| {
        let by = std::time::Instant::now() + TAKEN_OVER;
        while !leads(name).await {
            assert!(std::time::Instant::now() < by, "{name} does not lead");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let first = start("first");
    wait("first").await;
    until("the first tells that it leads", WITHIN, || self::leads(port));
    let mut second = start("second");
    until("the second stands by", WITHIN, || {
        get(second.health, "/readiness").is_some_and(|(code, _)| code == 200)
    });
    first.signal(Signal::STOP);
    wait("second").await;
    first.signal(Signal::CONT);
    // From its very first answer on.
    for _ in 0..20 {
        let (_, text) = get(port, "/metrics").unwrap();
        assert!(text.contains("\nrackpool_controllers_leader 0\n"), "{text}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(leads("second").await);
    second.signal(Signal::TERM);
    assert!(second.end(WITHIN).success());
    wait("first").await;
    until("the first leads again", WITHIN, || self::leads(port));
}

#[test]
fn what_the_environment_cannot_mean() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("none.db");
    let variables = [("RACKPOOL_DB", path.to_str().unwrap()), ("ENABLED_CONTROLLERS", "node,policies")];
    let mut process = Process::start(&variables, &[]);
    assert_eq!(process.end(WITHIN).code(), Some(1));
    let log = process.log();
    assert!(log.contains("there is no controller \"policies\""), "{log}");
    let mut process = Process::start(&variables[..1], &[]);
    assert_eq!(process.end(WITHIN).code(), Some(1), "a store that is not there is not made");
    assert!(process.log().contains("none.db"), "{}", process.log());
}

/// While the store gives no answer, the process waits, and ends when it is told to.
#[test]
fn a_store_that_is_away() {
    let variables = [("DATASTORE_TYPE", "etcdv3"), ("ETCD_ENDPOINTS", "http://127.0.0.1:1")];
    let mut process = Process::start(&variables, &[]);
    until("it waits", WITHIN, || process.log().contains("waits for the store"));
    process.signal(Signal::TERM);
    assert!(process.end(WITHIN).success(), "{}", process.log());
}

/// The store of the API server to which a kubeconfig leads.
pub fn open(kubeconfig: &Path) -> KubeStore {
    let kubeconfig = Some(Kubeconfig::Files(vec![kubeconfig.to_path_buf()]));
    KubeStore::open(KubeOptions { kubeconfig, ..KubeOptions::default() }).unwrap()
}

async fn object(store: &KubeStore) -> Option<Json> {
    let api = format!("/apis/{}", store.group(WITHIN).await.unwrap().api_version());
    let name =
        ObjectName { api: &api, plural: "kubecontrollersconfigurations", namespace: None, name: "default" };
    store.object(name, WITHIN).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn on_kubernetes() {
    if kube_server::is_left_out() {
        return;
    }
    let server = KubeServer::start(KubeServerOptions::new().user(ACCOUNT, &[]));
    let deploy = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy"));
    server.apply(&[&deploy.join("crds/v3"), &deploy.join("rbac")]);
    let store = open(&server.kubeconfig());
    let kubeconfig = server.kubeconfig_of(ACCOUNT).display().to_string();
    let variables = [
        ("DATASTORE_TYPE", "kubernetes"),
        ("KUBECONFIG", kubeconfig.as_str()),
        ("ENABLED_CONTROLLERS", "node"),
        ("LOG_LEVEL", "debug"),
    ];

    // It does not start beside Calico's.
    let ready = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "calico-kube-controllers", "namespace": "kube-system"},
        "spec": {"selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    let name = ObjectName {
        api: "/apis/apps/v1",
        plural: "deployments",
        namespace: Some("kube-system"),
        name: "calico-kube-controllers",
    };
    assert!(store.create_object(name, &ready, WITHIN).await.unwrap());
    let mut ready = store.object(name, WITHIN).await.unwrap().unwrap();
    ready["status"] = json!({"replicas": 1, "readyReplicas": 1});
    store.replace_object(name, true, &ready, WITHIN).await.unwrap();
    let mut refused = Process::start(&variables, &[]);
    assert_eq!(refused.end(WITHIN).code(), Some(1));
    let log = refused.log();
    assert!(
        log.contains("kubectl -n kube-system scale deployment calico-kube-controllers --replicas=0"),
        "{log}"
    );
    assert!(object(&store).await.is_none(), "it has touched nothing");

    // The resource is made where it is missing, with its status.
    let mut process = Process::start(&variables, &["--force"]);
    let by = std::time::Instant::now() + WITHIN;
    let status = loop {
        let found = object(&store).await.filter(|object| object["status"].is_object());
        if let Some(found) = found {
            break found["status"].clone();
        }
        assert!(std::time::Instant::now() < by, "{}", process.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let variables =
        json!({"DATASTORE_TYPE": "kubernetes", "ENABLED_CONTROLLERS": "node", "LOG_LEVEL": "debug"});
    assert_eq!(status["environmentVars"], variables);
    let node = &status["runningConfig"]["controllers"]["node"];
    assert_eq!(node["leakGracePeriod"], "15m0s", "{status}");
    let puts = "kubecontrollersconfigurations/default/status";
    let written =
        server.requests_of(ACCOUNT).into_iter().filter(|request| request.uri.contains(puts)).count();
    assert_eq!(written, 1);

    let mut configuration = object(&store).await.unwrap();
    configuration["spec"]["controllers"]["node"]["leakGracePeriod"] = "7s".into();
    configure(&store, configuration["spec"].clone()).await;
    let by = std::time::Instant::now() + WITHIN;
    while object(&store).await.unwrap()["status"]["runningConfig"]["controllers"]["node"]["leakGracePeriod"]
        != "7s"
    {
        assert!(std::time::Instant::now() < by, "{}", process.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let lease = ObjectName::lease("kube-system", "rackpool-controllers");
    let holder = |lease: &Json| lease["spec"]["holderIdentity"].as_str().unwrap().to_string();
    assert!(holder(&store.object(lease, WITHIN).await.unwrap().unwrap()).starts_with("rackpoold_"));
    process.signal(Signal::TERM);
    assert!(process.end(WITHIN).success(), "{}", process.log());
    assert_eq!(holder(&store.object(lease, WITHIN).await.unwrap().unwrap()), "", "the Lease is given up");
    // Without the right to watch it reads anew, and only the log tells.
    assert!(!process.log().contains("a role with the rule"), "{}", process.log());
}
