//! A site: everything in serving requests that outlasts a single one. A plugin makes a site from its call's
//! configuration and serves one request with it. A long-running program keeps its site and serves many
//! requests, also at the same time.

use std::io::Write;
use std::time::Duration;

use api::capability::Backend;
use setup::reach::PATIENCE;
use setup::{Choice, Clock, ConnectOptions, Doubt, Environment, Purpose, Reached, Settings, SetupError};
use store::{AnyStore, Titles};

use crate::host_lock::HostLock;
use crate::log::Sink;
use crate::orchestrator::{Kubernetes, Orchestrator};

/// The resources that requests share. Nothing of a single request is in it.
pub struct Site<S = AnyStore> {
    /// The store of the allocator's records.
    pub store: S,
    /// Whether there is a store. Where there is none, `store` reads as an empty one, and only a DEL is
    /// served.
    pub is_begun: bool,
    /// The kind of store.
    pub backend: Backend,
    /// How the backend's messages call records.
    pub titles: Titles,
    /// How long the store may leave the first question of a request without an answer.
    pub patience: Duration,
    /// Kubernetes, for questions about pods and namespaces, whatever the store is.
    pub orchestrator: Orchestrator,
    /// The host's lock.
    pub lock: HostLock,
    /// The clock from which requests take the time.
    pub clock: Clock,
    /// Where the logs of all requests go.
    pub log: Sink,
}

impl Site {
    /// Opens a site with the chosen store, for a command of the protocol, and with the Kubernetes that the
    /// settings name. Sends nothing yet.
    ///
    /// DEL goes on whatever makes the choice uncertain, because a container has to end: where there is no
    /// store yet it holds nothing, and where there are two, it got its addresses from the embedded one,
    /// before the other appeared.
    ///
    /// # Errors
    /// When the store cannot be opened, also because it does not exist, and when it is not certain that the
    /// command may use it.
    pub fn open(
        choice: &Choice,
        command: &str,
        settings: Settings,
        environment: &Environment,
        lock: HostLock,
        clock: Clock,
        log: Sink,
    ) -> Result<Site, SetupError> {
        let purpose = if command == "ADD" { Purpose::Write } else { Purpose::Read };
        match choice.permit(purpose) {
            // If this cannot be written, nobody reads it.
            Ok(told) => drop(told.map(|told| writeln!(&log, "{told}"))),
            Err(_) if command == "DEL" => {}
            Err(error) => return Err(error),
        }
        let is_begun = !matches!(choice.doubt, Some(Doubt::NoStoreYet(_)));
        // A store that does not exist has no pools. An error that names the missing file is more useful than
        // one about pools.
        let options = if is_begun { ConnectOptions::existing() } else { ConnectOptions::default() };
        let store = setup::connect(&choice.datastore, options)?;
        let backend = choice.datastore.backend();
        let patience = match backend {
            // The embedded store has no server that could be unreachable. A process that locks the file is
            // waited for as long as there is time.
            Backend::Embedded => Duration::MAX,
            Backend::Etcd | Backend::Kubernetes => PATIENCE,
        };
        let titles = store.titles();
        let orchestrator = Orchestrator::new(&store, settings, environment);
        Ok(Site { store, is_begun, backend, titles, patience, orchestrator, lock, clock, log })
    }
}

impl<S> Site<S> {
    /// The store, for one request.
    pub fn reach_store(&self) -> Reached<'_, S> {
        Reached::new(&self.store, self.clock, self.patience)
    }

    /// Kubernetes, for one request; `None` where there is none.
    ///
    /// # Errors
    /// When the settings do not lead to a server.
    pub fn reach_kubernetes(&self) -> Result<Option<Kubernetes<'_>>, SetupError> {
        self.orchestrator.reach(self.clock)
    }
}
