//! A server that is silent ends a call; one that goes on answering does not, however long it takes.

use std::time::{Duration, Instant};

use api::crd::Group;
use serde_json::json;
use store::kubernetes::{KubeOptions, KubeStore};
use store::{Batch, Depth, Expect, Outcome, ReadSet, Scope, Store, StoreError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::fixture::{counted, handle};

const SILENCE: Duration = Duration::from_secs(1);
/// Several of these make more than [`SILENCE`].
const PAUSE: Duration = Duration::from_millis(300);
/// What callers say. It does not count where silence does.
const NEVER: Duration = Duration::from_millis(1);

/// A store whose server answers each request with these pieces, each after a pause, and then says no more.
async fn answering(pieces: Vec<Vec<String>>) -> KubeStore {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Some(format!("http://{}", listener.local_addr().unwrap()));
    tokio::spawn(async move {
        let mut open = Vec::new();
        let mut answers = pieces.into_iter();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await.unwrap();
            for piece in answers.next().unwrap_or_default() {
                tokio::time::sleep(PAUSE).await;
                if stream.write_all(piece.as_bytes()).await.is_err() {
                    break;
                }
            }
            open.push(stream);
        }
    });
    let group = Some(Group::V1);
    let options = KubeOptions { endpoint, group, silence: Some(SILENCE), ..KubeOptions::default() };
    KubeStore::open(options).unwrap()
}

fn handles() -> ReadSet {
    ReadSet::new().scope(Scope::Handles, Depth::Full)
}

/// The page of a list, in so many pieces.
fn page(token: &str, pieces: usize) -> Vec<String> {
    let body = json!({"metadata": {"resourceVersion": "9", "continue": token}, "items": []}).to_string();
    let head = format!("HTTP/1.1 200 x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    let size = body.len().div_ceil(pieces);
    let parts = body.as_bytes().chunks(size).map(|part| String::from_utf8(part.to_vec()).unwrap());
    [head].into_iter().chain(parts).collect()
}

#[tokio::test]
async fn a_server_that_says_nothing_ends_the_call() {
    for begun in [vec![], page("", 3)[..2].to_vec()] {
        let store = answering(vec![begun.clone(); 3]).await;
        let error = store.read(&handles(), Duration::from_secs(600)).await.unwrap_err();
        assert!(
            matches!(&error, StoreError::Unavailable(text) if text.contains("no answer within 1s")),
            "{error}"
        );
        let mut batch = Batch::new();
        batch.put(handle("a"), Expect::Absent, counted(1));
        let report = store.commit(&batch, Duration::from_secs(600)).await.unwrap();
        assert!(matches!(report.outcomes[..], [Outcome::Unknown(_)]), "{report:?}");
    }
}

#[tokio::test]
async fn an_answer_that_goes_on_arriving_is_not_cut() {
    let start = Instant::now();
    answering(vec![page("", 6)]).await.read(&handles(), NEVER).await.unwrap();
    answering(vec![page("t", 1), page("t", 1), page("t", 1), page("", 1)])
        .await
        .read(&handles(), NEVER)
        .await
        .unwrap();
    assert!(start.elapsed() > 3 * SILENCE);
}

/// A server that only ever asks to wait brings nothing.
#[tokio::test]
async fn a_server_that_asks_to_wait_and_wait_ends_the_call() {
    let busy = vec![
        "HTTP/1.1 429 x\r\nretry-after: 0\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}".to_string(),
    ];
    let store = answering(vec![busy; 100]).await;
    let error = store.read(&handles(), Duration::from_secs(600)).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
}
