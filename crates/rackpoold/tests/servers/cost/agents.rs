//! Agents without a kernel: the feed, the world and the plan of the real one, each with a connection of its
//! own.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rackpoold::node::Shape;
use rackpoold::node::feed::Feed;
use rackpoold::node::world::World;
use routes::{Aggregation, Known};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::cluster::{Cluster, name};
use super::meter::Meter;

pub struct SimulatedAgent {
    pub meter: Meter,
    told: Arc<Told>,
    task: JoinHandle<()>,
}

/// What an agent has done so far.
#[derive(Default)]
struct Told {
    events: AtomicUsize,
    plans: AtomicUsize,
    routes: AtomicUsize,
}

impl Drop for SimulatedAgent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl SimulatedAgent {
    async fn start(cluster: &Cluster, nth: usize, known: Known, is_short: bool) -> SimulatedAgent {
        let meter = Meter::start(cluster.address()).await;
        let store = Arc::new(cluster.open_at(meter.address()));
        let told = Arc::<Told>::default();
        let progress = told.clone();
        let task = tokio::spawn(async move {
            let shape = Shape { aggregation: Aggregation::Off, via: Vec::<IpAddr>::new(), rack_label: None };
            let (name, mut world) = (name(nth), World::new(&name(nth), known));
            let mut feed = Feed::new(&store, is_short);
            let mut is_due = false;
            loop {
                feed.follow(world.scopes());
                let (scope, event) = feed.next().await;
                is_due |= world.take(&scope, event);
                while let Some((scope, event)) = feed.ready() {
                    progress.events.fetch_add(1, Ordering::SeqCst);
                    is_due |= world.take(&scope, event);
                }
                progress.events.fetch_add(1, Ordering::SeqCst);
                if is_due && world.is_complete() {
                    is_due = false;
                    let (desired, _) = shape.desired(&world.snapshot, &name, None).unwrap();
                    progress.routes.store(desired.routes.len(), Ordering::SeqCst);
                    progress.plans.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        SimulatedAgent { meter, told, task }
    }

    pub fn events(&self) -> usize {
        self.told.events.load(Ordering::SeqCst)
    }

    pub fn plans(&self) -> usize {
        self.told.plans.load(Ordering::SeqCst)
    }

    pub fn routes(&self) -> usize {
        self.told.routes.load(Ordering::SeqCst)
    }
}

/// An agent for each of the first nodes, once all of them have a plan with that many routes. `is_short` is
/// the feed's.
pub async fn start(
    cluster: &Cluster,
    count: usize,
    known: Known,
    is_short: bool,
    routes: usize,
) -> Vec<SimulatedAgent> {
    let mut agents = Vec::new();
    for nth in 0..count {
        agents.push(SimulatedAgent::start(cluster, nth, known, is_short).await);
    }
    until("every agent has a plan", || agents.iter().all(|agent| agent.routes() == routes)).await;
    agents
}

pub async fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(300);
    while !is_so() {
        assert!(Instant::now() < end, "{what}: not in time");
        sleep(Duration::from_millis(20)).await;
    }
}
