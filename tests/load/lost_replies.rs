//! For every commit of a request: if its reply is lost, or if it never arrives, no address is assigned twice,
//! and none is lost.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::HandleId;
use servers::proxy::Proxy;
use setup::Clock;
use store::AnyStore;
use store::testing::etcd_client;

use crate::environment::{Environment, block_on, set_up_racks};
use crate::etcd_faults::needs_etcd;
use crate::ledger::{Event, Ledger, Line};
use crate::losing::{Losing, Loss};
use crate::ours::Ours;
use crate::proof::{Wrong, check, demand};
use crate::traced::Traced;
use crate::worker::{Allocator, Author, Job, Nothing, Request};

/// The request of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scenario {
    /// An address for a host without a block.
    FirstBlock,
    /// An address for a host whose block has free addresses.
    Warm,
    /// An address of each family.
    BothFamilies,
    /// More addresses than one block has.
    ThreeBlocks,
    /// Releasing all addresses of a handle.
    Release,
    /// Releasing one of several addresses of a handle.
    ReleaseIp,
}

/// A test's store, and the worker that uses it.
struct Stage {
    environment: Environment,
    lines: Arc<Mutex<Vec<Line>>>,
    next: Cell<u32>,
}

const WITHIN: Duration = Duration::from_secs(20);

fn job() -> Job {
    Job {
        worker: 0,
        author: Author::Ours,
        seed: 1,
        hosts: Vec::new(),
        requests: 0,
        within: WITHIN.as_millis() as u64,
        pause: 0,
        faults: None,
        give_back: Vec::new(),
    }
}

impl Stage {
    fn new(members: usize) -> Stage {
        Stage { environment: Environment::etcd(members), lines: Default::default(), next: Cell::new(0) }
    }

    fn ledger(&self) -> Ledger {
        Ledger::shared(0, self.lines.clone())
    }

    fn proxies(&self) -> &[Proxy] {
        match &self.environment {
            Environment::Etcd { proxies, .. } => proxies,
            _ => unreachable!("the stage is etcd"),
        }
    }

    async fn direct(&self) -> etcd_client::Client {
        match &self.environment {
            Environment::Etcd { cluster, .. } => {
                etcd_client::Client::connect(cluster.endpoints(), None).await.unwrap()
            }
            _ => unreachable!("the stage is etcd"),
        }
    }

    /// The store, which loses its nth commit.
    async fn losing<'a>(&'a self, loss: Loss, nth: usize, count: &'a AtomicUsize) -> Losing<'a, AnyStore> {
        Losing {
            inner: self.environment.reach(0).unwrap().open(),
            loss,
            nth,
            count,
            proxies: self.proxies(),
            direct: self.direct().await,
            on_its_way: Mutex::default(),
        }
    }

    /// Resets the store to the racks alone, and forgets the worker's requests.
    async fn clear(&self) {
        let all = etcd_client::DeleteOptions::new().with_prefix();
        self.direct().await.delete("/calico/", Some(all)).await.unwrap();
        set_up_racks(&self.environment.reach(0).unwrap().open()).await;
        self.lines.lock().unwrap().clear();
    }

    fn request(&self, v4: u32, v6: u32) -> Request {
        let number = self.next.replace(self.next.get() + 1);
        let attributes = [("node", "n0"), ("pod", "p"), ("namespace", "load")];
        Request {
            host: "n0".to_string(),
            handle: HandleId::new(&format!("load-lost.{number}.")).unwrap(),
            attributes: attributes
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
            v4,
            v6,
        }
    }

    async fn assign(&self, allocator: &impl Allocator, request: &Request) -> BTreeSet<IpAddr> {
        let (ledger, handle) = (self.ledger(), request.handle.as_str().to_string());
        let count = request.v4 + request.v6;
        ledger.write(Event::Asks { handle: handle.clone(), host: request.host.clone(), count });
        match allocator.assign(request).await {
            Ok(addresses) => {
                assert_eq!(addresses.len(), count as usize);
                ledger.write(Event::Got { handle, addresses: addresses.clone() });
                addresses
            }
            Err(Nothing::Refused(reason) | Nothing::InDoubt(reason)) => {
                self.fail(format!("{handle} gets nothing: {reason}"))
            }
        }
    }

    fn fail(&self, what: String) -> ! {
        let lines = self.lines.lock().unwrap().clone();
        demand(1, "lost", &[Wrong { what, about: Vec::new() }], &lines);
        unreachable!("there is something wrong")
    }

