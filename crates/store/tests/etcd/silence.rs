//! A member that is silent ends a call; one that goes on answering does not, however long it takes. The
//! members are simulated frame by frame.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use store::etcd::{EtcdOptions, EtcdStore};
use store::{Batch, Expect, Outcome, ReadSet, Store, StoreError};
use tokio::time::Instant;

use super::fixture::{counted, handle};
use super::goaway::{frame, request};

const SILENCE: Duration = Duration::from_secs(1);
/// What callers say. It does not count where silence does.
const NEVER: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(600);

/// A store with a member that serves each connection so.
fn with(serve: fn(TcpStream)) -> EtcdStore {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoints = vec![format!("http://{}", listener.local_addr().unwrap())];
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    EtcdStore::open(EtcdOptions { endpoints, silence: Some(SILENCE), ..EtcdOptions::default() }).unwrap()
}

fn forever<T>(held: T) {
    loop {
        std::thread::park();
        let _ = &held;
    }
}

fn literal(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}

/// Answers a request with an empty transaction, one byte after another.
fn drip(mut stream: TcpStream) {
    let Ok(id) = request(&mut stream) else { return };
    let head = [vec![0x88], literal("content-type", "application/grpc")].concat();
    stream.write_all(&frame(1, 4, id, &head)).unwrap();
    for _ in 0..5 {
        std::thread::sleep(SILENCE * 3 / 10);
        stream.write_all(&frame(0, 0, id, &[0])).unwrap();
    }
    stream.write_all(&frame(1, 5, id, &literal("grpc-status", "0"))).unwrap();
    forever(stream);
}

/// Begins an answer and does not go on with it.
fn begin(mut stream: TcpStream) {
    let Ok(id) = request(&mut stream) else { return };
    let head = [vec![0x88], literal("content-type", "application/grpc")].concat();
    stream.write_all(&frame(1, 4, id, &head)).unwrap();
    stream.write_all(&frame(0, 0, id, &[0])).unwrap();
    forever(stream);
}

#[tokio::test]
async fn a_member_that_says_nothing_ends_the_call() {
    let mute: fn(TcpStream) = forever;
    let deaf: fn(TcpStream) = |mut stream| {
        let _ = request(&mut stream);
        forever(stream);
    };
    for serve in [mute, deaf, begin] {
        let store = with(serve);
        let error = store.read(&ReadSet::new().key(handle("a")), LONG).await.unwrap_err();
        let is_silence = |text: &str| text.contains("gave no answer within 1s");
        assert!(matches!(&error, StoreError::Unavailable(text) if is_silence(text)), "{error}");
        let mut batch = Batch::new();
        batch.put(handle("a"), Expect::Absent, counted(1));
        let report = store.commit(&batch, LONG).await.unwrap();
        assert!(matches!(&report.outcomes[..], [Outcome::Unknown(text)] if is_silence(text)), "{report:?}");
    }
}

#[tokio::test]
async fn an_answer_that_goes_on_arriving_is_not_cut() {
    let start = Instant::now();
    with(drip).read(&ReadSet::new().key(handle("a")), NEVER).await.unwrap();
    assert!(start.elapsed() > SILENCE);
}

#[tokio::test]
async fn a_member_that_refuses_is_told_at_once() {
    let [port] = servers::etcd_server::free_ports();
    let endpoints = vec![format!("http://127.0.0.1:{port}")];
    let store =
        EtcdStore::open(EtcdOptions { endpoints, silence: Some(LONG), ..EtcdOptions::default() }).unwrap();
    let start = Instant::now();
    let error = store.read(&ReadSet::new().key(handle("a")), LONG).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(text) if text.contains("cannot be reached")), "{error}");
    assert!(start.elapsed() < LONG / 10);
}
