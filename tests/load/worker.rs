//! A worker: asks for addresses, gives some back, and writes the answers to the ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use api::HandleId;
use fastrand::Rng;
use serde::{Deserialize, Serialize};
use setup::Clock;
use store::Store;
use store::testing::{Chances, FaultPlan, Faulty};

use crate::calico::{Calico, Objects, Transactions};
use crate::environment::{Reach, block_on};
use crate::ledger::{Event, Ledger};
use crate::ours::Ours;
use crate::plugin::Plugin;
use crate::traced::Traced;

/// The environment variable that holds a process's job.
pub const JOB: &str = "RACKPOOL_LOAD_JOB";

/// A worker that holds more handles than this gives one back after every request. Otherwise long runs would
/// find only full pools.
const MOST_HELD: usize = 8;

/// The code that a worker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Author {
    /// This program's planners, on a store.
    Ours,
    /// The tests' allocator that writes as Calico's does, on a store.
    Calico,
    /// The program `calico-ipam`, one process for each request.
    Plugin,
    /// The programs `calico-ipam` of two releases, in turns: what one assigns, the other gives back.
    TwoReleases,
}

impl Author {
    /// Whether requests are calls of a plugin's program.
    fn is_program(self) -> bool {
        matches!(self, Author::Plugin | Author::TwoReleases)
    }
}

/// How often the worker's own calls fail, per thousand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    pub read_fails: u32,
    pub unsent: u32,
    pub reply_lost: u32,
    pub crash: u32,
    /// Batches are applied write by write, as a store without transactions does.
    pub one_by_one: bool,
}

/// The job of a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    pub worker: usize,
    pub author: Author,
    pub seed: u64,
    /// The hosts for which the worker works.
    pub hosts: Vec<String>,
    /// How many requests the worker makes.
    pub requests: u32,
    /// The time limit of a request, in milliseconds.
    pub within: u64,
    /// The longest time that the worker waits between requests, in milliseconds.
    pub pause: u64,
    pub faults: Option<Faults>,
    /// Handles whose addresses the worker gives back, instead of asking for any.
    pub give_back: Vec<String>,
}

/// A request for addresses.
#[derive(Clone, Debug)]
pub struct Request {
    pub host: String,
    pub handle: HandleId,
    pub attributes: BTreeMap<String, String>,
    pub v4: u32,
    pub v6: u32,
}

/// Why a request got no address.
pub enum Nothing {
    /// The handle certainly holds nothing.
    Refused(String),
    /// It is not known what the handle holds.
    InDoubt(String),
}

/// An allocator under test. Its answers are those that the caller of a CNI plugin gets: all of the addresses,
/// or an error.
pub trait Allocator {
    async fn assign(&self, request: &Request) -> Result<BTreeSet<IpAddr>, Nothing>;
    /// Releases all addresses of a handle. It is no error if the handle does not exist.
    async fn release(&self, handle: &HandleId) -> Result<(), String>;
    /// Releases one address of a handle.
    async fn release_ip(&self, handle: &HandleId, addr: IpAddr) -> Result<(), String>;
    /// Releases the empty blocks of a host.
    async fn release_blocks(&self, host: &str) -> Result<(), String>;
}

/// Does a job on the store that `reach` leads to.
pub fn work(job: &Job, reach: &Reach, ledger: &Ledger) {
    let (life, within) = (Life::default(), Duration::from_millis(job.within));
    match (job.author, reach) {
        (author, _) if author.is_program() => {
            block_on(labour(&Plugin::new(author, reach, ledger), job, ledger, &life));
        }
        (Author::Calico, Reach::Kubernetes { kubeconfig, group, .. }) => block_on(async {
            let records = &Objects::open(kubeconfig, *group, within, ledger);
            labour(&Calico { records, clock: Clock::start(), ledger }, job, ledger, &life).await;
        }),
        _ => work_on(reach.open(), job, ledger),
    }
}

/// Does a job on a store.
pub fn work_on<S: Store + 'static>(store: S, job: &Job, ledger: &Ledger) {
    match job.faults {
        None => with_store(Traced { inner: store, ledger: ledger.clone() }, job, ledger, &Life::default()),
        Some(faults) => {
            let Faults { read_fails, unsent, reply_lost, crash, one_by_one } = faults;
            let plan = FaultPlan {
                seed: job.seed ^ job.worker as u64,
                one_by_one,
                guards: !one_by_one,
                split_reads: one_by_one,
                chances: Chances { read_fails, unsent, reply_lost, crash, ..Chances::default() },
                ..FaultPlan::default()
            };
            let faulty = Faulty::new(store, plan);
            let traced = Traced { inner: faulty.clone(), ledger: ledger.clone() };
            let again = faulty.clone();
            let life = Life {
                is_crashed: Box::new(move || faulty.is_crashed()),
                revive: Box::new(move || again.revive()),
            };
            with_store(traced, job, ledger, &life);
        }
    }
}

/// The life of a worker that crashes by plan: a crash ends the request at hand, and the worker starts again
/// with the next one.
struct Life {
    is_crashed: Box<dyn Fn() -> bool>,
    revive: Box<dyn Fn()>,
}

