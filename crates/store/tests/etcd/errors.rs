//! Requests that etcd refuses, and servers that are not etcd.

use std::time::Duration;

use servers::etcd_server::{EtcdServer, Setup, free_ports};
use store::{Batch, Expect, Op, Outcome, ReadSet, Refusal, Scope, Store, StoreError};

use super::fixture::*;

#[tokio::test]
async fn nobody_listens() {
    let [port] = free_ports();
    let endpoint = format!("http://127.0.0.1:{port}");
    let store = open(std::slice::from_ref(&endpoint));
    let (found, took) = timed(read(&store, &handle("a"), WITHIN)).await;
    let error = found.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    says(&error, &[&endpoint, "Connection refused", "ETCD_ENDPOINTS"]);
    assert!(took < Duration::from_secs(2), "{took:?}");
    let error = put(&store, &handle("a"), Expect::Absent, counted(1), WITHIN).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "nothing was sent: {error:?}");
}

#[tokio::test]
async fn a_name_that_does_not_resolve() {
    let store = open(&["http://no-such-host.invalid:2379".to_string()]);
    let error = read(&store, &handle("a"), WITHIN).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    says(&error, &["no-such-host.invalid:2379", "ETCD_ENDPOINTS"]);
}

/// A server that answers every request in the way of HTTP/1.
fn other_server() -> String {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let _ = client.read(&mut [0; 1024]);
            let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn another_server_answers() {
    let endpoint = other_server();
    let store = open(std::slice::from_ref(&endpoint));
    let (found, took) = timed(read(&store, &handle("a"), WITHIN)).await;
    says(&found.unwrap_err(), &[&endpoint, "ETCD_ENDPOINTS"]);
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn endpoints_that_are_none() {
    for (endpoint, words) in [
        ("", "http://10.0.0.1:2379"),
        ("http://", "http://10.0.0.1:2379"),
        ("ftp://host:1", "neither http nor https"),
        ("http://a b:1", "no URL"),
        ("http://root:pa@hunter2/x@127.0.0.1:1", "endpoint 1 of etcd"),
        ("http://root:123/hunter2@127.0.0.1:1", "an @ stands where none may"),
        ("http://root:hunter2", "its port is no number"),
        ("http://a:1,http://hunter2:x@b:1/@", "endpoint 2 of etcd"),
        ("http://root:123,hunter2@127.0.0.1:1", "endpoint 2 of etcd (etcdEndpoints, ETCD_ENDPOINTS"),
    ] {
        let endpoints: Vec<_> = endpoint.split(',').map(str::to_string).collect();
        let error = store::etcd::EtcdStore::open(options(&endpoints)).unwrap_err();
        assert!(matches!(error, StoreError::Unusable(_)), "{endpoint:?}: {error:?}");
        assert!(
            !format!("{error:?}").contains("hunter2") && !format!("{error:?}").contains("123"),
            "{error:?}"
        );
        says(&error, &[words]);
    }
    for endpoint in
        ["http://[::1]:2379", "https://[::1]:2379", "10.0.0.1:2379", "http://user:word@host:2379/path"]
    {
        let store = store::etcd::EtcdStore::open(options(&[endpoint.to_string()])).unwrap();
        assert!(!format!("{store:?}").contains("word"), "{store:?}");
    }
    says(&store::etcd::EtcdStore::open(options(&[])).unwrap_err(), &["no etcd endpoint", "ETCD_ENDPOINTS"]);
}

#[tokio::test]
async fn space_runs_out() {
    needs_etcd!();
    let server = Setup::new().argument("--quota-backend-bytes=16777216").start();
    let store = open(&[server.endpoint()]);
    let mut error = None;
    for index in 0..60 {
        match put(&store, &handle(&format!("h{index}")), Expect::Absent, large(900_000), WITHIN).await {
            Ok(Outcome::Applied(_)) => {}
            Err(full) => {
                error = Some(full);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    let error = error.expect("16 MB hold no 54");
    assert!(matches!(error, StoreError::Unusable(_)), "{error:?}");
    says(&error, &[&server.endpoint(), "database space exceeded", "alarm disarm", "--quota-backend-bytes"]);
    assert!(find(&store, &handle("h0")).await.is_some(), "reads go on");
}

#[tokio::test]
async fn a_value_is_too_large() {
    needs_etcd!();
    let server = EtcdServer::start();
    let store = open(&[server.endpoint()]);
    // etcd itself refuses the smaller value, and its transport refuses the larger one.
    for size in [1_700_000, 6_000_000] {
        let mut batch = Batch::new();
        batch.put(handle("a"), Expect::Absent, large(size));
        batch.put(handle("b"), Expect::Absent, counted(1));
        let report = commit(&store, &batch).await;
        let Outcome::Refused(Refusal::TooLarge(text)) = &report.outcomes[0] else {
            panic!("{:?}", report.outcomes)
        };
        assert!(text.contains(&server.endpoint()), "{text}");
        assert_eq!(report.outcomes[1], Outcome::NotTried);
        assert_eq!(find(&store, &handle("b")).await, None);
    }
}

#[tokio::test]
async fn a_large_batch_is_cut_by_size() {
    needs_etcd!();
    let server = EtcdServer::start();
    let store = open(&[server.endpoint()]);
    let mut batch = Batch::new();
    let mut lefts = Vec::new();
    for index in 0..9 {
        lefts.push(batch.put(handle(&format!("h{index}")), Expect::Absent, large(600_000)));
    }
    for (index, left) in lefts.into_iter().enumerate() {
        batch.put(handle(&format!("h{index}")), Expect::AsLeftBy(left), counted(5));
    }
    batch.guard(handle("guarded"), None);
    let report = commit(&store, &batch).await;
    assert!(report.is_applied(), "{:?}", report.refusal());
    for index in 0..9 {
        assert_eq!(find(&store, &handle(&format!("h{index}"))).await.unwrap().value, counted(5));
    }
}

#[tokio::test]
async fn fewer_operations_are_allowed() {
    needs_etcd!();
    let server = Setup::new().argument("--max-txn-ops=10").start();
    let store = open(&[server.endpoint()]);
    let mut batch = Batch::new();
    for index in 0..50 {
        batch.put(handle(&format!("h{index}")), Expect::Absent, counted(1));
    }
    batch.guard(handle("absent"), None);
    assert!(commit(&store, &batch).await.is_applied());
    let fresh = open(&[server.endpoint()]);
    let keys: Vec<_> = (0..60).map(|index| handle(&format!("h{index}"))).collect();
    let view = fresh.read(&ReadSet::new().keys(keys.clone()), WITHIN).await.unwrap();
    assert_eq!(view.len(), 50);
    assert!(keys.iter().all(|key| view.full(key).is_some()));
    let mut guarded = Batch::new();
    guarded.put(handle("a"), Expect::Absent, counted(1));
    for index in 0..20 {
        guarded.guard(handle(&format!("absent{index}")), None);
    }
    let error = fresh.commit(&guarded, WITHIN).await.unwrap_err();
    says(&error, &[&server.endpoint(), "--max-txn-ops"]);
}

#[tokio::test]
async fn more_than_a_transaction_holds() {
    needs_etcd!();
    let server = EtcdServer::start();
    let store = open(&[server.endpoint()]);
    let mut batch = Batch::new();
    for index in 0..128 {
        batch.put(handle(&format!("h{index}")), Expect::Absent, counted(1));
    }
    assert!(commit(&store, &batch).await.is_applied());
    assert_eq!(server.handled()["Txn"], 1);
    let keys = (0..300).map(|index| handle(&format!("h{index}")));
    let view = store.read(&ReadSet::new().keys(keys), WITHIN).await.unwrap();
    assert_eq!(view.len(), 128);
    assert_eq!(server.handled()["Txn"], 1 + 3);
}

/// By default the transport refuses messages above 4 MiB; this store must not.
#[tokio::test]
async fn answers_are_as_large_as_they_are() {
    needs_etcd!();
    let server = EtcdServer::start();
    let store = open(&[server.endpoint()]);
    for index in 0..8 {
        set(&store, &handle(&format!("h{index}")), large(900_000)).await;
    }
    let view = store.read(&ReadSet::new().scope(Scope::Handles, store::Depth::Full), WITHIN).await.unwrap();
    assert_eq!(view.len(), 8);
    let mut watch = store.watch(Scope::Handles).await.unwrap();
    let told = async {
        let mut records = 0;
        while records < 8 {
            records += usize::from(matches!(
                store::Watch::next(&mut watch).await.unwrap(),
                store::Event::InitApply(_)
            ));
        }
    };
    tokio::time::timeout(WITHIN, told).await.unwrap();
}

#[tokio::test]
async fn guards_alone_are_checked() {
    needs_etcd!();
    let server = EtcdServer::start();
    let store = open(&[server.endpoint()]);
    let revision = set(&store, &handle("a"), counted(1)).await;
    let mut batch = Batch::new();
    batch.guard(handle("a"), Some(revision));
    assert!(commit(&store, &batch).await.is_applied());
    batch.guard(handle("a"), None);
    assert_eq!(commit(&store, &batch).await.broken_guard, Some(1));
}

/// A value of another program under one of this program's keys cannot be read, and is not overwritten.
#[tokio::test]
async fn a_refusal_by_a_bad_value() {
    needs_etcd!();
    let server = EtcdServer::start();
    let store = open(&[server.endpoint()]);
    raw(&server.endpoint()).await.put(handle("a").etcd_path(), [0xff, 0xfe], None).await.unwrap();
    let outcome = put(&store, &handle("a"), Expect::Absent, counted(1), WITHIN).await.unwrap();
    assert_eq!(outcome, Outcome::Refused(Refusal::Conflict(store::Current::Unknown)));
    let set = ReadSet::new().key(handle("a"));
    let error = store.read(&set, WITHIN).await.unwrap().insist(&set).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
    // The record can be deleted, by its key alone.
    let mut set = ReadSet::new();
    set.keys.push((handle("a"), store::Depth::Key));
    let view = store.read(&set, WITHIN).await.unwrap();
    let revision = view.get(&handle("a")).unwrap().revision().unwrap().clone();
    let mut batch = Batch::new();
    batch.push(store::Write { key: handle("a"), expect: Expect::Revision(revision), op: Op::Delete });
    assert!(commit(&store, &batch).await.is_applied());
    assert!(
        store
            .read(&ReadSet::new().scope(Scope::Handles, store::Depth::Full), WITHIN)
            .await
            .unwrap()
            .is_empty()
    );
}
