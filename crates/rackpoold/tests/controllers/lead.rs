//! Which of two processes leads. A process that is killed, paused or cut off renews its claim no more; what a
//! paused one believes when it goes on is what its [`Leading`] says.

use std::sync::Arc;
use std::time::Duration;

use rackpoold::controllers::lead::{Lead, Place};
use servers::etcd_server::{self, EtcdServer};
use servers::kube_server::{self, KubeServer, KubeServerOptions};
use servers::proxy::{Passage, Proxy};
use setup::Clock;
use store::etcd::{EtcdOptions, EtcdStore};
use store::kubernetes::ObjectName;
use store::sqlite::{SqliteOptions, SqliteStore};
use store::{AnyStore, Depth, ReadSet, Scope, Store};
use tokio::time::timeout;

use super::WITHIN;
use super::frame::open;

/// How long it may take until a second process has taken the place of one that is gone.
const TAKEN_OVER: Duration = Duration::from_secs(15);

fn stand(store: &Arc<AnyStore>, name: &str, place: &Place) -> Lead {
    Lead::stand(store, name, place.clone(), Clock::start()).unwrap()
}

/// What every place owes. The stores of both processes may be the same.
async fn two_processes(store: &Arc<AnyStore>, place: Place) {
    let mut first = stand(store, "first", &place);
    assert!(timeout(WITHIN, first.changed()).await.unwrap());
    let mut second = stand(store, "second", &place);
    let both = timeout(Duration::from_secs(5), second.changed()).await;
    assert!(both.is_err(), "two lead");
    assert!(first.is_leader() && !second.is_leader());

    // One that ends gives the place up.
    let told = first.leading();
    first.resign().await;
    assert!(!told.is_leader());
    assert!(timeout(Duration::from_secs(5), second.changed()).await.unwrap());

    // One that is killed or paused does not.
    let mut third = stand(store, "third", &place);
    let paused = second.leading();
    drop(second);
    assert!(timeout(TAKEN_OVER, third.changed()).await.unwrap());
    assert!(matches!(place, Place::File(_)) || !paused.is_leader(), "the paused one believes that it leads");
    third.resign().await;
}

/// A leader that is cut off knows that it leads no more, before another does.
async fn cut_off(proxy: &Proxy, through: &Arc<AnyStore>, direct: &Arc<AnyStore>, place: Place) {
    let mut first = stand(through, "cut off", &place);
    assert!(timeout(WITHIN, first.changed()).await.unwrap());
    let mut second = stand(direct, "beside", &place);
    proxy.set(Passage::Stuck);
    let told = first.leading();
    assert!(timeout(TAKEN_OVER + Duration::from_secs(2), second.changed()).await.unwrap());
    assert!(!told.is_leader());
    assert!(!timeout(WITHIN, first.changed()).await.unwrap());
    // It does not come back as long as the other works.
    proxy.set(Passage::Open);
    proxy.cut();
    assert!(timeout(Duration::from_secs(5), first.changed()).await.is_err());
    second.resign().await;
    assert!(timeout(WITHIN, first.changed()).await.unwrap());
    first.resign().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_embedded_store() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rackpool.db");
    let store = SqliteStore::open(&path, SqliteOptions::default()).unwrap();
    let place =
        Place::of(&setup::Datastore::Embedded { path: path.clone(), chosen_by: "a test".to_string() }, "");
    assert_eq!(place, Place::File(dir.path().join("rackpool.db-controllers")));
    two_processes(&Arc::new(AnyStore::Sqlite(store)), place).await;
    let nowhere = Place::File(dir.path().join("none/x"));
    let store = Arc::new(AnyStore::Sqlite(SqliteStore::open(&path, SqliteOptions::default()).unwrap()));
    let mut never = stand(&store, "x", &nowhere);
    assert!(timeout(Duration::from_secs(1), never.changed()).await.is_err());
}

fn etcd(endpoint: String) -> EtcdStore {
    EtcdStore::open(EtcdOptions { endpoints: vec![endpoint], ..Default::default() }).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn on_etcd() {
    if etcd_server::is_left_out() {
        return;
    }
    let server = EtcdServer::start();
    let etcd_store = etcd(server.endpoint());
    let store = Arc::new(AnyStore::Etcd(etcd_store.clone()));
    two_processes(&store, Place::Etcd).await;

    let held = stand(&store, "held", &Place::Etcd);
    while !held.is_leader() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let texts = etcd_store.texts_below("/", WITHIN).await.unwrap();
    assert_eq!(texts, [("/rackpool/controllers/leader".to_string(), "held".to_string())]);
    assert_eq!(etcd_store.unknown_keys(WITHIN).await.unwrap(), [""; 0]);
    let all = ReadSet::new().scope(Scope::Blocks { family: None }, Depth::Full);
    assert_eq!(store.read(&all, WITHIN).await.unwrap().strays().count(), 0);
    held.resign().await;

    let proxy = Proxy::start(server.address());
    let through = Arc::new(AnyStore::Etcd(etcd(format!("http://{}", proxy.address()))));
    cut_off(&proxy, &through, &store, Place::Etcd).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_kubernetes() {
    if kube_server::is_left_out() {
        return;
    }
    let server = KubeServer::start(KubeServerOptions::new());
    let direct = open(&server.kubeconfig());
    let place = Place::Kubernetes("kube-system".to_string());
    let store = Arc::new(AnyStore::Kubernetes(direct.clone()));
    two_processes(&store, place.clone()).await;
    let name = ObjectName::lease("kube-system", "rackpool-controllers");
    let lease = direct.object(name, WITHIN).await.unwrap().unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], "");
    assert_eq!(lease["spec"]["leaseTransitions"], 2, "{lease}");

    let text = std::fs::read_to_string(server.kubeconfig()).unwrap();
    let address = server.endpoint().trim_start_matches("https://").to_string();
    let proxy = Proxy::start(&address);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text.replace(&address, &proxy.address())).unwrap();
    let through = Arc::new(AnyStore::Kubernetes(open(file.path())));
    cut_off(&proxy, &through, &store, place).await;
}
