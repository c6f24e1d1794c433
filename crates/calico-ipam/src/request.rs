//! A request while it is served: what it asks, the site that serves it, and the steps that ADD and DEL share.

use std::time::Duration;

use api::capability::Backend;
use cni::host_lock::Held;
use cni::log::{Level, Log};
use cni::{CniError, Site, told};
use ipam::Planner;
use setup::{Clock, Reached};
use store::{AnyStore, ReadSet, Store, View};

use crate::ask::Ask;

/// How long the work of a request may take. The time starts when the lock is taken, so waiting for the lock
/// does not use it up.
pub const WITHIN: Duration = Duration::from_secs(90);

/// A request that is being served.
pub struct Request<'a, S = AnyStore> {
    /// The site that serves the request.
    pub site: &'a Site<S>,
    /// What the request asks.
    pub ask: &'a Ask,
    /// The store.
    pub store: Reached<'a, S>,
    /// The log of this request.
    pub log: Log<'a>,
}

impl<'a, S: Store> Request<'a, S> {
    /// Begins a request. Nothing is sent yet.
    pub fn new(site: &'a Site<S>, ask: &'a Ask) -> Request<'a, S> {
        let log = Log::new(&site.log, "calico-ipam", site.clock, &ask.conf);
        Request { site, ask, store: site.reach_store(), log }
    }

    /// Logs the records that could not be read. Gives the answer of the request.
    ///
    /// # Errors
    /// The request's own error.
    pub fn conclude<T>(&self, answer: Result<T, CniError>) -> Result<T, CniError> {
        told::tell(self.store.noted(), &self.log, answer)
    }

    /// Whether the datastore is Kubernetes, which has rules of its own.
    pub fn is_on_kubernetes(&self) -> bool {
        self.site.backend == Backend::Kubernetes
    }

    /// Takes the host's lock. If that fails, logs the reason and gives `None`: the request goes on without
    /// the lock.
    pub async fn lock(&self) -> Option<Held> {
        match self.site.lock.take().await {
            Ok(held) => Some(held),
            Err(error) => {
                let path = self.site.lock.path().display();
                self.log.say(Level::Error, format!("going on without the host's lock {path}: {error}"));
                None
            }
        }
    }

    /// Reads from the store.
    ///
    /// # Errors
    /// Code 999, with the store's error.
    pub async fn read(&self, set: &ReadSet, deadline: Deadline) -> Result<View, CniError> {
        self.store.look(set, deadline.left()).await.map_err(CniError::internal)
    }

    /// Runs an operation of the allocator.
    ///
    /// # Errors
    /// Code 999, with the operation's or the store's error.
    pub async fn run<P: Planner>(&self, planner: P, deadline: Deadline) -> Result<P::Answer, CniError>
    where
        P::Error: std::fmt::Display,
    {
        let run = ipam::run(&self.store, &self.site.clock, planner, deadline.left());
        run.await.map_err(CniError::internal)
    }

    /// As [`Request::run`], for a caller that has already read what the planner reads first.
    ///
    /// # Errors
    /// As [`Request::run`].
    pub async fn run_from<P: Planner>(
        &self,
        view: View,
        planner: P,
        deadline: Deadline,
    ) -> Result<P::Answer, CniError>
    where
        P::Error: std::fmt::Display,
    {
        let run = ipam::run_from(&self.store, &self.site.clock, planner, view, deadline.left());
        run.await.map_err(CniError::internal)
    }

    /// The deadline for work that begins now, after the lock was taken.
    pub fn deadline(&self) -> Deadline {
        let clock = self.site.clock;
        Deadline { clock, end: clock.elapsed() + WITHIN }
    }
}

/// The time at which the work must end.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    clock: Clock,
    end: Duration,
}

impl Deadline {
    /// How much time is left until the deadline.
    pub fn left(&self) -> Duration {
        self.end.saturating_sub(self.clock.elapsed())
    }
}
