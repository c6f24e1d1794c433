//! Running workers: as processes where the store can be reached from outside, else as threads.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use fastrand::Rng;

use crate::environment::{Environment, Reach};
use crate::ledger::{self, Event, Ledger, Line};
use crate::proof::Wrong;
use crate::worker::{JOB, Job, work, work_on};

const REACH: &str = "RACKPOOL_LOAD_REACH";

/// Workers that were started together.
pub struct Crew {
    workers: Vec<Worker>,
    lines: Arc<Mutex<Vec<Line>>>,
}

struct Worker {
    number: usize,
    child: Option<Child>,
    /// The thread does the worker's job, or reads the output of the worker's process.
    thread: JoinHandle<()>,
    is_killed: bool,
}

impl Crew {
    /// Starts a worker for each job.
    pub fn start(environment: &Environment, jobs: Vec<Job>) -> Crew {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let start = |job: Job| match (environment.reach(job.worker), environment) {
            (Some(reach), _) => start_process(job, &reach, lines.clone()),
            (None, Environment::Memory(store)) => {
                let (store, ledger) = (store.clone(), Ledger::shared(job.worker, lines.clone()));
                let number = job.worker;
                let thread = thread::spawn(move || work_on(store, &job, &ledger));
                Worker { number, child: None, thread, is_killed: false }
            }
            (None, _) => unreachable!("only what is in memory cannot be reached"),
        };
        Crew { workers: jobs.into_iter().map(start).collect(), lines }
    }

    /// Whether all workers have ended.
    pub fn is_done(&self) -> bool {
        self.workers.iter().all(|worker| worker.thread.is_finished())
    }

    /// Whether any request has been granted.
    pub fn has_begun(&self) -> bool {
        self.lines.lock().unwrap().iter().any(|line| matches!(line.event, Event::Got { .. }))
    }

    /// Kills a worker at any moment of its work. `false` if none is left that can be killed.
    pub fn kill_one(&mut self, rng: &mut Rng) -> bool {
        let mut alive: Vec<&mut Worker> =
            self.workers.iter_mut().filter(|w| w.child.is_some() && !w.thread.is_finished()).collect();
        if alive.is_empty() {
            return false;
        }
        let at = rng.usize(..alive.len());
        let worker = &mut *alive[at];
        worker.is_killed = true;
        worker.child.as_mut().unwrap().kill().is_ok()
    }

    /// The lines of the ledger so far, in the order of time.
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = self.lines.lock().unwrap().clone();
        lines.sort_by_key(|line| line.at);
        lines
    }

    /// Waits for all workers. Gives their lines, and a fault for each worker that failed.
    pub fn finish(self) -> (Vec<Line>, Vec<Wrong>) {
        let lines = self.lines.clone();
        let mut wrongs = Vec::new();
        for worker in self.workers {
            let joined = worker.thread.join();
            let ended = worker.child.map(|mut child| child.wait().unwrap());
            let is_well = joined.is_ok() && ended.is_none_or(|status| status.success());
            let wrote = |line: &Line| line.worker == worker.number && line.event == Event::Ended;
            let ended_well = is_well && lines.lock().unwrap().iter().any(wrote);
            if !worker.is_killed && !ended_well {
                let what = format!("worker {} did not end well: {ended:?}", worker.number);
                wrongs.push(Wrong { what, about: Vec::new() });
            }
        }
        let mut lines = std::mem::take(&mut *lines.lock().unwrap());
        lines.sort_by_key(|line| line.at);
        (lines, wrongs)
    }
}

fn start_process(job: Job, reach: &Reach, lines: Arc<Mutex<Vec<Line>>>) -> Worker {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "running::another_process", "--nocapture", "--quiet", "--test-threads=1"])
        .env(JOB, serde_json::to_string(&job).unwrap())
        .env(REACH, serde_json::to_string(reach).unwrap())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let thread = thread::spawn(move || {
        for text in output.lines().map_while(Result::ok) {
            lines.lock().unwrap().extend(ledger::read(&text));
        }
    });
    Worker { number: job.worker, child: Some(child), thread, is_killed: false }
}

/// Not a test, but the work of the workers' processes. Does nothing without a job.
#[test]
fn another_process() {
    let (Ok(job), Ok(reach)) = (std::env::var(JOB), std::env::var(REACH)) else { return };
    let job: Job = serde_json::from_str(&job).unwrap();
    work(&job, &serde_json::from_str(&reach).unwrap(), &Ledger::of_process(job.worker));
}
