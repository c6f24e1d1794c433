//! The same on a real API server, with the rights that `deploy/rbac` gives, and no others.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rackpoold::events::{Events, Object};
use rackpoold::node::condition::{self, Condition, publish};
use rackpoold::node::feed::Feed;
use rackpoold::node::finding::{Finding, Reason};
use rackpoold::node::name::MACHINE_ANNOTATION;
use rackpoold::node::record::{RecordError, Says, Written};
use rackpoold::node::world::World;
use rackpoold::preflight::preflight;
use routes::Known;
use routes::tunnel::Kind as Tunnel;
use serde_json::{Value as Json, json};
use servers::kube_server::{self, KubeServer, KubeServerOptions};
use setup::Clock;
use store::kubernetes::{KubeOptions, KubeStore, Kubeconfig, ObjectName, ObjectPatch, PatchKind};
use store::{AnyStore, Effects};

use crate::home::{Home, WITHIN, block_on};
use crate::record::{everything, machine};
use crate::tunnels;

/// The account of the agent. As a user with a token of its own it has the rights, and no Node.
const AGENT: &str = "system:serviceaccount:kube-system:rackpoold-node";

fn deploy(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy")).join(name)
}

fn kubectl(server: &KubeServer, arguments: &[&str], stdin: &str) -> String {
    let mut command = server.kubectl(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn node(server: &KubeServer, name: &str) -> Json {
    serde_json::from_str(&kubectl(server, &["get", "node", name, "-o", "json"], "")).unwrap()
}

/// A Node with what others have written on it, as the kubelet and Calico do.
fn create_node(server: &KubeServer, name: &str, internal: &str) {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name,
        "labels": {"rack": "1"},
        "annotations": {"others": "x", "projectcalico.org/WireguardPublicKey": "jlkVyQYooZYzI2wFfNhSZez5eWh44yfq1wKVjLvSXgY=",
            "projectcalico.org/IPv4Address": "nonsense", "projectcalico.org/labels": "{\"zone\":\"a\"}"}}});
    kubectl(server, &["create", "-f", "-"], &node.to_string());
    let status = json!({"status": {
        "addresses": [{"type": "InternalIP", "address": internal}, {"type": "Hostname", "address": name}],
        "nodeInfo": {"machineID": "ffff6789abcdef0123456789abcdef00", "systemUUID": "", "bootID": "", "kernelVersion": "",
            "osImage": "", "containerRuntimeVersion": "", "kubeletVersion": "", "kubeProxyVersion": "",
            "operatingSystem": "linux", "architecture": "amd64"},
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "fine",
            "lastHeartbeatTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    kubectl(
        server,
        &["patch", "node", name, "--subresource=status", "--type=merge", "-p", &status.to_string()],
        "",
    );
}

/// A store that is reached with a token of the agent's account that is bound to a Node.
fn bound_to(server: &KubeServer, name: &str) -> Home {
    let token = [
        "create",
        "token",
        "rackpoold-node",
        "-n",
        "kube-system",
        "--bound-object-kind",
        "Node",
        "--bound-object-name",
        name,
    ];
    let token = kubectl(server, &token, "");
    let text = std::fs::read_to_string(server.kubeconfig_of(AGENT)).unwrap();
    let path = server.directory().join(format!("{name}.kubeconfig"));
    std::fs::write(&path, text.replace(server.token(AGENT), token.trim())).unwrap();
    with(&path)
}

fn with(kubeconfig: &Path) -> Home {
    let kubeconfig = Some(Kubeconfig::Files(vec![kubeconfig.to_path_buf()]));
    Home::of(AnyStore::Kubernetes(KubeStore::open(KubeOptions { kubeconfig, ..Default::default() }).unwrap()))
}

fn kube(home: &Home) -> &KubeStore {
    match &home.store {
        AnyStore::Kubernetes(store) => store,
        other => panic!("{other:?}"),
    }
}

#[test]
fn on_an_api_server() {
    if kube_server::is_left_out() {
        return;
    }
    let server = KubeServer::start(KubeServerOptions::new().user(AGENT, &[]));
    server.apply(&[&deploy("crds/v1"), &deploy("rbac")]);
    for (name, internal) in [("n1", "10.1.0.5"), ("n2", "10.1.0.6"), ("t1", "10.1.0.7")] {
        create_node(&server, name, internal);
    }
    let own = bound_to(&server, "n1");
    block_on(async {
        says_everything(&server, &own).await;
        conditions(&server, &own).await;
        events(&server, &own).await;
        tunnels_addresses(&server, &own).await;
        a_token_writes_its_own_node_alone(&server, &own).await;
        // The agent may see all that keeps it from starting.
        let losses = preflight(&own.store, &Default::default(), WITHIN).await.unwrap();
        assert!(losses.is_empty(), "{losses}");
        is_told_of_what_it_watches(&server, bound_to(&server, "n1")).await;
    });
    rights_end_there(&server);
}

/// The agent follows what routes are made of, with and without strict affinity.
async fn is_told_of_what_it_watches(server: &KubeServer, home: Home) {
    let store = Arc::new(home.store);
    for (known, routes) in [(Known::ByBlocks, "ipamblocks"), (Known::ByAffinities, "blockaffinities")] {
        let mut world = World::new("n1", known);
        let mut feed = Feed::new(&store, false);
        let begun = Clock::start();
        let is_watched = |resource: &str| {
            let accesses = server.accesses_of(AGENT);
            accesses.iter().any(|access| access.verb == "watch" && access.resource == resource)
        };
        let all = ["nodes", "ippools", "ipamconfigs", routes];
        while !world.is_complete() || !all.into_iter().all(is_watched) {
            assert!(begun.elapsed() < WITHIN, "{all:?}: {:?}", server.accesses_of(AGENT));
            // With strict affinity, the blocks of the node itself are among them as soon as they are known.
            feed.follow(world.scopes());
            if let Ok((scope, event)) = tokio::time::timeout(Duration::from_millis(100), feed.next()).await {
                world.take(&scope, event);
            }
        }
    }
}

async fn says_everything(server: &KubeServer, home: &Home) {
    let missing = home.record("none").write(&everything()).await.unwrap_err();
    assert!(matches!(missing, RecordError::Missing(_)), "{missing}");
    assert!(missing.to_string().contains("set NODENAME"), "{missing}");

    let stored = home.record("n1").read().await.unwrap();
    assert_eq!(stored.internal_ips, ["10.1.0.5".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(stored.holder.kubelet.as_deref(), Some("ffff6789abcdef0123456789abcdef00"));

    let before = node(server, "n1");
    let written = home.record("n1").write(&everything()).await.unwrap();
    let Written::Changed(what) = written else { panic!("{written:?}") };
    assert_eq!(what.len(), 8, "{what:?}");
    let after = node(server, "n1");
    let expected = json!({
        "others": "x",
        "projectcalico.org/WireguardPublicKey": "jlkVyQYooZYzI2wFfNhSZez5eWh44yfq1wKVjLvSXgY=",
        "projectcalico.org/labels": "{\"zone\":\"a\"}",
        "projectcalico.org/IPv4Address": "10.1.0.5/24",
        "projectcalico.org/IPv6Address": "2001:db8::5/64",
        "projectcalico.org/ASNumber": "64512",
        "projectcalico.org/IPv4IPIPTunnelAddr": "10.0.0.1",
        "projectcalico.org/IPv4VXLANTunnelAddr": "10.2.0.1",
        "projectcalico.org/IPv6VXLANTunnelAddr": "fd00::1",
        "projectcalico.org/Interfaces": "[{\"name\":\"eth0\",\"addresses\":[\"10.1.0.5\",\"2001:db8::5\"]}]",
        MACHINE_ANNOTATION: machine().as_str(),
    });
    assert_eq!(after["metadata"]["annotations"], expected);
    assert_eq!(after["status"], before["status"]);
    assert_eq!(after["spec"], before["spec"]);
    assert_eq!(after["metadata"]["labels"], before["metadata"]["labels"]);

    // One patch of the status, and none where nothing changes.
    let patches = || server.requests_of(AGENT).into_iter().filter(|request| request.verb == "patch").count();
    let sent = patches();
    assert_eq!(sent, 1);
    assert_eq!(home.record("n1").write(&everything()).await.unwrap(), Written::Nothing);
    assert_eq!(home.record("n1").write(&Says::default()).await.unwrap(), Written::Nothing);
    assert_eq!(patches(), sent);
    let cleared = Says {
        tunnels: [(Tunnel::Ipip, None), (Tunnel::Vxlan, None), (Tunnel::VxlanV6, None)].into(),
        ..Says::default()
    };
    home.record("n1").write(&cleared).await.unwrap();
    assert!(!node(server, "n1")["metadata"]["annotations"].to_string().contains("Tunnel"));

    let taken = home.record("n2").refuse_taken(&["10.1.0.5/24".parse().unwrap()]).await.unwrap_err();
    assert!(taken.to_string().contains("Node(n1) has it"), "{taken}");
    assert_eq!(home.record("n1").read().await.unwrap().holder.noted.as_deref(), Some(machine().as_str()));
}

async fn conditions(server: &KubeServer, home: &Home) {
    let say = async |wanted: &[Condition]| {
        publish(kube(home), "n1", wanted, home.clock.now(), WITHIN).await.unwrap()
    };
    let fine = [Condition::network_is_up(), Condition::problem(&[])];
    assert!(say(&fine).await);
    assert!(!say(&fine).await);
    let of = |kind: &str| {
        let node = node(server, "n1");
        let all = node["status"]["conditions"].as_array().unwrap().clone();
        all.into_iter().find(|condition| condition["type"] == kind).unwrap()
    };
    let network = of("NetworkUnavailable");
    assert_eq!((&network["status"], &network["reason"]), (&json!("False"), &json!("RackpoolIsUp")));
    assert_eq!(of("RackpoolProblem")["reason"], "NothingFound");
    assert_eq!(of("Ready")["reason"], "KubeletReady");

    let findings = [
        Finding::new(Reason::IPIP_MISSING, "no ipip"),
        Finding::new(Reason::LOOPBACK_MISSING, "no loopback"),
    ];
    assert!(say(&[Condition::network_is_up(), Condition::problem(&findings)]).await);
    let problem = of("RackpoolProblem");
    assert_eq!((&problem["status"], &problem["reason"]), (&json!("True"), &json!("SeveralFindings")));
    assert_eq!(of("NetworkUnavailable"), network);
    assert!(!publish(kube(home), "none", &fine, home.clock.now(), WITHIN).await.unwrap());
    // A network that another agent has is not ours to take back.
    let leave = async || condition::leave(kube(home), "n1", home.clock.now(), WITHIN).await.unwrap();
    let others = Condition { reason: "CalicoIsUp".to_string(), ..Condition::network_is_up() };
    assert!(say(&[others]).await && !leave().await);
    assert_eq!(of("NetworkUnavailable")["status"], "False");
    assert!(say(&[Condition::network_is_up()]).await && leave().await && !leave().await);
    let network = of("NetworkUnavailable");
    assert_eq!((&network["status"], &network["reason"]), (&json!("True"), &json!("RackpoolIsDrained")));
    assert!(!condition::leave(kube(home), "none", home.clock.now(), WITHIN).await.unwrap());
}

/// A clock that is moved by hand, but for the time of day.
struct Later {
    clock: Clock,
    seconds: AtomicU64,
}

impl Effects for Later {
    fn now(&self) -> api::Timestamp {
        self.clock.now()
    }

    fn elapsed(&self) -> Duration {
        Duration::from_secs(self.seconds.load(Relaxed))
    }

    fn seed(&self) -> u64 {
        self.clock.seed()
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send {
        self.clock.sleep(time)
    }
}

async fn events(server: &KubeServer, home: &Home) {
    let of = |text: &str| [Finding::new(Reason::IPIP_MISSING, text)];
    let clock = Clock::start();
    // A new process tells again what the last one told.
    for text in ["first", "second"] {
        let mut events = Events::default();
        events.tell(kube(home), (&Object::node("n1"), "n1"), &of(text), &clock, WITHIN).await.unwrap();
        events.tell(kube(home), (&Object::node("n1"), "n1"), &of(text), &clock, WITHIN).await.unwrap();
    }
    let events = kubectl(server, &["get", "events", "-n", "default", "-o", "json"], "");
    let events: Json = serde_json::from_str(&events).unwrap();
    let ours: Vec<&Json> =
        events["items"].as_array().unwrap().iter().filter(|event| event["reason"] == "IpipMissing").collect();
    let [event] = ours[..] else { panic!("{ours:?}") };
    assert_eq!(
        (&event["message"], &event["count"], &event["type"]),
        (&json!("second"), &json!(2), &json!("Warning"))
    );
    // When it is over, there is one event more.
    let clock = Later { clock: Clock::start(), seconds: AtomicU64::new(0) };
    let mut agents = Events::default();
    for (seconds, findings) in [(0, of("second").to_vec()), (30, vec![]), (90, vec![]), (200, vec![])] {
        clock.seconds.store(seconds, Relaxed);
        agents.tell(kube(home), (&Object::node("n1"), "n1"), &findings, &clock, WITHIN).await.unwrap();
    }
    let over = kubectl(server, &["get", "event", "n1.rackpoold.ipipmissingisover", "-o", "json"], "");
    let over: Json = serde_json::from_str(&over).unwrap();
    assert_eq!(
        (&over["reason"], &over["message"], &over["count"], &over["type"]),
        (&json!("IpipMissingIsOver"), &json!("no longer: second"), &json!(1), &json!("Normal"))
    );
    let described = kubectl(server, &["describe", "node", "n1"], "");
    assert!(described.contains("IpipMissing"), "{described}");
}

async fn tunnels_addresses(server: &KubeServer, own: &Home) {
    // Pools are the administrator's; t1's addresses, too, since this agent is not t1's.
    tunnels::every_kind_in_one_write(&with(&server.kubeconfig())).await;
    // With the agent's rights.
    let told = tunnels::pass_once(own, "n1").await;
    assert_eq!(told.len(), 3, "{told:?}");
    tunnels::come_and_go(own, &with(&server.kubeconfig()), "n1").await;
}

async fn a_token_writes_its_own_node_alone(server: &KubeServer, own: &Home) {
    let says = |net: &str| Says { v4: Some(net.parse().unwrap()), ..Says::default() };
    own.record("n1").write(&says("10.1.0.15/24")).await.unwrap();
    let refused = async |home: &Home, name: &str| {
        home.record(name).write(&says("10.66.0.1/24")).await.unwrap_err().to_string()
    };
    let error = refused(own, "n2").await;
    assert!(error.contains("may write only the Node that its token is bound to (n1)"), "{error}");
    let unbound = with(&server.kubeconfig_of(AGENT));
    let error = refused(&unbound, "n1").await;
    assert!(error.contains("it is bound to none"), "{error}");

    let patch = async |patch: Json| {
        let change =
            ObjectPatch { name: ObjectName::node("n1"), status: true, kind: PatchKind::Merge, patch: &patch };
        kube(own).patch_object(change, WITHIN).await
    };
    let metadata = |metadata: Json| json!({ "metadata": metadata });
    let status = |status: Json| json!({ "status": status });
    for (change, word) in [
        (metadata(json!({"labels": {"rack": "2"}})), "labels"),
        (metadata(json!({"annotations": {"others": "y"}})), "annotations"),
        (metadata(json!({"annotations": {"others": null}})), "annotations"),
        (metadata(json!({"annotations": {"projectcalico.org/labels": "{\"rack\":\"2\"}"}})), "annotations"),
        (status(json!({"conditions": []})), "conditions"),
        (status(json!({"conditions": [{"type": "Ready", "status": "False"}]})), "conditions"),
        (status(json!({"addresses": [{"type": "InternalIP", "address": "10.66.0.1"}]})), "the kubelet"),
        (status(json!({"capacity": {"cpu": "99"}})), "the kubelet"),
    ] {
        let error = patch(change.clone()).await.unwrap_err().to_string();
        assert!(error.contains("rackpoold-node may") && error.contains(word), "{change}: {error}");
    }
    // Its own annotations and conditions it changes at will.
    patch(metadata(json!({"annotations": {"rackpool.io/x": "1", "projectcalico.org/IPv6Address": null}})))
        .await
        .unwrap();
    for name in ["n1", "n2"] {
        assert!(!node(server, name).to_string().contains("10.66.0.1"), "{name}");
    }
    // The policy is about the agent alone.
    with(&server.kubeconfig()).record("n2").write(&says("10.1.0.6/24")).await.unwrap();
}

fn rights_end_there(server: &KubeServer) {
    let may = |verb: &str, resource: &str, namespace: &str| {
        let (resource, part) = resource.split_once('/').unwrap_or((resource, ""));
        let (part, name) = part.split_once(' ').unwrap_or((part, ""));
        let resource = format!("{resource}/{name}");
        let resource = resource.trim_end_matches('/');
        let mut command = server.kubectl(&["auth", "can-i", verb, resource, "--as", AGENT, "-n", namespace]);
        command.arg(format!("--subresource={part}"));
        command.output().unwrap().stdout.starts_with(b"yes")
    };
    for (verb, resource, namespace, expected) in [
        ("patch", "nodes/status", "default", true),
        ("create", "events", "default", true),
        ("create", "events", "kube-system", false),
        ("update", "nodes/status", "default", false),
        ("patch", "nodes", "default", false),
        ("delete", "nodes", "default", false),
        ("patch", "pods/status", "default", false),
        ("list", "pods", "default", false),
        ("get", "secrets", "kube-system", false),
        ("create", "serviceaccounts/token", "kube-system", false),
        ("create", "serviceaccounts/token calico", "kube-system", true),
        ("create", "serviceaccounts/token calico", "default", false),
        ("create", "serviceaccounts/token rackpoold-node", "kube-system", false),
        ("update", "ippools.crd.projectcalico.org", "default", false),
    ] {
        assert_eq!(may(verb, resource, namespace), expected, "{verb} {resource} {namespace}");
    }
}