impl Default for Life {
    /// A worker that never crashes.
    fn default() -> Life {
        Life { is_crashed: Box::new(|| false), revive: Box::new(|| {}) }
    }
}

impl Life {
    /// Works until the work is done, or until a crash. After a crash, gives what `crashed` makes of its
    /// description.
    async fn lead<T>(&self, work: impl Future<Output = T>, crashed: impl FnOnce(String) -> T) -> T {
        let crash = async {
            while !(self.is_crashed)() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let answer = tokio::select! {
            answer = work => answer,
            () = crash => crashed("the worker has crashed".to_string()),
        };
        (self.revive)();
        answer
    }
}

fn with_store<S: Store>(store: Traced<S>, job: &Job, ledger: &Ledger, life: &Life) {
    let within = Duration::from_millis(job.within);
    block_on(async {
        match job.author {
            Author::Calico => {
                let records = &Transactions { store: &store, within };
                let calico = Calico { records, clock: Clock::start(), ledger };
                labour(&calico, job, ledger, life).await;
            }
            _ => labour(&Ours::new(&store, job, within), job, ledger, life).await,
        }
    });
}

async fn labour(allocator: &impl Allocator, job: &Job, ledger: &Ledger, life: &Life) {
    let mut rng = Rng::with_seed(job.seed.wrapping_mul(31).wrapping_add(job.worker as u64));
    for id in &job.give_back {
        give_back(allocator, ledger, life, &HandleId::new(id).unwrap()).await;
    }
    let mut held: Vec<(HandleId, BTreeSet<IpAddr>)> = Vec::new();
    for number in 0..job.requests {
        pause(&mut rng, job).await;
        let request = draw(&mut rng, job, number);
        let handle = request.handle.as_str().to_string();
        let count = request.v4 + request.v6;
        ledger.write(Event::Asks { handle: handle.clone(), host: request.host.clone(), count });
        match life.lead(allocator.assign(&request), |reason| Err(Nothing::InDoubt(reason))).await {
            Ok(addresses) => {
                ledger.write(Event::Got { handle, addresses: addresses.clone() });
                held.push((request.handle, addresses));
            }
            Err(Nothing::Refused(reason)) => ledger.write(Event::Refused { handle, reason }),
            Err(Nothing::InDoubt(reason)) => ledger.write(Event::Failed { handle, reason }),
        }
        if held.len() > MOST_HELD || !held.is_empty() && rng.u32(..100) < 45 {
            let (handle, mut addresses) = held.swap_remove(rng.usize(..held.len()));
            let addr = *rng.choice(&addresses).unwrap();
            if addresses.len() > 1 && !job.author.is_program() && rng.bool() {
                if give_back_one(allocator, ledger, life, &handle, addr).await {
                    addresses.remove(&addr);
                    held.push((handle, addresses));
                }
            } else {
                give_back(allocator, ledger, life, &handle).await;
            }
        }
        if rng.u32(..100) < 10 {
            let host = rng.choice(&job.hosts).unwrap();
            // A failure is only noted, as this is no request for addresses.
            if let Err(error) = life.lead(allocator.release_blocks(host), Err).await {
                ledger.write(Event::Did(format!("the blocks of {host} are not released: {error}")));
            }
        }
    }
    ledger.write(Event::Ended);
}

async fn pause(rng: &mut Rng, job: &Job) {
    tokio::time::sleep(Duration::from_millis(rng.u64(..=job.pause))).await;
}

fn draw(rng: &mut Rng, job: &Job, number: u32) -> Request {
    let host = rng.choice(&job.hosts).unwrap().clone();
    let id = format!("load-{:x}.{}.{number}.c", job.seed & 0xffff, job.worker);
    let (v4, v6) = match rng.u32(..10) {
        0 => (3, 0),
        1 | 2 => (1, 1),
        3 => (0, 1),
        _ => (1, 0),
    };
    let pod = format!("pod-{number}");
    let attributes = [("node", host.as_str()), ("pod", &pod), ("namespace", "load")];
    let attributes = attributes.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Request { host, handle: HandleId::new(&id).unwrap(), attributes, v4, v6 }
}

async fn give_back(allocator: &impl Allocator, ledger: &Ledger, life: &Life, handle: &HandleId) {
    let name = handle.as_str().to_string();
    ledger.write(Event::Returns { handle: name.clone(), addresses: BTreeSet::new() });
    ledger.write(match life.lead(allocator.release(handle), Err).await {
        Ok(()) => Event::Returned { handle: name },
        Err(reason) => Event::NotReturned { handle: name, reason },
    });
}

async fn give_back_one(
    allocator: &impl Allocator,
    ledger: &Ledger,
    life: &Life,
    handle: &HandleId,
    addr: IpAddr,
) -> bool {
    let name = handle.as_str().to_string();
    ledger.write(Event::Returns { handle: name.clone(), addresses: BTreeSet::from([addr]) });
    let answer = life.lead(allocator.release_ip(handle, addr), Err).await;
    let is_done = answer.is_ok();
    ledger.write(match answer {
        Ok(()) => Event::Returned { handle: name },
        Err(reason) => Event::NotReturned { handle: name, reason },
    });
    is_done
}
