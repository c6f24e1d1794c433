//! The allocator under test.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use api::{Family, HandleId, Owner, Timestamp, Use};
use fastrand::Rng;
use ipam::{AutoAssign, ReleaseAffinities, ReleaseByHandle, ReleaseIp, ReleaseIps, Which};
use setup::Clock;
use store::{Effects, Store};

use crate::worker::{Allocator, Job, Nothing, Request};

/// The real clock, and random numbers from a seed.
pub struct Real {
    clock: Clock,
    rng: Mutex<Rng>,
}

impl Real {
    pub fn new(seed: u64) -> Real {
        Real { clock: Clock::start(), rng: Mutex::new(Rng::with_seed(seed)) }
    }
}

impl Effects for Real {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    fn seed(&self) -> u64 {
        self.rng.lock().unwrap().u64(..)
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// The planners, run on a store.
pub struct Ours<'a, S> {
    store: &'a S,
    effects: Real,
    within: Duration,
}

impl<'a, S: Store> Ours<'a, S> {
    pub fn new(store: &'a S, job: &Job, within: Duration) -> Ours<'a, S> {
        Ours { store, effects: Real::new(job.seed ^ (job.worker as u64) << 32), within }
    }
}

impl<S: Store> Allocator for Ours<'_, S> {
    async fn assign(&self, request: &Request) -> Result<BTreeSet<IpAddr>, Nothing> {
        let wanted = AutoAssign {
            handle: Some(request.handle.clone()),
            attributes: request.attributes.clone(),
            v4: request.v4,
            v6: request.v6,
            all_or_nothing: true,
            ..AutoAssign::new(request.host.as_str(), Use::Workload)
        };
        let answer = ipam::run(self.store, &self.effects, wanted.planner(), self.within)
            .await
            .map_err(|error| Nothing::InDoubt(error.to_string()))?;
        let shortages: Vec<String> = Family::BOTH
            .into_iter()
            .filter_map(|family| answer.family(family).shortage(family, None))
            .collect();
        if !shortages.is_empty() {
            return Err(Nothing::Refused(shortages.join("; ")));
        }
        Ok(answer.v4.addresses.iter().chain(&answer.v6.addresses).map(|address| address.addr).collect())
    }

    async fn release(&self, handle: &HandleId) -> Result<(), String> {
        let release = ReleaseByHandle::new(vec![handle.clone()], None).planner();
        let answer = ipam::run(self.store, &self.effects, release, self.within).await;
        answer.map(|_| ()).map_err(|error| error.to_string())
    }

    async fn release_ip(&self, handle: &HandleId, addr: IpAddr) -> Result<(), String> {
        let ip = ReleaseIp { addr, handle: Some(handle.as_str().to_string()), sequence: None };
        let answer = ipam::run(self.store, &self.effects, ReleaseIps::new(vec![ip]).planner(), self.within)
            .await
            .map_err(|error| error.to_string())?;
        match answer.error {
            Some(error) => Err(error.to_string()),
            None if answer.released == [addr] => Ok(()),
            None => Err(format!("{addr} was not released: {answer:?}")),
        }
    }

    async fn release_blocks(&self, host: &str) -> Result<(), String> {
        let which = Which::Owner(Owner::Host(host.to_string()));
        let release = ReleaseAffinities { which, must_be_empty: true }.planner();
        let answer = ipam::run(self.store, &self.effects, release, self.within).await;
        answer.map(|_| ()).map_err(|error| error.to_string())
    }
}
