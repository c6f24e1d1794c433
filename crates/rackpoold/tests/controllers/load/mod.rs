//! Many pods die at once, servers and leaders die, a leader is paused: nothing that lives is freed,
//! everything dead is, and it costs little.

mod city;
mod spent;

use std::time::{Duration, Instant};

use cluster_data::Size;
use rustix::process::Signal;
use servers::{etcd_server, kube_server};
use tokio::sync::Mutex;

use self::city::City;
use self::spent::{Asked, all_are_watched, spent};
use crate::frame::ACCOUNT;
use crate::process::{Process, get, until};

/// How soon after a leader is gone another leads.
const TAKEN_OVER: Duration = Duration::from_secs(15);
/// How soon a leader that goes on has noticed that another leads, and what it was doing is over.
const NOTICED: Duration = Duration::from_secs(2);

/// What happens after many have died at once.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The server is killed, and is away for a while.
    PowerCut,
    /// The leader is killed.
    Killed,
    /// The leader is paused, and goes on when another leads.
    Paused,
    /// Nodes go, with what runs there.
    NodesGone,
}

/// How much is loaded on the controllers.
#[derive(Clone, Copy, Debug)]
struct Load {
    size: Size,
    /// How many workloads die at once: two of each node concerned. In each fault it is half as many or fewer.
    dying: u32,
    /// How many nodes go.
    nodes: u32,
    faults: &'static [Fault],
    grace: Duration,
    /// How long a leader is paused at least.
    paused: Duration,
    /// How long the server is away.
    away: Duration,
    /// How long anything may take on a busy machine.
    patience: Duration,
    /// How many megabytes a replica may take.
    most_megabytes: u64,
}

const SMALL: Load = Load {
    size: Size { nodes: 50, blocks: 50, addresses: 300, pods: 300 },
    dying: 60,
    nodes: 0,
    faults: &[Fault::PowerCut, Fault::Killed],
    grace: Duration::from_secs(1),
    paused: Duration::ZERO,
    away: Duration::ZERO,
    patience: Duration::from_secs(30),
    most_megabytes: 300,
};

const LARGE: Load = Load {
    size: Size { nodes: 5_000, blocks: 5_000, addresses: 20_000, pods: 20_000 },
    dying: 1_000,
    nodes: 20,
    faults: &[Fault::PowerCut, Fault::Killed, Fault::Paused, Fault::NodesGone],
    grace: Duration::from_secs(10),
    paused: Duration::from_secs(20),
    away: Duration::from_secs(10),
    patience: Duration::from_secs(300),
    most_megabytes: 300,
};

/// The variable that makes the large cluster that many times smaller.
const PART: &str = "RACKPOOL_LOAD_PART";
/// Large clusters are loaded one after another.
static ALONE: Mutex<()> = Mutex::const_new(());

/// The large load, or a part of it.
fn large() -> Load {
    let Ok(part) = std::env::var(PART) else { return LARGE };
    let part = part.parse().unwrap_or_else(|_| panic!("{PART} is a number, not {part}"));
    Load { size: LARGE.size.divided_by(part), dying: LARGE.dying / part, nodes: LARGE.nodes / part, ..LARGE }
}

/// What dies in which fault.
const AT_ONCE: usize = 0;
const POWER_CUT: usize = 1;
const KILLED: usize = 2;
const PAUSED: usize = 3;
const NODES: usize = 4;

impl Load {
    fn batch(self, node: u32, ordinal: u32) -> Option<usize> {
        let Load { dying, .. } = self;
        let part = match (node, ordinal) {
            (node, _) if node >= self.size.nodes - self.nodes => NODES,
            (node, 0 | 1) if node < dying / 2 => AT_ONCE,
            (node, 2) if node < dying / 4 => POWER_CUT,
            (node, 2) if node < dying / 2 => KILLED,
            (node, 0) if node < dying / 2 + dying / 4 => PAUSED,
            _ => return None,
        };
        Some(part)
    }
}

fn leads(process: &Process) -> bool {
    let log = process.log();
    log.rfind("this process leads, and works") > log.rfind("this process leads no more")
}

