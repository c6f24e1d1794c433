//! Where requests are served: all that outlasts one of them. A plugin makes a site of its call's
//! configuration and serves one request there; a program that stays keeps its site and serves many, also at
//! once.

use std::time::Duration;

use api::capability::Backend;
use setup::reach::PATIENCE;
use setup::{Clock, ConnectOptions, Datastore, Environment, Reached, Settings, SetupError};
use store::{AnyStore, Titles};

use crate::host_lock::HostLock;
use crate::log::Sink;
use crate::orchestrator::{Kubernetes, Orchestrator};

/// A site. Nothing of a single request is in it.
pub struct Site<S = AnyStore> {
    /// The store.
    pub store: S,
    /// Where its records are.
    pub backend: Backend,
    /// How the backend's messages call records.
    pub titles: Titles,
    /// How long the store may leave the first question of a request unanswered.
    pub patience: Duration,
    /// Kubernetes, whatever the store is.
    pub orchestrator: Orchestrator,
    /// The host's lock.
    pub lock: HostLock,
    /// The clock.
    pub clock: Clock,
    /// Where the logs of all requests go.
    pub log: Sink,
}

impl Site {
    /// The site of that store, which must be there, and of the Kubernetes that the settings lead to. Nothing
    /// is sent yet.
    ///
    /// # Errors
    /// Whatever keeps the store from opening.
    pub fn open(
        datastore: &Datastore,
        settings: Settings,
        environment: &Environment,
        lock: HostLock,
        clock: Clock,
        log: Sink,
    ) -> Result<Site, SetupError> {
        // A store that does not exist yet has no pools: the file's name is the better answer.
        let store = setup::connect(datastore, ConnectOptions::existing())?;
        let backend = datastore.backend();
        let patience = match backend {
            // There nobody is to be reached: whoever keeps the file to himself is waited for as long as there
            // is time.
            Backend::Embedded => Duration::MAX,
            Backend::Etcd | Backend::Kubernetes => PATIENCE,
        };
        let titles = store.titles();
        let orchestrator = Orchestrator::new(&store, settings, environment);
        Ok(Site { store, backend, titles, patience, orchestrator, lock, clock, log })
    }
}

impl<S> Site<S> {
    /// The store, for one request.
    pub fn reach_store(&self) -> Reached<'_, S> {
        Reached::new(&self.store, self.clock, self.patience)
    }

    /// Kubernetes, for one request; `None` where nobody can be asked.
    ///
    /// # Errors
    /// The settings do not lead to a server.
    pub fn reach_kubernetes(&self) -> Result<Option<Kubernetes<'_>>, SetupError> {
        self.orchestrator.reach(self.clock)
    }
}
