//! A simulated server, for answers that a real one gives too rarely.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use api::crd::Group;
use serde_json::{Value as Json, json};
use store::kubernetes::{KubeOptions, KubeStore};
use store::{Batch, Depth, Event, Expect, Outcome, Page, ReadSet, Scope, Store, StoreError, Watch};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::fixture::{WITHIN, counted, handle};

/// What the server does with a request.
enum Reply {
    /// Answers with that code, header and body.
    Answer(u16, &'static str, String),
    /// Ends the connection after that part of an answer.
    Cut(String),
    /// Does not answer.
    Silence,
}

fn answer(code: u16, body: Json) -> Reply {
    Reply::Answer(code, "x-none: 1", body.to_string())
}

fn status(code: u16, reason: &str, more: Json) -> Reply {
    let mut body = json!({"kind": "Status", "status": "Failure", "reason": reason, "message": format!("it is {reason}"), "code": code});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    answer(code, body)
}

/// The method and URL of each request.
type Log = Arc<Mutex<Vec<String>>>;

/// A store with a server that gives these replies to its requests, in order.
async fn scripted(replies: Vec<Reply>) -> (KubeStore, Log) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let log = Log::default();
    let requests = log.clone();
    tokio::spawn(async move {
        let mut silent = Vec::new();
        for reply in replies {
            let (mut stream, _) = listener.accept().await.unwrap();
            let line = request(&mut stream).await;
            requests.lock().unwrap().push(line);
            let text = match reply {
                Reply::Answer(code, header, body) => format!(
                    "HTTP/1.1 {code} x\r\n{header}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                ),
                Reply::Cut(text) if text.is_empty() => text,
                Reply::Cut(text) => format!("HTTP/1.1 200 x\r\nconnection: close\r\n\r\n{text}"),
                Reply::Silence => {
                    silent.push(stream);
                    continue;
                }
            };
            stream.write_all(text.as_bytes()).await.unwrap();
            let _ = stream.shutdown().await;
        }
        std::future::pending::<()>().await;
    });
    let options = KubeOptions { endpoint: Some(endpoint), group: Some(Group::V1), ..KubeOptions::default() };
    (KubeStore::open(options).unwrap(), log)
}

/// Reads a whole request. Gives its first line without the version.
async fn request(stream: &mut TcpStream) -> String {
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut buffer).await.unwrap();
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head
            .to_lowercase()
            .lines()
            .find_map(|l| l.strip_prefix("content-length: ")?.parse::<usize>().ok());
        if body.len() >= length.unwrap_or(0) {
            return head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_string();
        }
    }
}

fn object(name: &str, revision: u32) -> Json {
    json!({"metadata": {"name": name, "uid": "u", "resourceVersion": revision.to_string()},
        "spec": {"handleID": name, "block": {"10.0.0.0/26": revision}, "deleted": false}})
}

fn page(names: &[&str], token: &str) -> Reply {
    let items: Vec<_> = names.iter().map(|name| object(name, 1)).collect();
    answer(200, json!({"metadata": {"resourceVersion": "9", "continue": token}, "items": items}))
}

fn handles() -> ReadSet {
    ReadSet::new().scope(Scope::Handles, Depth::Full)
}

fn creates(names: &[&str]) -> Batch {
    let mut batch = Batch::new();
    for name in names {
        batch.put(handle(name), Expect::Absent, counted(1));
    }
    batch
}

