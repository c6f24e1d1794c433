//! The connection to the server: requests share it, and the store survives its loss.

use std::sync::Arc;
use std::time::Duration;

use servers::proxy::{Passage, Proxy};
use store::kubernetes::{KubeOptions, KubeStore};
use store::{Batch, Event, Expect, Op, Outcome, ReadSet, Scope, Store, Watch};

use super::fixture::*;

fn through(cluster: &Cluster) -> (Proxy, KubeStore) {
    let proxy = Proxy::start(cluster.server.endpoint().trim_start_matches("https://"));
    let endpoint = Some(format!("https://{}", proxy.address()));
    let store = KubeStore::open(KubeOptions { endpoint, ..cluster.options(GROUPS[0]) }).unwrap();
    (proxy, store)
}

#[tokio::test]
async fn everything_goes_over_one_connection() {
    let Some(cluster) = cluster().await else { return };
    let (proxy, store) = through(&cluster);
    let store = Arc::new(store);
    let set = (0..100).fold(ReadSet::new(), |set, index| set.key(handle(&format!("h{index}"))));
    store.read(&set.scope(Scope::Handles, store::Depth::Full), WITHIN).await.unwrap();
    let mut watch = store.watch(Scope::Handles).await.unwrap();
    while !matches!(watch.next().await.unwrap(), Event::InitDone(_)) {}
    for index in 0..20 {
        let store = store.clone();
        tokio::spawn(async move {
            applied(&put(&store, &handle(&format!("h{index}")), Expect::Absent, counted(1)).await)
        });
    }
    for _ in 0..20 {
        assert!(matches!(watch.next().await.unwrap(), Event::Apply(_)));
    }
    assert_eq!(proxy.accepted(), 1);
    // If the connection is cut meanwhile, the store makes another one, and the call succeeds.
    proxy.cut();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(find(&store, &handle("h0")).await.is_some());
    assert_eq!(proxy.accepted(), 2);
}

#[tokio::test]
async fn a_watch_outlives_its_connection() {
    let Some(cluster) = cluster().await else { return };
    let (proxy, store) = through(&cluster);
    let mut watch = store.watch(Scope::Handles).await.unwrap();
    while !matches!(watch.next().await.unwrap(), Event::InitDone(_)) {}
    for index in 0..3 {
        proxy.cut();
        let key = handle(&format!("h{index}"));
        cluster.create(GROUPS[0], &key, &counted(1)).await;
        let event = tokio::time::timeout(WITHIN, watch.next()).await.unwrap().unwrap();
        assert!(matches!(event, Event::Apply(record) if record.key == key), "it does not begin anew");
    }
}

#[tokio::test]
async fn a_lost_reply_leaves_the_write_in_doubt() {
    let Some(cluster) = cluster().await else { return };
    let (proxy, store) = through(&cluster);
    assert_eq!(find(&store, &handle("a")).await, None);
    proxy.set(Passage::LoseReplies);
    let mut batch = Batch::new();
    batch.put(handle("a"), Expect::Absent, counted(1));
    batch.put(handle("b"), Expect::Absent, counted(1));
    let report = store.commit(&batch, Duration::from_millis(500)).await.unwrap();
    assert!(matches!(report.outcomes[..], [Outcome::Unknown(_), Outcome::NotTried]), "{report:?}");
    let other = cluster.open(GROUPS[0]);
    assert!(find(&other, &handle("a")).await.is_some(), "this one came");
    assert!(find(&other, &handle("b")).await.is_none());
    // The call finds what its first try has written, and reports that.
    proxy.set(Passage::Open);
    proxy.cut();
    let outcome = write(&store, &handle("a"), Expect::Absent, Op::Put(Arc::new(counted(1)))).await;
    assert!(matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
}
