//! Servers whose answers are too large or never end.

use std::fmt::Write;
use std::time::Duration;

use store::kubernetes::{KubeOptions, KubeStore, Kubeconfig};
use store::{Depth, ReadSet, Scope, Store, StoreError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::fixture::{GROUPS, handle};

const WITHIN: Duration = Duration::from_secs(120);

/// The largest size that this process has had so far, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

async fn request(stream: &mut TcpStream) -> String {
    let mut buffer = vec![0; 8192];
    let count = stream.read(&mut buffer).await.unwrap_or_default();
    String::from_utf8_lossy(&buffer[..count]).into_owned()
}

/// A store with a server whose every answer begins with `head` and goes on with `filling` for ever.
async fn endless(head: &'static str, filling: &'static str) -> KubeStore {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                request(&mut stream).await;
                let much = filling.repeat(1 << 20 >> filling.len().ilog2());
                let _ = stream.write_all(head.as_bytes()).await;
                while stream.write_all(much.as_bytes()).await.is_ok() {}
            });
        }
    });
    KubeStore::open(KubeOptions {
        endpoint: Some(endpoint),
        group: Some(GROUPS[0]),
        ..KubeOptions::default()
    })
    .unwrap()
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_it() {
    let all = ReadSet::new()
        .scope(Scope::Handles, Depth::Full)
        .scope(Scope::Blocks { family: None }, Depth::Full)
        .scope(Scope::Affinities { owner: None, family: None }, Depth::Full)
        .key(handle("a"));
    for (head, filling) in [
        ("HTTP/1.1 200 OK\r\n\r\n", "x"),
        ("HTTP/1.1 200 OK\r\n\r\n{\"items\": [", "{},"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9000000000000\r\n\r\n", "[["),
    ] {
        let store = endless(head, filling).await;
        let error = store.read(&all, WITHIN).await.unwrap_err();
        assert!(matches!(error, StoreError::Unusable(_)), "{error:?}");
        assert!(error.to_string().contains("is larger than the"), "{error}");
    }
    // The body of an error is cut, and the error is still reported as what it is.
    for code in [403, 404, 500] {
        let head: &'static str = Box::leak(format!("HTTP/1.1 {code} x\r\n\r\n").into_boxed_str());
        let store = endless(head, "no! ").await;
        let error = store.read(&ReadSet::new().scope(Scope::Handles, Depth::Full), WITHIN).await.unwrap_err();
        assert!(error.to_string().len() < 3000, "{error}");
    }
    assert!(peak() < 1 << 30, "{} MiB", peak() >> 20);
}

/// A page with large objects is asked for again in smaller pages, so that no object is left out.
#[tokio::test]
async fn a_page_that_is_too_large_is_read_in_parts() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let note = "x".repeat(1 << 20);
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let line = request(&mut stream).await;
            let url = line.split(' ').nth(1).unwrap();
            let of = |name: &str| {
                url.split(['?', '&']).find_map(|part| part.strip_prefix(name)).map(str::to_string)
            };
            let limit: usize = of("limit=").unwrap().parse().unwrap();
            let from: usize = of("continue=t").map_or(0, |token| token.parse().unwrap());
            let until = (from + limit).min(100);
            let mut items = String::new();
            for at in from..until {
                let comma = if at > from { "," } else { "" };
                write!(
                    items,
                    r#"{comma}{{"metadata": {{"name": "h{at}", "uid": "u", "resourceVersion": "1", "annotations": {{"x": "{note}"}}}}, "spec": {{"handleID": "h{at}", "block": {{}}, "deleted": false}}}}"#
                )
                .unwrap();
            }
            let token = if until < 100 { format!("t{until}") } else { String::new() };
            let body = format!(
                r#"{{"metadata": {{"resourceVersion": "9", "continue": "{token}"}}, "items": [{items}]}}"#
            );
            let head =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(body.as_bytes()).await;
        }
    });
    let options = KubeOptions { endpoint: Some(endpoint), group: Some(GROUPS[0]), ..KubeOptions::default() };
    let store = KubeStore::open(options).unwrap();
    let view = store.read(&ReadSet::new().scope(Scope::Handles, Depth::Key), WITHIN).await.unwrap();
    assert_eq!(view.len(), 100);
}

/// A server may ask for a wait of any length; no number makes the program panic.
#[tokio::test]
async fn a_wait_of_ages_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            request(&mut stream).await;
            let answer =
                format!("HTTP/1.1 429 x\r\nretry-after: {}\r\ncontent-length: 2\r\n\r\n{{}}", u64::MAX);
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let options = KubeOptions { endpoint: Some(endpoint), group: Some(GROUPS[0]), ..KubeOptions::default() };
    let store = KubeStore::open(options).unwrap();
    let error = store.read(&ReadSet::new().key(handle("a")), WITHIN).await.unwrap_err();
    assert!(matches!(error, StoreError::Throttled { .. }), "{error:?}");
}

/// Aliases in a few lines of a kubeconfig cannot fill the memory.
#[test]
fn aliases_of_a_kubeconfig_do_not_multiply() {
    let long = "x".repeat(1 << 20);
    let one = format!("a: &a {long}\nusers:\n- name: u\n  user:\n    as-groups: [{}]\n", "*a, ".repeat(900));
    let mut two = "a0: &a0 [x, x]\n".to_string();
    for at in 1..40 {
        writeln!(two, "a{at}: &a{at} [*a{0}, *a{0}]", at - 1).unwrap();
    }
    two.push_str("users:\n- name: u\n  user:\n    exec: {args: *a39}\n");
    for text in [one, two, "[".repeat(1 << 20), format!("users: {}", "- ".repeat(1 << 20))] {
        let options = KubeOptions { kubeconfig: Some(Kubeconfig::Inline(text)), ..KubeOptions::default() };
        let error = KubeStore::open(options).unwrap_err();
        assert!(matches!(error, StoreError::Unusable(_)), "{error:?}");
    }
    assert!(peak() < 1 << 30, "{} MiB", peak() >> 20);
}
