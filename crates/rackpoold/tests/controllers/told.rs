//! What is nearly full is told by events, folded.

use std::path::Path;
use std::time::Duration;

use api::Kind;
use controllers::fullness::{Notice, Reason, Subject};
use rackpoold::controllers::tell::Told;
use serde_json::{Value as Json, json};
use servers::kube_server::{KubeServer, KubeServerOptions, is_left_out};
use setup::Clock;
use store::kubernetes::ObjectName;
use store::{AnyStore, Depth, Effects, ReadSet, Scope, Store};

use super::WITHIN;
use super::frame::{ACCOUNT, open};

/// A clock that is a minute ahead.
struct Later(Clock);

impl Effects for Later {
    fn now(&self) -> api::Timestamp {
        self.0.now()
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed() + Duration::from_secs(61)
    }

    fn seed(&self) -> u64 {
        self.0.seed()
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send {
        Effects::sleep(&self.0, time)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_pool_and_node() {
    if is_left_out() {
        return;
    }
    let server = KubeServer::start(KubeServerOptions::new().user(ACCOUNT, &[]));
    let deploy = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy"));
    server.apply(&[&deploy.join("crds/v3"), &deploy.join("rbac")]);
    let kube = open(&server.kubeconfig());
    let name =
        ObjectName { api: "/apis/projectcalico.org/v3", plural: "ippools", namespace: None, name: "p" };
    let pool = json!({"apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": "p"},
        "spec": {"cidr": "10.0.0.0/24"}});
    assert!(kube.create_object(name, &pool, WITHIN).await.unwrap());
    let store = AnyStore::Kubernetes(open(&server.kubeconfig_of(ACCOUNT)));
    let set = ReadSet::new().scope(Scope::kind(Kind::IPPool), Depth::Full);
    let view = store.read(&set, WITHIN).await.unwrap();
    let notice = |subject, reason, node: Option<&str>| Notice {
        subject,
        reason,
        text: format!("{reason:?}"),
        node: node.map(str::to_string),
    };
    let notices = vec![
        notice(Subject::Pool("p".to_string()), Reason::PoolNearlyFull, None),
        notice(Subject::Pool("gone".to_string()), Reason::PoolFull, None),
        notice(Subject::Rack("7".to_string(), api::Family::V4), Reason::RackFull, Some("n1")),
    ];
    let (mut told, clock) = (Told::default(), Clock::start());
    for _ in 0..3 {
        told.tell(&store, &view, notices.clone(), (&clock, "me"), WITHIN).await.unwrap();
    }
    // Another process that takes over raises the count.
    Told::default().tell(&store, &view, notices, (&clock, "other"), WITHIN).await.unwrap();
    let events = server.kubectl(&["get", "events", "-n", "default", "-o", "json"]).output().unwrap();
    let events: Json = serde_json::from_slice(&events.stdout).unwrap();
    // The API server has its own to tell of its Service.
    let is_ours = |event: &&Json| event["involvedObject"]["kind"] != "Service";
    let mut short: Vec<String> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(is_ours)
        .map(|event| {
            let about = &event["involvedObject"];
            format!("{} {} {} {}", about["kind"], about["name"], event["reason"], event["count"])
        })
        .collect();
    short.sort();
    let wanted = [r#""IPPool" "p" "PoolNearlyFull" 2"#, r#""Node" "n1" "RackFull" 2"#];
    assert_eq!(short, wanted);
    // What is fine again is over, but not before a minute has passed.
    told.tell(&store, &view, Vec::new(), (&clock, "me"), WITHIN).await.unwrap();
    let over = || {
        let names = server.kubectl(&["get", "events", "-n", "default", "-o", "name"]).output().unwrap();
        String::from_utf8(names.stdout).unwrap().lines().filter(|name| name.ends_with("isover")).count()
    };
    assert_eq!(over(), 0);
    for _ in 0..2 {
        told.tell(&store, &view, Vec::new(), (&Later(clock), "me"), WITHIN).await.unwrap();
    }
    assert_eq!(over(), 2);
    let described = server.kubectl(&["describe", "ippools.projectcalico.org", "p"]).output().unwrap();
    let described = String::from_utf8(described.stdout).unwrap();
    assert!(described.contains("PoolNearlyFull"), "{described}");
}
