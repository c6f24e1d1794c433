//! The ledger: what workers asked for, and what they were answered, line by line.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use setup::Clock;

/// What happened to a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// The worker is about to ask for addresses.
    Asks { handle: String, host: String, count: u32 },
    /// The worker got these addresses.
    Got { handle: String, addresses: BTreeSet<IpAddr> },
    /// The worker was told that it gets no address, and why.
    Refused { handle: String, reason: String },
    /// The worker got an error. It is not known what its handle holds.
    Failed { handle: String, reason: String },
    /// The worker is about to give these addresses back; all addresses of the handle if there are none here.
    Returns { handle: String, addresses: BTreeSet<IpAddr> },
    /// The addresses were given back.
    Returned { handle: String },
    /// The worker got an error. It is not known what its handle still holds.
    NotReturned { handle: String, reason: String },
    /// The worker made a call to the store. This helps to understand a failure.
    Did(String),
    /// The worker met stored data with which Calico's allocator cannot cope.
    Choked(String),
    /// The worker has finished its job.
    Ended,
}

impl Event {
    /// The handle that the event is about; `None` where it is about none.
    pub fn handle(&self) -> Option<&str> {
        match self {
            Event::Asks { handle, .. }
            | Event::Got { handle, .. }
            | Event::Refused { handle, .. }
            | Event::Failed { handle, .. }
            | Event::Returns { handle, .. }
            | Event::Returned { handle }
            | Event::NotReturned { handle, .. } => Some(handle),
            Event::Did(_) | Event::Choked(_) | Event::Ended => None,
        }
    }
}

/// An event, with its time and its worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The time, in nanoseconds since 1970.
    pub at: i64,
    /// The number of the worker.
    pub worker: usize,
    /// What happened.
    pub event: Event,
}

/// The place to which a worker's lines go.
#[derive(Clone)]
enum Out {
    /// Standard output, which the parent process reads. Lines that were written survive this process.
    Stdout,
    Shared(Arc<Mutex<Vec<Line>>>),
}

/// A worker's access to the ledger.
#[derive(Clone)]
pub struct Ledger {
    worker: usize,
    clock: Clock,
    out: Out,
}

impl Ledger {
    /// The ledger of a worker that is a process.
    pub fn of_process(worker: usize) -> Ledger {
        Ledger { worker, clock: Clock::start(), out: Out::Stdout }
    }

    /// The ledger of a worker that is a thread.
    pub fn shared(worker: usize, lines: Arc<Mutex<Vec<Line>>>) -> Ledger {
        Ledger { worker, clock: Clock::start(), out: Out::Shared(lines) }
    }

    /// Writes a line.
    pub fn write(&self, event: Event) {
        let at = self.clock.now().as_nanosecond() as i64;
        let line = Line { at, worker: self.worker, event };
        match &self.out {
            Out::Shared(lines) => lines.lock().unwrap().push(line),
            Out::Stdout => {
                let mut text = serde_json::to_vec(&line).unwrap();
                text.push(b'\n');
                let mut stdout = std::io::stdout().lock();
                if stdout.write_all(&text).and_then(|()| stdout.flush()).is_err() {
                    // The parent process has ended, so nobody needs this worker any more.
                    std::process::exit(1);
                }
            }
        }
    }
}

/// Reads a line of a worker's output; `None` for a line that is not of the ledger.
pub fn read(text: &str) -> Option<Line> {
    serde_json::from_str(text).ok()
}