fn is_ready(process: &Process) -> bool {
    get(process.health, "/readiness").is_some_and(|(code, _)| code == 200)
}

/// Prints what a replica has spent, and checks that it took no more memory than it may.
fn told(load: Load, name: &str, process: &Process) {
    let (seconds, megabytes) = spent(process);
    println!("{name}: {seconds:.2} s of CPU, at most {megabytes} MB");
    assert!(megabytes <= load.most_megabytes, "{name} took {megabytes} MB");
}

async fn load(load: Load, city: &mut City) {
    let begun = Instant::now();
    let tell = |what: &str| println!("{:6.1} s: {what}", begun.elapsed().as_secs_f64());
    let mut replicas = vec![city.replica("first")];
    until("the first leads", load.patience, || leads(&replicas[0]));
    replicas.push(city.replica("second"));
    until("the second stands by", load.patience, || is_ready(&replicas[1]));
    until("all is watched", load.patience, || {
        let server = city.town.server.as_ref();
        server.is_none_or(|server| all_are_watched(&server.requests_of(ACCOUNT)))
    });
    // The first pass: nothing is to be done.
    tokio::time::sleep(Duration::from_secs(1)).await;
    tell("two replicas");

    many_at_once(load, city, &replicas).await;
    tell("many have died at once");
    let log = replicas[0].log();
    assert!(!log.contains("this process leads no more"), "its own work keeps it from leading:\n{log}");
    for fault in load.faults {
        match fault {
            Fault::PowerCut => power_cut(load, city, &replicas).await,
            Fault::Killed => killed(load, city, &mut replicas).await,
            Fault::Paused => paused(load, city, &replicas).await,
            Fault::NodesGone => nodes_gone(load, city, &replicas).await,
        }
        tell(&format!("{fault:?} was survived"));
    }
    assert_eq!(city.assigned().await, city.living);
    let mut said = String::new();
    until("nothing is wrong", load.patience, || {
        let (is_clean, checked) = city.check();
        said = checked;
        is_clean
    });
    assert!(said.contains("Check complete; found 0 problems."), "{said}");
    replicas.iter().for_each(|replica| told(load, "at the end", replica));
}

/// Where the leader is in the list. A server that was away for longer than a claim lasts takes the place from
/// whoever had it, for a while.
fn leader(load: Load, replicas: &[Process]) -> usize {
    let mut leader = None;
    until("one leads", load.patience, || {
        leader = replicas.iter().position(leads);
        leader.is_some()
    });
    leader.unwrap()
}

async fn power_cut(load: Load, city: &mut City, replicas: &[Process]) {
    let deleted = Instant::now();
    city.delete(POWER_CUT).await;
    city.power_cut(load.away);
    let back = Instant::now();
    let freed = city.freed(deleted + load.grace, load.patience, replicas).await;
    println!("those who died before the server did were free {:?} after it was back", freed - back);
}

/// Leaves two replicas: another is started.
async fn killed(load: Load, city: &mut City, replicas: &mut Vec<Process>) {
    let leader = replicas.swap_remove(leader(load, replicas));
    told(load, "the leader that is killed", &leader);
    let at = Instant::now();
    leader.signal(Signal::KILL);
    drop(leader);
    city.delete(KILLED).await;
    until("another takes over", TAKEN_OVER, || leads(&replicas[0]));
    println!("the leader was killed, and another led after {:?}", at.elapsed());
    city.freed(at + load.grace, load.patience, replicas).await;
    replicas.push(city.replica("third"));
    until("the third stands by", load.patience, || is_ready(&replicas[1]));
}

async fn nodes_gone(load: Load, city: &mut City, replicas: &[Process]) {
    let gone = city.batch(NODES).to_vec();
    let (at, count) = (Instant::now(), load.size.nodes);
    city.delete_nodes(count - load.nodes..count).await;
    city.die(&gone);
    let freed = city.freed(at, load.patience, replicas).await;
    println!("what {} nodes had was free after {:?}", load.nodes, freed - at);
}

