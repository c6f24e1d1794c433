//! Members that are gone, paused or cut off, and replies that are lost.

use std::time::Duration;

use servers::etcd_server::{EtcdCluster, EtcdServer, free_ports};
use servers::proxy::{Passage, Proxy};
use store::{Expect, Outcome, Store, StoreError};

use super::fixture::*;

fn dead() -> String {
    let [port] = free_ports();
    format!("http://127.0.0.1:{port}")
}

#[tokio::test]
async fn a_dead_endpoint_is_passed_over() {
    needs_etcd!();
    let server = EtcdServer::start();
    let store = open(&[dead(), dead(), server.endpoint()]);
    let (found, took) = timed(read(&store, &handle("a"), WITHIN)).await;
    assert_eq!(found.unwrap(), None);
    assert!(took < Duration::from_secs(2), "{took:?}");
    let writes = open(&[dead(), server.endpoint()]);
    let outcome = put(&writes, &handle("a"), Expect::Absent, counted(1), WITHIN).await.unwrap();
    assert!(matches!(outcome, Outcome::Applied(_)), "{outcome:?}");
}

#[tokio::test]
async fn a_killed_member_is_passed_over() {
    needs_etcd!();
    let mut cluster = EtcdCluster::start();
    for round in 0..3 {
        let store = open(&cluster.endpoints());
        set(&store, &handle("a"), counted(round)).await;
        let first = find(&store, &handle("a")).await.unwrap().revision.clone();
        // The store's connection is to this member.
        cluster.members[0].kill();
        if round == 0 {
            // The connection is gone. The commit is either not sent, or has an unknown outcome; a later read
            // shows which.
            let outcome =
                put(&store, &handle("a"), Expect::Revision(first), counted(10), WITHIN).await.unwrap();
            let stored = find(&store, &handle("a")).await.unwrap();
            match outcome {
                Outcome::Applied(revision) => assert_eq!(stored.revision, revision),
                Outcome::Unknown(_) => {}
                other => panic!("{other:?}"),
            }
        }
        let (found, took) = timed(read(&store, &handle("a"), WITHIN)).await;
        assert!(found.unwrap().is_some());
        assert!(took < Duration::from_secs(5), "{took:?}");
        set(&store, &handle("a"), counted(20)).await;
        cluster.members[0].restart();
    }
}

#[tokio::test]
async fn a_paused_member_holds_nobody_up() {
    needs_etcd!();
    let cluster = EtcdCluster::start();
    // A follower is paused, so that the cluster goes on.
    let paused = (cluster.leader() + 1) % 3;
    let at_paused = || store::etcd::EtcdOptions { first: paused, ..options(&cluster.endpoints()) };
    let warm = store::etcd::EtcdStore::open(at_paused()).unwrap();
    let revision = set(&warm, &handle("a"), counted(1)).await;
    cluster.members[paused].pause();
    let cold = store::etcd::EtcdStore::open(at_paused()).unwrap();
    for store in [&cold, &warm] {
        let (found, took) = timed(read(store, &handle("a"), WITHIN)).await;
        assert_eq!(found.unwrap().unwrap().revision, revision);
        assert!(took < Duration::from_secs(3), "{took:?}");
        // From now on the store asks another member first.
        let (found, took) = timed(read(store, &handle("a"), WITHIN)).await;
        assert!(found.is_ok() && took < Duration::from_millis(500), "{took:?}");
        set(store, &handle("b"), counted(1)).await;
    }
    cluster.members[paused].resume();
}

#[tokio::test]
async fn a_commit_to_a_paused_member_is_unknown_in_time() {
    needs_etcd!();
    let server = EtcdServer::start();
    let store = open(&[server.endpoint()]);
    let revision = set(&store, &handle("a"), counted(1)).await;
    server.pause();
    let within = Duration::from_millis(700);
    let (found, took) = timed(read(&store, &handle("a"), within)).await;
    let error = found.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    says(&error, &[&server.endpoint(), "no answer within"]);
    assert!(took < within + Duration::from_millis(300), "{took:?}");
    let (outcome, took) =
        timed(put(&store, &handle("a"), Expect::Revision(revision), counted(2), within)).await;
    assert!(matches!(outcome, Ok(Outcome::Unknown(_))), "{outcome:?}");
    assert!(took < within + Duration::from_millis(300), "{took:?}");
    server.resume();
    // The write may have been applied or not; a read shows which.
    assert!(find(&store, &handle("a")).await.is_some());
}