#[tokio::test]
async fn a_wait_that_is_asked_for_is_kept() {
    let busy = || Reply::Answer(429, "retry-after: 1", "{}".to_string());
    let (store, log) = scripted(vec![busy(), page(&["a"], ""), busy(), answer(201, object("a", 2))]).await;
    let start = Instant::now();
    assert_eq!(store.read(&handles(), WITHIN).await.unwrap().len(), 1);
    assert!(store.commit(&creates(&["a"]), WITHIN).await.unwrap().is_applied());
    assert!(start.elapsed() >= Duration::from_secs(2));
    assert_eq!(log.lock().unwrap().len(), 4);

    for (code, words) in
        [(429, "it gives no reason (429 Too Many Requests)"), (503, "it gives no reason (503 ")]
    {
        let (store, _) = scripted(vec![Reply::Answer(code, "retry-after: 60", String::new())]).await;
        let error = store.read(&handles(), WITHIN).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
    let (store, _) = scripted(vec![Reply::Answer(429, "retry-after: 60", "{}".to_string())]).await;
    let error = store.read(&handles(), WITHIN).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Throttled { after, .. } if after == Duration::from_secs(60)),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_list_goes_on_where_its_state_is_gone() {
    let gone = |token: &str| status(410, "Expired", json!({"metadata": {"continue": token}}));
    let (store, log) = scripted(vec![page(&["a", "b"], "t1"), gone("t2"), page(&["b", "c"], "")]).await;
    let view = store.read(&handles(), WITHIN).await.unwrap();
    assert_eq!(view.len(), 3);
    assert!(log.lock().unwrap()[2].ends_with("continue=t2"));
    // Without a token, the list starts again.
    let (store, log) = scripted(vec![page(&["a", "z"], "t1"), gone(""), page(&["a", "b"], "")]).await;
    let view = store.read(&handles(), WITHIN).await.unwrap();
    assert_eq!(view.len(), 2);
    assert!(log.lock().unwrap()[2].ends_with("?limit=5000"), "handles have large pages");
}

#[tokio::test]
async fn pages_do_without_our_own_token() {
    let refuses = status(400, "BadRequest", json!({}));
    let (store, log) = scripted(vec![refuses, page(&["a", "b"], "t1"), page(&["c", "d", "e"], "")]).await;
    let read = ReadSet::new().page(Scope::Handles, Depth::Full, Page { after: Some(handle("b")), limit: 2 });
    let view = store.read(&read, WITHIN).await.unwrap();
    assert_eq!(
        view.slots(&Scope::Handles).map(|(key, _)| key.clone()).collect::<Vec<_>>(),
        [handle("c"), handle("d")]
    );
    assert_eq!(view.page_end(&Scope::Handles), Some(&handle("d")));
    assert!(!log.lock().unwrap()[1].contains("continue"));
}

#[tokio::test]
async fn what_may_have_come_is_unknown() {
    // A reply is lost, a reply is cut off, the server fails, or it does not answer.
    let lost: [fn() -> Reply; 4] = [
        || Reply::Cut(String::new()),
        || Reply::Answer(200, "content-length: 500\r\nx: y", "{".to_string()),
        || status(500, "InternalError", json!({})),
        || Reply::Silence,
    ];
    for (index, last) in lost.iter().enumerate() {
        let (store, _) = scripted(vec![answer(201, object("a", 2)), last()]).await;
        let report = store.commit(&creates(&["a", "b", "c"]), Duration::from_millis(700)).await.unwrap();
        let [Outcome::Applied(revision), Outcome::Unknown(_), Outcome::NotTried] = &report.outcomes[..]
        else {
            panic!("{index}: {:?}", report.outcomes)
        };
        assert_eq!(revision.as_str(), "2");
        // The same holds for the first write.
        let (store, _) = scripted(vec![last()]).await;
        let report = store.commit(&creates(&["a", "b"]), Duration::from_millis(700)).await.unwrap();
        assert!(
            matches!(report.outcomes[..], [Outcome::Unknown(_), Outcome::NotTried]),
            "{index}: {report:?}"
        );
        // A read can simply be repeated.
        let (store, _) = scripted(vec![last()]).await;
        let error = store.read(&handles(), Duration::from_millis(700)).await.unwrap_err();
        assert!(error.is_transient(), "{index}: {error:?}");
    }
}

/// Flagging is the deletion. If the removal after it fails, the outcome is not in doubt.
#[tokio::test]
async fn a_deletion_without_its_second_phase_is_applied() {
    let replies = vec![answer(200, object("a", 2)), answer(200, object("a", 3)), Reply::Cut(String::new())];
    let (store, log) = scripted(replies).await;
    let mut batch = Batch::new();
    batch.delete(handle("a"), Expect::Revision(api::Revision::new("2")));
    let report = store.commit(&batch, WITHIN).await.unwrap();
    assert!(
        matches!(&report.outcomes[..], [Outcome::Applied(revision)] if revision.as_str() == "3"),
        "{report:?}"
    );
    let verbs: Vec<_> =
        log.lock().unwrap().iter().map(|line| line.split(' ').next().unwrap().to_string()).collect();
    assert_eq!(verbs, ["GET", "PUT", "DELETE"]);
}

#[tokio::test]
async fn other_servers_are_told_apart() {
    let no_page = || Reply::Answer(404, "x: y", "404 page not found\n".to_string());
    let (store, _) = scripted(vec![no_page(), no_page()]).await;
    for error in [
        store.read(&handles(), WITHIN).await.unwrap_err(),
        store.commit(&creates(&["a"]), WITHIN).await.unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::Unusable(_)), "{error:?}");
        for word in ["ipamhandles in crd.projectcalico.org/v1", "deploy/crds", "CALICO_API_GROUP"] {
            assert!(error.to_string().contains(word), "{error}");
        }
    }
    let html = || Reply::Answer(200, "x: y", "<html>welcome</html>".to_string());
    let (store, _) = scripted(vec![html()]).await;
    let error = store.read(&handles(), WITHIN).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Unusable(_)) && error.to_string().contains("K8S_API_ENDPOINT"),
        "{error:?}"
    );
}

