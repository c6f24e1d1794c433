//! A server that closes its clients' connections, simulated frame by frame: which requests the store repeats,
//! and which not.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::Revision;
use api::crd::Group;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;
use servers::kube_server::{self, ADMIN, KubeServer};
use store::kubernetes::{KubeOptions, KubeStore, Pem};
use store::{Batch, Depth, Expect, Op, Outcome, ReadSet, Scope, Store, StoreError, Write as Change};

use super::fixture::{WITHIN, cluster, counted, handle, manifests};
use super::tls::identity;

/// What the server does with a request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    /// An answer.
    Answer,
    /// Sends an answer, and serves no further request on this connection.
    AnswerAndLeave,
    /// Sends a GOAWAY that says: this request was not processed.
    Disown,
    /// RST_STREAM with REFUSED_STREAM.
    Refuse,
    /// RST_STREAM with INTERNAL_ERROR.
    Fail,
    /// Sends a GOAWAY that says: this request may have been processed. Then ends the connection.
    Forsake,
    /// Ends the connection.
    Cut,
}

const SETTINGS: u8 = 4;
const REFUSED_STREAM: u32 = 7;
const INTERNAL_ERROR: u32 = 2;

/// What the server does with the next requests, and how many it has had.
#[derive(Default)]
struct Script {
    acts: VecDeque<Act>,
    played: usize,
}

/// A store with a server that follows that script, and then repeats its last step.
fn play(acts: &[Act]) -> (KubeStore, Arc<Mutex<Script>>) {
    let script = Arc::new(Mutex::new(Script { acts: acts.iter().copied().collect(), played: 0 }));
    let (config, ca) = identity("127.0.0.1", &["h2"], (2100, 1, 1));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = Some(format!("https://{}", listener.local_addr().unwrap()));
    let played = script.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (config, script) = (config.clone(), played.clone());
            // If the client is gone, there is nobody to serve.
            std::thread::spawn(move || serve(stream.unwrap(), config, &script));
        }
    });
    let options =
        KubeOptions { endpoint, ca: Some(Pem::Inline(ca)), group: Some(Group::V1), ..KubeOptions::default() };
    (KubeStore::open(options).unwrap(), script)
}

type TlsStream = StreamOwned<ServerConnection, TcpStream>;

fn serve(stream: TcpStream, config: Arc<ServerConfig>, script: &Mutex<Script>) -> std::io::Result<()> {
    let mut tls = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
    tls.read_exact(&mut [0; 24])?;
    send(&mut tls, SETTINGS, 0, 0, &[])?;
    let mut has_left = false;
    loop {
        let mut head = [0; 9];
        tls.read_exact(&mut head)?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        tls.read_exact(&mut payload)?;
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        // The flag is ACK on settings and pings, and END_STREAM on headers and data.
        let is_last = flags & 1 == 1;
        match kind {
            SETTINGS if !is_last => send(&mut tls, SETTINGS, 1, 0, &[])?,
            6 if !is_last => send(&mut tls, 6, 1, 0, &payload)?,
            // The end of a request's headers or data. After a GOAWAY the server ignores further requests, as
            // Go's server does.
            0 | 1 if is_last && !has_left => {
                let act = {
                    let mut script = script.lock().unwrap();
                    script.played += 1;
                    if script.acts.len() > 1 { script.acts.pop_front().unwrap() } else { script.acts[0] }
                };
                match act {
                    Act::Answer | Act::AnswerAndLeave => {
                        has_left = act == Act::AnswerAndLeave;
                        if has_left {
                            go_away(&mut tls, stream)?;
                        }
                        answer(&mut tls, stream)?;
                    }
                    Act::Disown => go_away(&mut tls, stream.saturating_sub(2))?,
                    Act::Refuse => send(&mut tls, 3, 0, stream, &REFUSED_STREAM.to_be_bytes())?,
                    Act::Fail => send(&mut tls, 3, 0, stream, &INTERNAL_ERROR.to_be_bytes())?,
                    Act::Forsake => {
                        go_away(&mut tls, stream)?;
                        return Ok(());
                    }
                    Act::Cut => return Ok(()),
                }
            }
            _ => {}
        }
    }
}

fn send(tls: &mut TlsStream, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> std::io::Result<()> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    tls.write_all(&frame)?;
    tls.flush()
}

fn go_away(tls: &mut TlsStream, last: u32) -> std::io::Result<()> {
    send(tls, 7, 0, 0, &[last.to_be_bytes(), [0; 4]].concat())
}

/// Sends an answer that can be read as an object and as a list.
fn answer(tls: &mut TlsStream, stream: u32) -> std::io::Result<()> {
    let object = json!({"metadata": {"name": "a", "uid": "u", "resourceVersion": "7"},
        "spec": {"handleID": "a", "block": {"10.0.0.0/26": 1}, "deleted": false}});
    let mut body = object.clone();
    body["items"] = json!([object]);
    // `:status: 200` is entry 8 of HPACK's static table.
    send(tls, 1, 4, stream, &[0x88])?;
    send(tls, 0, 1, stream, body.to_string().as_bytes())
}

fn played(script: &Mutex<Script>) -> usize {
    script.lock().unwrap().played
}

fn handles() -> ReadSet {
    ReadSet::new().scope(Scope::Handles, Depth::Full)
}

fn batch(expect: Expect) -> Batch {
    let mut batch = Batch::new();
    batch.put(handle("a"), expect, counted(1));
    batch
}

/// The batches of a create, an update, and a deletion in its first phase.
fn batches() -> [Batch; 3] {
    let at = Expect::Revision(Revision::new("6"));
    let mut deletion = Batch::new();
    deletion.push(Change { key: handle("a"), expect: Expect::Revision(Revision::new("7")), op: Op::Delete });
    [batch(Expect::Absent), batch(at), deletion]
}

