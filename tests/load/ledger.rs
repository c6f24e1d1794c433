//! What workers asked for and were answered, line by line.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use setup::Clock;

/// What happened to a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// It is about to ask for addresses.
    Asks { handle: String, host: String, count: u32 },
    /// It was given these.
    Got { handle: String, addresses: BTreeSet<IpAddr> },
    /// It was told that it gets nothing, and why.
    Refused { handle: String, reason: String },
    /// It was given an error. What it holds is not known.
    Failed { handle: String, reason: String },
    /// It is about to give these back; all where there are none.
    Returns { handle: String, addresses: BTreeSet<IpAddr> },
    /// That was done.
    Returned { handle: String },
    /// It was given an error. What it still holds is not known.
    NotReturned { handle: String, reason: String },
    /// A call to the store, for the reader of a failure.
    Did(String),
    /// It met stored data that Calico's allocator breaks on.
    Choked(String),
    /// It has done all that it was to do.
    Ended,
}

impl Event {
    /// The handle that it is about.
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

/// An event, when and to whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Nanoseconds since 1970.
    pub at: i64,
    /// The worker.
    pub worker: usize,
    /// What.
    pub event: Event,
}

/// Where a worker's lines go.
#[derive(Clone)]
enum Out {
    /// To the process that started this one; what was written survives this process.
    Stdout,
    Shared(Arc<Mutex<Vec<Line>>>),
}

/// A worker's pen.
#[derive(Clone)]
pub struct Ledger {
    worker: usize,
    clock: Clock,
    out: Out,
}

impl Ledger {
    /// Of a worker that is a process.
    pub fn of_process(worker: usize) -> Ledger {
        Ledger { worker, clock: Clock::start(), out: Out::Stdout }
    }

    /// Of a worker that is a thread.
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
                    // Who started this process is no more; there is nobody to work for.
                    std::process::exit(1);
                }
            }
        }
    }
}

/// Reads a line of a worker's output; other lines there are not the ledger's.
pub fn read(text: &str) -> Option<Line> {
    serde_json::from_str(text).ok()
}
