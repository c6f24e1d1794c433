//! A member that closes its clients' connections, simulated frame by frame: whether the outcome of a commit
//! is known then.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use store::{Batch, Expect, Outcome, Store, StoreError};

use super::fixture::{WITHIN, counted, handle, open};

/// A server that answers each request with the frames that `answer` makes for its stream, and then ends the
/// connection. Also gives the number of requests.
fn serve(answer: impl Fn(u32) -> Vec<u8> + Send + 'static) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // If the client is gone, there is nobody to answer.
            let Ok(id) = request(&mut stream) else { continue };
            counted.fetch_add(1, Ordering::Relaxed);
            let _ = stream.write_all(&answer(id));
            // The client ends the connection first, so that no reset destroys the answer.
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    (endpoint, count)
}

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Exchanges the greetings and reads a request to its end. Gives the request's stream.
pub(super) fn request(stream: &mut TcpStream) -> std::io::Result<u32> {
    stream.read_exact(&mut [0; 24])?;
    stream.write_all(&frame(4, 0, 0, &[]))?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        stream.read_exact(&mut vec![0; length as usize])?;
        match (head[3], head[4] & 1) {
            (4, 0) => stream.write_all(&frame(4, 1, 0, &[]))?,
            // The flag END_STREAM on a frame of headers or data.
            (0 | 1, 1) => return Ok(u32::from_be_bytes([head[5], head[6], head[7], head[8]])),
            _ => {}
        }
    }
}

fn go_away(last: u32) -> Vec<u8> {
    frame(7, 0, 0, &[last.to_be_bytes(), [0; 4]].concat())
}

fn refuse(stream: u32) -> Vec<u8> {
    frame(3, 0, stream, &7u32.to_be_bytes())
}

#[tokio::test]
async fn a_commit_is_in_doubt_only_where_it_may_have_been_processed() {
    let batch = || {
        let mut batch = Batch::new();
        batch.put(handle("a"), Expect::Absent, counted(1));
        batch
    };
    for answer in [|_| go_away(0), refuse] {
        let (endpoint, _) = serve(answer);
        let error = open(&[endpoint]).commit(&batch(), WITHIN).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    }
    for answer in [go_away, |_| Vec::new()] {
        let (endpoint, count) = serve(answer);
        let report = open(&[endpoint]).commit(&batch(), WITHIN).await.unwrap();
        assert!(matches!(report.outcomes[..], [Outcome::Unknown(_)]), "{report:?}");
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }
}

/// If one member does not process a request, another member gets it.
#[tokio::test]
async fn another_member_is_told_what_one_refuses() {
    super::fixture::needs_etcd!();
    let server = servers::etcd_server::EtcdServer::start();
    for answer in [|_| go_away(0), refuse] {
        let (endpoint, count) = serve(answer);
        let store = open(&[endpoint, server.endpoint()]);
        let mut batch = Batch::new();
        batch.put(
            handle(&format!("h{}", server.handled().values().sum::<u64>())),
            Expect::Absent,
            counted(1),
        );
        assert!(store.commit(&batch, WITHIN).await.unwrap().is_applied());
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }
}