#[tokio::test]
async fn the_group_is_asked_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    drop(listener);
    for (names, path) in [
        (&["apps", "projectcalico.org"][..], "/apis/projectcalico.org/v3/"),
        (&["projectcalico.org", "crd.projectcalico.org"], "/apis/crd.projectcalico.org/v1/"),
    ] {
        let groups: Vec<_> = names.iter().map(|name| json!({"name": name, "versions": []})).collect();
        let replies = vec![answer(200, json!({"groups": groups})), page(&[], ""), page(&[], "")];
        let (store, log) = scripted(replies).await;
        let endpoint = format!("{store:?}");
        let url = endpoint.split('"').find(|part| part.starts_with("http://")).unwrap().to_string();
        let store = KubeStore::open(KubeOptions { endpoint: Some(url), ..KubeOptions::default() }).unwrap();
        for _ in 0..2 {
            store.read(&handles(), WITHIN).await.unwrap();
        }
        let log = log.lock().unwrap();
        assert_eq!(log[0], "GET /apis");
        assert!(log[1].contains(path) && log[2].contains(path), "{log:?}");
    }
}

fn event(what: &str, object: Json) -> String {
    format!("{}\n", json!({"type": what, "object": object}))
}

async fn next(watch: &mut impl Watch) -> Event {
    tokio::time::timeout(WITHIN, watch.next()).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_watch_goes_on_from_where_it_was() {
    let bookmark = event("BOOKMARK", json!({"metadata": {"resourceVersion": "30"}}));
    let first = event("ADDED", object("b", 20)) + &bookmark + r#"{"type":"ADDED","object":{"meta"#;
    let (store, log) = scripted(vec![
        page(&["a"], ""),
        Reply::Cut(first),
        Reply::Cut(event("MODIFIED", object("b", 31))),
        Reply::Silence,
    ])
    .await;
    let mut watch = store.watch(Scope::Handles).await.unwrap();
    assert_eq!(next(&mut watch).await, Event::Init);
    assert!(matches!(next(&mut watch).await, Event::InitApply(_)));
    assert!(matches!(next(&mut watch).await, Event::InitDone(revision) if revision.as_str() == "9"));
    for revision in ["20", "31"] {
        let Event::Apply(record) = next(&mut watch).await else { panic!("no change") };
        assert_eq!((&record.key, record.revision.as_str()), (&handle("b"), revision));
    }
    let log = log.lock().unwrap();
    for (line, revision) in log[1..].iter().zip(["9", "30", "31"]) {
        assert!(line.contains(&format!("resourceVersion={revision}&")), "{log:?}");
    }
}

/// An object that cannot be read is reported under its record's key, or as a stray if its name is no
/// record's. The watch also reports what becomes of the object.
#[tokio::test]
async fn a_watch_tells_what_it_cannot_read() {
    let bad = |name: &str, revision: u64| json!({"metadata": {"name": name, "uid": name, "resourceVersion": revision.to_string()}, "spec": {"cidr": 7}});
    let events = [
        event("ADDED", bad("10-0-0-0-26", 20)),
        event("ADDED", bad("nonsense", 21)),
        event("DELETED", bad("10-0-0-0-26", 22)),
        event("DELETED", bad("nonsense", 23)),
        event("DELETED", bad("before", 24)),
        event("DELETED", bad("never-told", 25)),
    ];
    let list =
        json!({"metadata": {"resourceVersion": "9"}, "items": [bad("before", 5), bad("10-0-0-64-26", 6)]});
    let (store, _) = scripted(vec![answer(200, list), Reply::Cut(events.concat()), Reply::Silence]).await;
    let scope = Scope::Blocks { family: None };
    let mut watch = store.watch(scope.clone()).await.unwrap();
    let mut told = Vec::new();
    for _ in 0..9 {
        told.push(match next(&mut watch).await {
            Event::Unreadable(key, unreadable) => format!("unreadable {key} at {}", unreadable.revision),
            Event::Stray(error) => format!("stray {}", error.key),
            Event::StrayGone(key) => format!("gone {key}"),
            Event::Delete(key, revision) => format!("deleted {key} at {revision}"),
            Event::Init => "init".to_string(),
            Event::InitDone(revision) => format!("done at {revision}"),
            other => panic!("{other:?}"),
        });
    }
    let wanted = [
        "init",
        "unreadable BlockKey(cidr=10.0.0.64/26) at 6",
        "stray IPAMBlock(before)",
        "done at 9",
        "unreadable BlockKey(cidr=10.0.0.0/26) at 20",
        "stray IPAMBlock(nonsense)",
        "deleted BlockKey(cidr=10.0.0.0/26) at 22",
        "gone IPAMBlock(nonsense)",
        "gone IPAMBlock(before)",
    ];
    assert_eq!(told, wanted);
}

#[tokio::test]
async fn a_watch_starts_anew_after_a_gap() {
    let expired =
        json!({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"});
    let (store, _) = scripted(vec![
        page(&["a"], ""),
        Reply::Cut(event("ERROR", expired.clone())),
        page(&["b"], ""),
        answer(410, expired),
        page(&["c"], ""),
        Reply::Silence,
    ])
    .await;
    let mut watch = store.watch(Scope::Handles).await.unwrap();
    for name in ["a", "b", "c"] {
        assert_eq!(next(&mut watch).await, Event::Init);
        assert!(matches!(next(&mut watch).await, Event::InitApply(record) if record.key == handle(name)));
        assert!(matches!(next(&mut watch).await, Event::InitDone(_)));
    }
}

#[tokio::test]
async fn our_own_limit_is_kept() {
    let (store, _) = scripted((0..6).map(|_| page(&[], "")).collect()).await;
    let endpoint = format!("{store:?}");
    let url = endpoint.split('"').find(|part| part.starts_with("http://")).unwrap().to_string();
    let options = KubeOptions {
        endpoint: Some(url),
        group: Some(Group::V1),
        pace: Some((10.0, 2)),
        ..KubeOptions::default()
    };
    let store = KubeStore::open(options).unwrap();
    let start = Instant::now();
    for _ in 0..5 {
        store.read(&handles(), WITHIN).await.unwrap();
    }
    assert!(start.elapsed() >= Duration::from_millis(290), "{:?}", start.elapsed());
    let error = store.read(&handles(), Duration::from_millis(20)).await.unwrap_err();
    assert!(error.to_string().contains("K8S_CLIENT_QPS"), "{error}");
}