#[tokio::test]
async fn a_lost_reply_is_unknown_and_may_have_landed() {
    needs_etcd!();
    let server = EtcdServer::start();
    let proxy = Proxy::start(server.address());
    let store = open(&[proxy.address()]);
    let revision = set(&store, &handle("a"), counted(1)).await;
    for is_cut in [false, true] {
        let expect = Expect::Revision(find(&store, &handle("a")).await.unwrap().revision.clone());
        proxy.set(Passage::LoseReplies);
        let within = Duration::from_millis(800);
        let cut = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            if is_cut {
                proxy.cut();
            }
        };
        let key = handle("a");
        let sent = put(&store, &key, expect, counted(2 + u32::from(is_cut)), within);
        let ((outcome, took), ()) = tokio::join!(timed(sent), cut);
        assert!(matches!(outcome, Ok(Outcome::Unknown(_))), "{outcome:?}");
        assert!(took < within + Duration::from_millis(300), "{took:?}");
        proxy.set(Passage::Open);
        proxy.cut();
        let stored = find(&store, &handle("a")).await.unwrap();
        assert_eq!(stored.value, counted(2 + u32::from(is_cut)), "the server had it all the same");
        assert_ne!(stored.revision, revision);
    }
}

#[tokio::test]
async fn a_moved_leader_loses_nothing() {
    needs_etcd!();
    let cluster = EtcdCluster::start();
    let store = open(&cluster.endpoints());
    set(&store, &handle("a"), counted(0)).await;
    let (mut applied, mut unknown) = (0, 0);
    for round in 0..60 {
        if round % 20 == 10 {
            let leader = cluster.leader();
            let mut at_leader = raw(&cluster.members[leader].endpoint()).await;
            let own = at_leader.status().await.unwrap().leader();
            let members = at_leader.member_list().await.unwrap();
            let other = members.members().iter().map(|member| member.id()).find(|id| *id != own).unwrap();
            at_leader.move_leader(other).await.unwrap();
        }
        let record = find(&store, &handle("a")).await.unwrap();
        let count = record.handle().unwrap().blocks.values().next().copied().unwrap();
        assert!((applied..=applied + unknown).contains(&count), "{applied} {unknown} {count}");
        match put(&store, &handle("a"), Expect::Revision(record.revision.clone()), counted(count + 1), WITHIN)
            .await
        {
            Ok(Outcome::Applied(_)) => applied += 1,
            Ok(Outcome::Unknown(_)) => unknown += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(applied > 50, "{applied} {unknown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_calls_fail_in_time_and_go_on_with_one() {
    needs_etcd!();
    let mut cluster = EtcdCluster::start();
    let store = open(&cluster.endpoints());
    let revision = set(&store, &handle("a"), counted(1)).await;
    cluster.members[1].kill();
    cluster.members[2].kill();
    let within = Duration::from_millis(2500);
    let late = within + Duration::from_millis(500);
    let (found, took) = timed(read(&store, &handle("a"), within)).await;
    let error = found.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)) && took < late, "{took:?} {error:?}");
    says(&error, &[&cluster.members[0].endpoint()]);
    // After the election timeout, the remaining member knows that it has no leader. A busy machine takes
    // longer to notice.
    for calls_left in (0..8).rev() {
        let (found, took) = timed(read(&store, &handle("a"), within)).await;
        let error = found.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)) && took < late, "{took:?} {error:?}");
        if calls_left == 0 || error.to_string().contains("no leader") {
            says(&error, &["no leader", "start them", &cluster.members[1].endpoint()]);
            break;
        }
    }
    let key = handle("a");
    let write = put(&store, &key, Expect::Revision(revision), counted(2), within);
    let (outcome, took) = timed(write).await;
    assert!(matches!(outcome, Err(StoreError::Unavailable(_)) | Ok(Outcome::Unknown(_))), "{outcome:?}");
    assert!(took < late, "{took:?}");
    // The cluster gets its majority back while a call waits.
    let waiting = read(&store, &key, Duration::from_secs(20));
    let restart = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        // `restart` waits until the member is healthy, which it is only with a majority.
        tokio::task::block_in_place(|| cluster.members[1].restart());
    };
    let (found, ()) = tokio::join!(waiting, restart);
    assert!(found.unwrap().is_some());
    let view = store.read(&store::ReadSet::new().key(handle("a")), WITHIN).await.unwrap();
    assert!(view.full(&handle("a")).unwrap().is_some());
}