    fn check(&self, what: &str) {
        let lines = self.lines.lock().unwrap().clone();
        let dump = self.environment.dump();
        demand(1, what, &check(&lines, &dump, 0), &lines);
    }

    /// Runs a scenario with its nth commit lost. Gives whether the scenario had that many commits.
    async fn play(&self, scenario: Scenario, loss: Loss, nth: usize) -> bool {
        self.clear().await;
        let sound = self.environment.reach(0).unwrap().open();
        let sound = Traced { inner: sound, ledger: self.ledger() };
        let sound = Ours::new(&sound, &job(), WITHIN);
        let before = match scenario {
            Scenario::FirstBlock | Scenario::BothFamilies | Scenario::ThreeBlocks => None,
            Scenario::Warm => Some(self.request(1, 0)),
            Scenario::Release | Scenario::ReleaseIp => Some(self.request(10, 1)),
        };
        let mut held = BTreeSet::new();
        if let Some(before) = &before {
            held = self.assign(&sound, before).await;
        }

        let count = AtomicUsize::new(0);
        let store = Traced { inner: self.losing(loss, nth, &count).await, ledger: self.ledger() };
        let losing = Ours::new(&store, &job(), WITHIN);
        match (scenario, before) {
            (Scenario::Release, Some(Request { handle, .. })) => {
                let name = handle.as_str().to_string();
                self.ledger().write(Event::Returns { handle: name.clone(), addresses: BTreeSet::new() });
                losing.release(&handle).await.unwrap_or_else(|error| self.fail(error));
                self.ledger().write(Event::Returned { handle: name });
            }
            (Scenario::ReleaseIp, Some(Request { handle, .. })) => {
                let (name, addr) = (handle.as_str().to_string(), *held.first().unwrap());
                let addresses = BTreeSet::from([addr]);
                self.ledger().write(Event::Returns { handle: name.clone(), addresses });
                losing.release_ip(&handle, addr).await.unwrap_or_else(|error| self.fail(error));
                self.ledger().write(Event::Returned { handle: name });
            }
            (Scenario::BothFamilies, _) => drop(self.assign(&losing, &self.request(1, 1)).await),
            (Scenario::ThreeBlocks, _) => drop(self.assign(&losing, &self.request(20, 0)).await),
            _ => drop(self.assign(&losing, &self.request(1, 0)).await),
        }
        store.inner.arrive().await;
        count.load(Ordering::Relaxed) > nth
    }
}

fn every_commit_of_every_scenario(members: usize) {
    let stage = Stage::new(members);
    for scenario in [
        Scenario::FirstBlock,
        Scenario::Warm,
        Scenario::BothFamilies,
        Scenario::ThreeBlocks,
        Scenario::Release,
        Scenario::ReleaseIp,
    ] {
        for loss in [Loss::Reply, Loss::Request, Loss::Late, Loss::VeryLate] {
            let mut nth = 0;
            while block_on(stage.play(scenario, loss, nth)) {
                stage.check(&format!("{scenario:?}, {loss:?} of commit {nth} lost"));
                nth += 1;
            }
            assert!(nth > 0, "{scenario:?} commits something");
        }
    }
}

#[test]
fn of_one_member() {
    needs_etcd!();
    every_commit_of_every_scenario(1);
}

#[test]
fn of_a_cluster() {
    needs_etcd!();
    every_commit_of_every_scenario(3);
}

/// Without a reply or a broken connection, the request still ends in time. While it gives up, it gives back
/// what it got.
#[test]
fn silence_ends_the_request_in_time() {
    needs_etcd!();
    let stage = Stage::new(1);
    let within = Duration::from_millis(1500);
    let took = block_on(async {
        let count = AtomicUsize::new(0);
        let losing = stage.losing(Loss::Silence, 0, &count).await;
        let losing = Traced { inner: losing, ledger: stage.ledger() };
        let ours = Ours::new(&losing, &job(), within);
        let request = stage.request(1, 0);
        let handle = request.handle.as_str().to_string();
        stage.ledger().write(Event::Asks { handle: handle.clone(), host: request.host.clone(), count: 1 });
        let clock = Clock::start();
        let answer = ours.assign(&request).await;
        let Err(Nothing::InDoubt(reason)) = answer else { panic!("it was answered") };
        assert!(!reason.is_empty());
        // From here on, the worker counts as having been told that it holds nothing; the store must agree.
        stage.ledger().write(Event::Refused { handle, reason });
        clock.elapsed()
    });
    assert!(took < within + Duration::from_secs(6), "{took:?}");
    stage.check("nothing is left of a request that gave up");
}
