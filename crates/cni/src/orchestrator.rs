//! The access to what only Kubernetes knows, whatever the store is: pods, their namespaces and nodes, and the
//! virtual machines that run in pods.

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

/// The Kubernetes of a site. It is connected only when a request first needs it, as most requests never do.
pub struct Orchestrator {
    /// The settings for connecting; `None` where no connection has to be made.
    settings: Option<(Settings, Environment)>,
    /// The connection once it was made; `Some(None)` where there is no Kubernetes.
    server: OnceLock<Option<Server>>,
}

impl Orchestrator {
    /// The Kubernetes that the settings name. If the store is that Kubernetes, the store's connection is
    /// used.
    pub fn new(store: &AnyStore, settings: Settings, environment: &Environment) -> Orchestrator {
        match server::of(store) {
            Some(server) => Orchestrator { settings: None, server: Some(server).into() },
            None => Orchestrator { settings: Some((settings, environment.clone())), server: OnceLock::new() },
        }
    }

    /// For a site without Kubernetes.
    pub fn none() -> Orchestrator {
        Orchestrator { settings: None, server: None.into() }
    }

    /// Kubernetes, for one request; `None` where there is none.
    ///
    /// # Errors
    /// When the settings do not lead to a server.
    pub fn reach(&self, clock: Clock) -> Result<Option<Kubernetes<'_>>, SetupError> {
        let server = match (self.server.get(), &self.settings) {
            (Some(server), _) => server,
            (None, None) => return Ok(None),
            (None, Some((settings, environment))) => {
                // A failure is not remembered: configuration files change, so the next request tries again.
                let server = server::connect(settings, environment)?;
                self.server.get_or_init(|| server)
            }
        };
        Ok(server.as_ref().map(|server| Kubernetes::new(server, clock)))
    }
}
