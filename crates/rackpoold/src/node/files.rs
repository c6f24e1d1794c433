//! The files that the agent keeps on its host while it works: what the plugins read of it, their kubeconfig
//! and, last, the network's configuration.

use std::time::Duration;

use store::{AnyStore, Effects};

use super::finding::{Finding, Reason};
use crate::install::{self, InstallError, Network, Notes, Places};

/// The files of an agent.
#[derive(Debug)]
pub struct Files<'a> {
    places: Places,
    notes: Notes,
    /// `None` where somebody else installs the network.
    network: Option<Network<'a>>,
    #[cfg(feature = "kubernetes")]
    renewal: install::Renewal,
    /// When the plugins' kubeconfig is due, as time since the agent's start.
    due: Option<Duration>,
}

impl<'a> Files<'a> {
    /// The files in these places. `network` is what is installed of the network itself.
    pub fn new(places: Places, notes: Notes, network: Option<Network<'a>>) -> Files<'a> {
        Files {
            places,
            notes,
            network,
            #[cfg(feature = "kubernetes")]
            renewal: install::Renewal::default(),
            due: None,
        }
    }

    /// Writes the packet size of pods' interfaces.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn mtu(&mut self, bytes: u32) -> Result<(), InstallError> {
        install::mtu(&self.places, &mut self.notes, bytes).map(drop)
    }

    /// Tells the plugins that pods may come, and a container runtime that there is a network: its
    /// configuration is written last. Gives what is missing on the host.
    ///
    /// # Errors
    /// When a file cannot be written, or Kubernetes gives the plugins no token.
    pub async fn ready(
        &mut self,
        store: &AnyStore,
        effects: &impl Effects,
        within: Duration,
    ) -> Result<Vec<Finding>, Box<dyn std::error::Error>> {
        install::mark::set(&self.places, &mut self.notes)?;
        let found = self.install(store, effects, within).await?;
        install::mark::ready(&self.places, &mut self.notes)?;
        Ok(found)
    }

    /// Writes the network's configuration, where this agent installs it. Gives what is missing on the host.
    async fn install(
        &mut self,
        store: &AnyStore,
        effects: &impl Effects,
        within: Duration,
    ) -> Result<Vec<Finding>, Box<dyn std::error::Error>> {
        if self.network.is_none() {
            return Ok(Vec::new());
        }
        self.renew(store, effects, within).await?;
        let has_kubeconfig = self.places.kubeconfig().exists();
        let Some(network) = &mut self.network else { return Ok(Vec::new()) };
        network.has_kubeconfig = has_kubeconfig;
        let (written, found) = install::conflist(&self.places, &mut self.notes, network)?;
        if written == install::Written::New {
            tracing::info!(file = %self.places.conflist().display(), "wrote the network's configuration");
        }
        Ok(found.iter().map(|one| Finding::new(reason(one), one.to_string())).collect())
    }

    /// When the plugins' kubeconfig is due.
    pub fn due(&self) -> Option<Duration> {
        self.due
    }

    /// Makes the plugins' kubeconfig due now, where there is one.
    pub fn renew_at(&mut self, now: Duration) {
        self.due = self.due.map(|_| now);
    }

    /// Renews the token in the plugins' kubeconfig, on Kubernetes. Gives an error only where there is none
    /// yet: a token that is there lives for hours.
    ///
    /// # Errors
    /// Where there is no kubeconfig and no token for one.
    #[cfg(feature = "kubernetes")]
    pub async fn renew(
        &mut self,
        store: &AnyStore,
        effects: &impl Effects,
        within: Duration,
    ) -> Result<(), Box<dyn std::error::Error>> {
        use install::kubeconfig::{account, renew};
        let AnyStore::Kubernetes(server) = store else { return Ok(()) };
        let Some(network) = &self.network else { return Ok(()) };
        let account = account(network.environment);
        let renewed = renew(&self.places, &mut self.notes, server, &account, effects.now(), within).await;
        let (wait, result) = match renewed {
            Ok(life) => {
                tracing::info!(file = %self.places.kubeconfig().display(), "renewed the plugins' token");
                (self.renewal.succeeded(life, effects.seed()), Ok(()))
            }
            Err(error) => {
                tracing::warn!("{error}");
                let is_there = self.places.kubeconfig().exists();
                (self.renewal.failed(), if is_there { Ok(()) } else { Err(error.into()) })
            }
        };
        self.due = Some(effects.elapsed() + wait);
        result
    }

    /// Without Kubernetes the plugins need no kubeconfig.
    ///
    /// # Errors
    /// None.
    #[cfg(not(feature = "kubernetes"))]
    pub async fn renew(
        &mut self,
        _store: &AnyStore,
        _effects: &impl Effects,
        _within: Duration,
    ) -> Result<(), Box<dyn std::error::Error>> {
        Ok(())
    }
}

fn reason(finding: &install::Finding) -> Reason {
    match finding {
        install::Finding::NoLoopback { .. } => Reason::LOOPBACK_MISSING,
        install::Finding::NoPortmap { .. } => Reason::PORTMAP_MISSING,
        install::Finding::Hidden { .. } => Reason::NETWORK_HIDDEN,
        install::Finding::NoAgentSync => Reason::NO_AGENT_SYNC,
    }
}