#[tokio::test]
async fn what_was_not_processed_is_sent_again() {
    for act in [Act::Disown, Act::Refuse] {
        for times in [1, 3, 10] {
            let acts = [vec![act; times], vec![Act::Answer]].concat();
            for batch in batches() {
                let (store, script) = play(&acts);
                let report = store.commit(&batch, WITHIN).await.unwrap();
                assert!(report.is_applied(), "{act:?} {times}: {report:?}");
                assert!(played(&script) > times);
            }
            let (store, _) = play(&acts);
            assert_eq!(store.read(&handles(), WITHIN).await.unwrap().len(), 1, "{act:?} {times}");
        }
    }
}

/// The connection may end in the middle of a batch, too. Writes that were applied before are not sent again.
#[tokio::test]
async fn a_batch_goes_on_where_the_server_left() {
    let (store, script) = play(&[Act::AnswerAndLeave, Act::Disown, Act::Answer]);
    let mut batch = batch(Expect::Absent);
    batch.put(handle("b"), Expect::Absent, counted(1));
    let report = store.commit(&batch, WITHIN).await.unwrap();
    assert!(report.is_applied(), "{report:?}");
    assert_eq!(played(&script), 3);
}

/// A write that may have been processed is sent once, and its outcome is unknown.
#[tokio::test]
async fn what_may_have_been_processed_stays_unknown() {
    for act in [Act::Fail, Act::Forsake, Act::Cut] {
        for expect in [Expect::Absent, Expect::Revision(Revision::new("6"))] {
            let (store, script) = play(&[act, Act::Answer]);
            let report = store.commit(&batch(expect), WITHIN).await.unwrap();
            assert!(matches!(report.outcomes[..], [Outcome::Unknown(_)]), "{act:?}: {report:?}");
            assert_eq!(played(&script), 1, "{act:?}");
        }
    }
}

#[tokio::test]
async fn reads_are_asked_again_however_the_connection_ends() {
    for act in [Act::Fail, Act::Forsake, Act::Cut, Act::Disown, Act::Refuse, Act::AnswerAndLeave] {
        let (store, script) = play(&[act, act, Act::Answer]);
        assert_eq!(store.read(&handles(), WITHIN).await.unwrap().len(), 1, "{act:?}");
        assert_eq!(played(&script), if act == Act::AnswerAndLeave { 1 } else { 3 });
    }
}

/// Many reads share a connection. Those after the GOAWAY are sent on the next connection.
#[tokio::test]
async fn reads_side_by_side_survive_a_goodbye() {
    let acts: Vec<Act> = (0..60)
        .map(|index| if index % 5 == 4 { Act::AnswerAndLeave } else { Act::Answer })
        .chain([Act::Answer])
        .collect();
    let (store, _) = play(&acts);
    let set = (0..40).fold(ReadSet::new(), |set, _| set.key(handle("a")));
    assert_eq!(store.read(&set, WITHIN).await.unwrap().len(), 1);
}

/// If a server closes every connection, the call ends with an error, and nothing was written.
#[tokio::test]
async fn there_is_an_end_to_it() {
    for act in [Act::Disown, Act::Refuse] {
        let (store, script) = play(&[act]);
        let error = store.commit(&batch(Expect::Absent), WITHIN).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        assert_eq!(played(&script), 11, "{act:?}");
        let (store, script) = play(&[act]);
        let error = store.read(&handles(), Duration::from_millis(100)).await.unwrap_err();
        assert!(error.is_transient(), "{error:?}");
        assert!(played(&script) < 11, "the caller's time is over before");
    }
}

/// A real server ends the connection at 2 of 100 requests. Eight users share the connections, so that there
/// is always a request after a GOAWAY.
#[tokio::test]
async fn a_real_server_sends_many_away() {
    // Waits for the tests with the common server, since two servers at once need much of the machine.
    let Some(_alone) = cluster().await else { return };
    let server = KubeServer::start(kube_server::KubeServerOptions::new().argument("--goaway-chance=0.02"));
    server.apply(&[&manifests().join("crds/v1")]);
    let options = KubeOptions {
        endpoint: Some(server.endpoint().to_string()),
        ca: Some(Pem::File(server.ca())),
        token: Some(server.token(ADMIN).to_string()),
        group: Some(Group::V1),
        ..KubeOptions::default()
    };
    let store = KubeStore::open(options).unwrap();
    let mut users = tokio::task::JoinSet::new();
    for user in 0..8 {
        let store = store.clone();
        users.spawn(async move {
            let names = |round: u32| (0..10).map(move |index| handle(&format!("u{user}-{round}-{index}")));
            for round in 0..40 {
                let key = handle(&format!("u{user}-{round}-0"));
                let mut batch = Batch::new();
                let created = batch.put(key.clone(), Expect::Absent, counted(1));
                batch.put(key.clone(), Expect::AsLeftBy(created), counted(2));
                let report = store.commit(&batch, WITHIN).await.unwrap();
                assert!(report.is_applied(), "{report:?}");
                let view = store.read(&ReadSet::new().keys(names(round)), WITHIN).await.unwrap();
                assert_eq!(view.len(), 1);
                let revision = view.get(&key).unwrap().revision().unwrap().clone();
                let mut batch = Batch::new();
                batch.delete(key, Expect::Revision(revision));
                let report = store.commit(&batch, WITHIN).await.unwrap();
                assert!(report.is_applied(), "{report:?}");
            }
        });
    }
    while let Some(user) = users.join_next().await {
        user.unwrap();
    }
    assert_eq!(store.read(&handles(), WITHIN).await.unwrap().len(), 0);
}
