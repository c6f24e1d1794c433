//! Watches over compactions, lost connections and lost members.

use std::collections::BTreeMap;
use std::time::Duration;

use api::{Key, Value};
use servers::etcd_server::{EtcdCluster, EtcdServer};
use servers::proxy::{Passage, Proxy};
use store::etcd::{EtcdStore, EtcdWatch};
use store::{Event, Scope, Store, Watch};

use super::fixture::*;

/// What a client that follows a watch knows.
#[derive(Default)]
struct Follower {
    known: BTreeMap<Key, Value>,
    inits: usize,
    errors: usize,
}

impl Follower {
    async fn until(&mut self, watch: &mut impl Watch, done: impl Fn(&Follower) -> bool) {
        let follow = async {
            while !done(self) {
                match watch.next().await {
                    Ok(Event::Init) => self.known.clear(),
                    Ok(Event::InitApply(record) | Event::Apply(record)) => {
                        self.known.insert(record.key.clone(), record.value.clone());
                    }
                    Ok(Event::InitDone(_)) => self.inits += 1,
                    Ok(Event::Delete(key, _)) => {
                        self.known.remove(&key);
                    }
                    Ok(Event::Unreadable(..) | Event::Stray(_) | Event::StrayGone(_)) => {}
                    Err(_) => self.errors += 1,
                }
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(30), follow).await;
        assert!(
            in_time.is_ok(),
            "known: {:?}, {} starts, {} errors",
            self.known.keys(),
            self.inits,
            self.errors
        );
    }

    fn knows(&self, name: &str, count: u32) -> bool {
        self.known.get(&handle(name)) == Some(&counted(count))
    }
}

#[tokio::test]
async fn a_compaction_starts_it_anew() {
    needs_etcd!();
    let server = EtcdServer::start();
    let (direct, proxy) = (open(&[server.endpoint()]), Proxy::start(server.address()));
    let store = open(&[proxy.address()]);
    set(&direct, &handle("gone"), counted(1)).await;
    let mut watch = store.watch(Scope::Handles).await.unwrap();
    let mut follower = Follower::default();
    follower.until(&mut watch, |f| f.inits == 1).await;
    proxy.set(Passage::Stuck);
    let record = find(&direct, &handle("gone")).await.unwrap();
    let mut batch = store::Batch::new();
    batch.delete(handle("gone"), store::Expect::Revision(record.revision.clone()));
    assert!(commit(&direct, &batch).await.is_applied());
    let mut last = None;
    for count in 0..20 {
        last = Some(set(&direct, &handle("a"), counted(count)).await);
    }
    let revision = last.unwrap().as_str().parse().unwrap();
    raw(&server.endpoint()).await.compact(revision, None).await.unwrap();
    proxy.cut();
    proxy.set(Passage::Open);
    follower.until(&mut watch, |f| f.inits == 2 && f.knows("a", 19)).await;
    assert!(!follower.known.contains_key(&handle("gone")), "what is not named any more is gone");
    set(&direct, &handle("a"), counted(100)).await;
    follower.until(&mut watch, |f| f.knows("a", 100)).await;
    assert_eq!(follower.inits, 2);
}

/// A server with more handles than a page of the present state has, and a watch that has begun.
async fn begun_on_many() -> (EtcdServer, EtcdStore, EtcdWatch) {
    let server = EtcdServer::start();
    let store = open(&[server.endpoint()]);
    for hundred in 0..25 {
        let mut batch = store::Batch::new();
        for number in 0..100 {
            batch.put(handle(&format!("h{hundred:02}-{number:02}")), store::Expect::Absent, counted(1));
        }
        assert!(commit(&store, &batch).await.is_applied());
    }
    let mut watch = store.watch(Scope::Handles).await.unwrap();
    assert_eq!(watch.next().await, Ok(Event::Init));
    (server, store, watch)
}

/// The pages of the present state are of one revision: what changes while they are sent is told after them.
#[tokio::test]
async fn many_records_are_told_as_of_one_revision() {
    needs_etcd!();
    let (_server, store, mut watch) = begun_on_many().await;
    let last = find(&store, &handle("h24-99")).await.unwrap();
    set(&store, &handle("h24-98"), counted(2)).await;
    let mut batch = store::Batch::new();
    batch.delete(last.key.clone(), store::Expect::Revision(last.revision.clone()));
    assert!(commit(&store, &batch).await.is_applied());
    for number in 0..2_500 {
        match watch.next().await.unwrap() {
            Event::InitApply(record) => assert_eq!(record.value, counted(1), "record {number}"),
            other => panic!("{other:?} after {number} records"),
        }
    }
    assert!(matches!(watch.next().await, Ok(Event::InitDone(_))));
    match watch.next().await.unwrap() {
        Event::Apply(record) => {
            assert_eq!((&record.key, &record.value), (&handle("h24-98"), &counted(2)));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(watch.next().await, Ok(Event::Delete(key, _)) if key == last.key));
}

/// The state of the first page may be gone when the next one is asked for.
#[tokio::test]
async fn a_compaction_between_pages_starts_it_anew() {
    needs_etcd!();
    let (server, store, mut watch) = begun_on_many().await;
    let revision = set(&store, &handle("h24-98"), counted(2)).await;
    raw(&server.endpoint()).await.compact(revision.as_str().parse().unwrap(), None).await.unwrap();
    let mut follower = Follower::default();
    follower.until(&mut watch, |f| f.inits == 1).await;
    assert_eq!((follower.errors, follower.known.len()), (1, 2_500));
    assert!(follower.knows("h24-98", 2));
}

/// Something that is no record appears under the keys of a scope, and disappears: the watch reports both.
#[tokio::test]
async fn strays_come_and_go() {
    needs_etcd!();
    let server = EtcdServer::start();
    let (store, mut client) = (open(&[server.endpoint()]), raw(&server.endpoint()).await);
    let blocks = Scope::Blocks { family: Some(api::Family::V4) };
    let path = |name: &str| format!("{}{name}", blocks.prefixes()[0]);
    client.put(path("before"), "{}", None).await.unwrap();
    let mut watch = store.watch(blocks.clone()).await.unwrap();
    let mut view = store::View::new();
    let mut until = async |faults: usize| {
        while !view.is_complete(&blocks, store::Depth::Full) || view.faults().len() != faults {
            let event = tokio::time::timeout(Duration::from_secs(20), watch.next()).await.unwrap();
            view.fold(&blocks, &event.unwrap());
        }
    };
    until(1).await;
    client.put(path("after"), "{}", None).await.unwrap();
    until(2).await;
    client.delete(path("before"), None).await.unwrap();
    client.delete(path("after"), None).await.unwrap();
    until(0).await;
}

#[tokio::test]
async fn a_server_that_restarts_is_followed_again() {
    needs_etcd!();
    let mut server = EtcdServer::start();
    let store = open(&[server.endpoint()]);
    let mut watch = store.watch(Scope::Handles).await.unwrap();
    let mut follower = Follower::default();
    follower.until(&mut watch, |f| f.inits == 1).await;
    server.kill();
    // The watch reports the interruption, and begins again at the next call.
    follower.until(&mut watch, |f| f.errors == 1).await;
    server.restart();
    set(&store, &handle("a"), counted(1)).await;
    follower.until(&mut watch, |f| f.inits == 2 && f.knows("a", 1)).await;
    set(&store, &handle("a"), counted(2)).await;
    follower.until(&mut watch, |f| f.knows("a", 2)).await;
}

#[tokio::test]
async fn a_lost_member_is_replaced() {
    needs_etcd!();
    let mut cluster = EtcdCluster::start();
    for is_killed in [false, true] {
        let member = (cluster.leader() + 1) % 3;
        let (first, keep_alive) = (member, (Duration::from_secs(1), Duration::from_secs(1)));
        let options = store::etcd::EtcdOptions { first, keep_alive, ..options(&cluster.endpoints()) };
        let store = store::etcd::EtcdStore::open(options).unwrap();
        let other = open(&[cluster.members[(member + 1) % 3].endpoint()]);
        let mut watch = store.watch(Scope::Handles).await.unwrap();
        let mut follower = Follower::default();
        follower.until(&mut watch, |f| f.inits == 1).await;
        if is_killed {
            cluster.members[member].kill()
        } else {
            cluster.members[member].pause()
        }
        set(&other, &handle("a"), counted(1 + u32::from(is_killed))).await;
        follower.until(&mut watch, |f| f.inits >= 2 && f.knows("a", 1 + u32::from(is_killed))).await;
        assert_eq!(follower.errors, 0, "other members are there");
        cluster.members[member].resume_or_restart(is_killed);
    }
}

trait ResumeOrRestart {
    fn resume_or_restart(&mut self, is_killed: bool);
}

impl ResumeOrRestart for EtcdServer {
    fn resume_or_restart(&mut self, is_killed: bool) {
        if is_killed { self.restart() } else { self.resume() }
    }
}

#[tokio::test]
async fn nobody_takes_events_and_none_is_lost() {
    needs_etcd!();
    let server = EtcdServer::start();
    let store = open(&[server.endpoint()]);
    let mut watch = store.watch(Scope::Handles).await.unwrap();
    let mut follower = Follower::default();
    follower.until(&mut watch, |f| f.inits == 1).await;
    for round in 0..20 {
        let mut batch = store::Batch::new();
        for index in 0..100 {
            batch.put(handle(&format!("h{round}-{index}")), store::Expect::Absent, counted(1));
        }
        assert!(commit(&store, &batch).await.is_applied());
    }
    follower.until(&mut watch, |f| f.known.len() == 2000).await;
    assert_eq!(follower.inits, 1);
}
