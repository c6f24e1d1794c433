//! Counts how many requests wait for each other.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use api::Timestamp;
use serde_json::Value as Json;

use crate::fixture::{Cluster, PLUGIN};

/// How late the server's answers arrive. Requests that do not wait for each other are sent much closer
/// together than that, even on a busy machine.
const DELAY: Duration = Duration::from_millis(250);

/// A proxy to the server that delays the answers.
pub struct SlowWay {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    answered: AtomicUsize,
    is_over: AtomicBool,
}

impl SlowWay {
    pub fn to(cluster: &Cluster) -> SlowWay {
        let server = cluster.server.endpoint().trim_start_matches("https://").to_string();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let shared = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.is_over.load(Ordering::SeqCst) {
                    break;
                }
                let server = TcpStream::connect(&server).unwrap();
                hand_on(client.try_clone().unwrap(), server.try_clone().unwrap(), None);
                hand_on(server, client, Some(shared.clone()));
            }
        });
        SlowWay { address, state }
    }

    pub fn endpoint(&self) -> String {
        format!("https://{}", self.address)
    }

    /// How many bytes the server has answered so far.
    pub fn answered(&self) -> usize {
        self.state.answered.load(Ordering::SeqCst)
    }
}

impl Drop for SlowWay {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::SeqCst);
        // The connection wakes the thread that listens, which then ends.
        let _ = TcpStream::connect(self.address);
    }
}

fn hand_on(mut from: TcpStream, mut to: TcpStream, answers: Option<Arc<State>>) {
    thread::spawn(move || {
        let mut buffer = [0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if let Some(state) = &answers {
                state.answered.fetch_add(count, Ordering::SeqCst);
                thread::sleep(DELAY);
            }
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        // In most cases the connection is closed already.
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
}

/// Calls `act` with a slow proxy. Gives its result, and how many requests of the plugin's user came one after
/// another, at the least. A request that waits for another one's answer arrives at least the delay later than
/// that one. So the true number is never greater than the given one.
pub fn steps<T>(cluster: &Cluster, act: impl FnOnce() -> T) -> (T, usize) {
    let before = arrivals(cluster).len();
    let answer = act();
    let mut arrivals = arrivals(cluster).split_off(before);
    arrivals.sort();
    let delay = DELAY.as_nanos() as i128;
    let mut steps = 0;
    let mut last = None;
    for arrival in arrivals.iter().map(|arrival| arrival.as_nanosecond()) {
        if last.is_none_or(|last| arrival >= last + delay) {
            steps += 1;
            last = Some(arrival);
        }
    }
    (answer, steps)
}

/// The times at which the requests of the plugin's user arrived, in the order of the answers.
fn arrivals(cluster: &Cluster) -> Vec<Timestamp> {
    let text = std::fs::read_to_string(cluster.server.audit_log()).unwrap();
    let events = text.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
    let of_plugin =
        events.filter(|event| event["stage"] == "ResponseComplete" && event["user"]["username"] == PLUGIN);
    of_plugin.map(|event| event["requestReceivedTimestamp"].as_str().unwrap().parse().unwrap()).collect()
}
