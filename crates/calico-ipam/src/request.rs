//! A request: what is asked, where it is served, and what of its work ADD and DEL share.

use std::time::Duration;

use api::capability::Backend;
use cni::host_lock::Held;
use cni::log::{Level, Log};
use cni::{CniError, Site, told};
use ipam::Planner;
use setup::{Clock, Reached};
use store::{AnyStore, ReadSet, Store, View};

use crate::ask::Ask;

/// The time of the work itself. It starts when the lock is taken: waiting must not eat it.
pub const WITHIN: Duration = Duration::from_secs(90);

/// A request that is being served.
pub struct Request<'a, S = AnyStore> {
    /// Where.
    pub site: &'a Site<S>,
    /// What is asked.
    pub ask: &'a Ask,
    /// The store.
    pub store: Reached<'a, S>,
    /// The log.
    pub log: Log<'a>,
}

impl<'a, S: Store> Request<'a, S> {
    /// Nothing is done yet.
    pub fn new(site: &'a Site<S>, ask: &'a Ask) -> Request<'a, S> {
        let log = Log::new(&site.log, "calico-ipam", site.clock, &ask.conf);
        Request { site, ask, store: site.reach_store(), log }
    }

    /// Tells what was found to be wrong with records; gives the answer of the request.
    ///
    /// # Errors
    /// That of the request.
    pub fn conclude<T>(&self, answer: Result<T, CniError>) -> Result<T, CniError> {
        told::tell(self.store.noted(), &self.log, answer)
    }

    /// Whether the datastore is Kubernetes, which has rules of its own.
    pub fn is_on_kubernetes(&self) -> bool {
        self.site.backend == Backend::Kubernetes
    }

    /// Takes the host's lock, or says why not and goes on without.
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

    /// Reads.
    ///
    /// # Errors
    /// Code 999, with the store's words.
    pub async fn read(&self, set: &ReadSet, deadline: Deadline) -> Result<View, CniError> {
        self.store.look(set, deadline.left()).await.map_err(CniError::internal)
    }

    /// Runs an operation.
    ///
    /// # Errors
    /// Code 999, with the operation's or the store's words.
    pub async fn run<P: Planner>(&self, planner: P, deadline: Deadline) -> Result<P::Answer, CniError>
    where
        P::Error: std::fmt::Display,
    {
        let run = ipam::run(&self.store, &self.site.clock, planner, deadline.left());
        run.await.map_err(CniError::internal)
    }

    /// The same, from what the planner reads first.
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

    /// When the work that begins now, with the lock taken, is to end.
    pub fn deadline(&self) -> Deadline {
        let clock = self.site.clock;
        Deadline { clock, end: clock.elapsed() + WITHIN }
    }
}

/// When the work is to end.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    clock: Clock,
    end: Duration,
}

impl Deadline {
    /// How much time there is.
    pub fn left(&self) -> Duration {
        self.end.saturating_sub(self.clock.elapsed())
    }
}
