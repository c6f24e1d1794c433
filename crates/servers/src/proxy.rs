//! A proxy between a client and a server that can lose, hold or cut what passes through it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// What a proxy does with the data that reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// Passes requests and replies on.
    Open,
    /// Passes requests on and drops the replies.
    LoseReplies,
    /// Passes nothing on, and keeps the connections open.
    Stuck,
}

/// A listener that passes connections on to one server. It ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    passage: AtomicUsize,
    is_over: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
    accepted: AtomicUsize,
}

impl Shared {
    fn connections(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is(&self, passage: Passage) -> bool {
        self.passage.load(Ordering::SeqCst) == passage as usize
    }
}

impl Proxy {
    /// Listens on a free port, and passes connections on to `server` (host and port).
    pub fn start(server: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there are free ports");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared::default());
        let (server, state) = (server.to_string(), shared.clone());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if state.is_over.load(Ordering::SeqCst) {
                    break;
                }
                state.accepted.fetch_add(1, Ordering::SeqCst);
                let Ok(server) = TcpStream::connect(&server) else { continue };
                hand_on(&client, &server, &state, false);
                hand_on(&server, &client, &state, true);
                state.connections().extend([client, server]);
            }
        });
        Proxy { address, shared }
    }

    /// Host and port to which clients connect.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Sets what happens to data from now on.
    pub fn set(&self, passage: Passage) {
        self.shared.passage.store(passage as usize, Ordering::SeqCst);
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        for connection in self.shared.connections().drain(..) {
            // The connection may be closed already.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// How many connections were accepted so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.cut();
        // Wakes the thread that listens, which then ends.
        let _ = TcpStream::connect(self.address);
    }
}

fn hand_on(from: &TcpStream, to: &TcpStream, shared: &Arc<Shared>, is_reply: bool) {
    let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else { return };
    let shared = shared.clone();
    thread::spawn(move || {
        let mut buffer = [0; 16 << 10];
        while let Ok(count) = from.read(&mut buffer) {
            while shared.is(Passage::Stuck) && !shared.is_over.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(5));
            }
            if is_reply && shared.is(Passage::LoseReplies) && count > 0 {
                continue;
            }
            if count == 0 || to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        // In most cases the connection is closed already.
        let _ = to.shutdown(Shutdown::Both);
    });
}
