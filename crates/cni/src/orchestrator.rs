//! What only Kubernetes knows, whatever the store is: pods, their namespaces and nodes, and the virtual
//! machines that run in them.

#[cfg(feature = "kubernetes")]
mod server;
#[cfg(not(feature = "kubernetes"))]
#[path = "orchestrator/no_server.rs"]
mod server;

use std::sync::OnceLock;

use setup::{Clock, Environment, Settings, SetupError};
use store::AnyStore;

pub use server::Kubernetes;
use server::Server;

/// Kubernetes as a site knows it. It is connected to when a request first asks for it: most never do.
pub struct Orchestrator {
    /// What leads to it.
    settings: Option<(Settings, Environment)>,
    /// `None` where nobody can be asked.
    server: OnceLock<Option<Server>>,
}

impl Orchestrator {
    /// The Kubernetes that the settings lead to; where the store is one, its connection serves for this, too.
    pub fn new(store: &AnyStore, settings: Settings, environment: &Environment) -> Orchestrator {
        match server::of(store) {
            Some(server) => Orchestrator { settings: None, server: Some(server).into() },
            None => Orchestrator { settings: Some((settings, environment.clone())), server: OnceLock::new() },
        }
    }

    /// Nobody can be asked.
    pub fn none() -> Orchestrator {
        Orchestrator { settings: None, server: None.into() }
    }

    /// Kubernetes, for one request; `None` where nobody can be asked.
    ///
    /// # Errors
    /// The settings do not lead to a server.
    pub fn reach(&self, clock: Clock) -> Result<Option<Kubernetes<'_>>, SetupError> {
        let server = match (self.server.get(), &self.settings) {
            (Some(server), _) => server,
            (None, None) => return Ok(None),
            (None, Some((settings, environment))) => {
                // One that fails is tried again by the next request: files of configuration change.
                let server = server::connect(settings, environment)?;
                self.server.get_or_init(|| server)
            }
        };
        Ok(server.as_ref().map(|server| Kubernetes::new(server, clock)))
    }
}