/// Many die at once. Their addresses are free after their grace, by few writes and no list.
async fn many_at_once(load: Load, city: &mut City, replicas: &[Process]) {
    let requests = |city: &City| city.town.server.as_ref().map(|server| server.requests_of(ACCOUNT));
    let (before, handled) = (requests(city), city.handled());
    let deleted = Instant::now();
    city.delete(AT_ONCE).await;
    let took = deleted.elapsed();
    let freed = city.freed(deleted + load.grace, load.patience, replicas).await;
    let dead = city.batch(AT_ONCE).len();
    println!("{dead} were deleted in {took:?}; all were free {:?} after the first deletion", freed - deleted);
    // What goes with the handles.
    tokio::time::sleep(Duration::from_secs(1)).await;
    if let (Some(before), Some(after)) = (before, requests(city)) {
        let asked = Asked::of(&after[before.len()..]);
        println!("{asked:?}");
        assert!(asked.blocks <= dead / 2, "one write a block: {asked:?}");
        assert!(asked.handles <= 2 * dead, "two writes a handle: {asked:?}");
        assert!(asked.lists.is_empty(), "a watch has told that: {asked:?}");
    }
    if let (Some(before), Some(after)) = (handled, city.handled()) {
        let txns = after["Txn"] - before.get("Txn").unwrap_or(&0);
        println!("{dead} dead in {} blocks: {txns} transactions", dead / 2);
    }
}

/// The leader is paused when its work is due; another takes over. Those who died are made anew under their
/// names meanwhile. When the paused one goes on, it does no harm.
async fn paused(load: Load, city: &mut City, replicas: &[Process]) {
    let leading = leader(load, replicas);
    let (leader, other) = (&replicas[leading], &replicas[1 - leading]);
    let at = Instant::now();
    city.delete(PAUSED).await;
    tokio::time::sleep((at + load.grace).saturating_duration_since(Instant::now())).await;
    leader.signal(Signal::STOP);
    let (stopped, before) = (Instant::now(), leader.log());
    let anew = city.batch(PAUSED).to_vec();
    for old in &anew {
        city.make_anew(old).await;
    }
    until("another takes over from a paused one", TAKEN_OVER, || leads(other));
    println!("the leader was paused, and another led after {:?}", stopped.elapsed());
    city.freed(at, load.patience, replicas).await;
    tokio::time::sleep((stopped + load.paused).saturating_duration_since(Instant::now())).await;
    leader.signal(Signal::CONT);
    let after = || leader.log().split_off(before.len());
    until("it leads no more", load.patience, || after().contains("this process leads no more"));
    tokio::time::sleep(NOTICED).await;
    city.freed(at, load.patience, replicas).await;
    let released = after().matches("released an address").count();
    println!("the paused one tells of {released} addresses that it released when it went on");
    assert!(!anew.is_empty() && leads(other) && !leads(leader), "{}", after());
}

async fn on_kubernetes(of: Load) {
    if kube_server::is_left_out() {
        return;
    }
    let mut city = City::on_kubernetes(of.size, of.grace, &|node, ordinal| of.batch(node, ordinal));
    load(of, &mut city).await;
}

async fn on_etcd(of: Load) {
    if etcd_server::is_left_out() {
        return;
    }
    let mut city = City::on_etcd(of.size, of.grace, &|node, ordinal| of.batch(node, ordinal));
    load(of, &mut city).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_cluster_on_kubernetes() {
    on_kubernetes(SMALL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_leader_on_kubernetes() {
    on_kubernetes(Load { faults: &[Fault::Paused], ..SMALL }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_cluster_on_etcd() {
    on_etcd(Load { faults: &[Fault::PowerCut, Fault::Killed, Fault::Paused], ..SMALL }).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "nightly: 5,000 nodes and 20,000 pods on an API server"]
async fn a_large_cluster_on_kubernetes() {
    let _alone = ALONE.lock().await;
    on_kubernetes(large()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "nightly: 5,000 nodes and 20,000 pods on etcd"]
async fn a_large_cluster_on_etcd() {
    let _alone = ALONE.lock().await;
    on_etcd(large()).await;
}
