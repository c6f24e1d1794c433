//! Reads what a cluster of Calico's is.

use std::time::Duration;

use api::{Key, Kind};
use serde_json::Value as Json;
use store::strangers::{StrangerKind, Strangers};
use store::{Depth, ReadSet, Scope, Store, StoreError};

use super::judge;
use super::{Code, Survey, Unread};
use crate::loss::losses;

const CALICO: &str = "projectcalico.org";

const fn kind(group: &'static str, plural: &'static str) -> StrangerKind {
    StrangerKind { group, plural }
}

/// Looks at everything that matters to who changes from Calico to rackpool. What this client may not read is
/// noted, and the rest is read all the same. `ours` is the version of Calico whose behaviour this program
/// has.
///
/// # Errors
/// When the store gives no answer.
pub async fn survey<S: Store + Strangers>(
    store: &S,
    ours: &str,
    within: Duration,
) -> Result<Survey, StoreError> {
    let mut survey = Survey::default();
    let mut reading = Reading { store, within, unread: Vec::new() };
    survey.api_version = store.api_version(within).await?;
    judge::group(&mut survey);
    let unknown = "which version wrote the data, and whether it is locked";
    let found = reading.list(kind(CALICO, "clusterinformations"), unknown).await?;
    judge::cluster(&mut survey, &found, ours);
    for (code, plural, name, unknown) in judge::WORKLOADS {
        let listed = store.workloads(plural, name, within).await;
        let found = reading.told(format!("{plural}.apps {name}"), listed, unknown)?;
        judge::programs(&mut survey, code, plural, &found);
    }
    // On etcd Felix says itself where it runs.
    if survey.of(Code::NodeAgents).is_none() {
        let listed = store.calico_nodes(within).await;
        let found = reading.told("Calico's nodes".to_string(), listed, "where Calico's node agents run")?;
        survey.note(Code::NodeAgents, found);
    }
    let unknown = "whether an operator looks after Calico";
    let found = reading.list(kind("operator.tigera.io", "installations"), unknown).await?;
    survey
        .note(Code::Operator, found.iter().map(|one| format!("Installation {}", judge::name(one))).collect());
    let found = reading.list(kind(CALICO, "ippools"), "which pools there are").await?;
    judge::pools(&mut survey, &found);
    let unknown = "which of Felix's settings have no effect";
    let found = reading.list(kind(CALICO, "felixconfigurations"), unknown).await?;
    judge::felix(&mut survey, &found);
    let unknown = "which of BGP's settings have no effect";
    let settings = reading.list(kind(CALICO, "bgpconfigurations"), unknown).await?;
    let nodes = reading.nodes(unknown).await?;
    judge::bgp(&mut survey, &settings, &nodes);
    let unknown = "when leaked addresses come back";
    let found = reading.list(kind(CALICO, "kubecontrollersconfigurations"), unknown).await?;
    judge::controllers(&mut survey, &found);
    let found = reading.list(kind(CALICO, "ipreservations"), "what is reserved").await?;
    survey.note(
        Code::Reservations,
        found.iter().map(|one| format!("IPReservation {}", judge::name(one))).collect(),
    );
    if reading.has_configuration().await? {
        survey.note(Code::IpamConfiguration, vec!["calicoctl ipam show --show-configuration".to_string()]);
    }
    survey.unread = reading.unread;
    survey.take_losses(losses(store, within).await?);
    Ok(survey)
}

struct Reading<'s, S> {
    store: &'s S,
    within: Duration,
    unread: Vec<Unread>,
}

impl<S: Store + Strangers> Reading<'_, S> {
    /// The objects of a kind; none where they may not be listed, which is noted with what is not known
    /// therefore.
    async fn list(&mut self, kind: StrangerKind, unknown: &str) -> Result<Vec<Json>, StoreError> {
        let listed = self.store.strangers(kind, self.within).await;
        self.told(kind.to_string(), listed, unknown)
    }

    fn told<T>(
        &mut self,
        what: String,
        listed: Result<Vec<T>, StoreError>,
        unknown: &str,
    ) -> Result<Vec<T>, StoreError> {
        match listed {
            Err(StoreError::Denied(reason)) => {
                self.note(what, reason, unknown);
                Ok(Vec::new())
            }
            listed => listed,
        }
    }

    /// The nodes, as resources of Calico's.
    async fn nodes(&mut self, unknown: &str) -> Result<Vec<Json>, StoreError> {
        let set = ReadSet::new().scope(Scope::kind(Kind::Node), Depth::Full);
        let read = self.store.read(&set, self.within).await;
        let listed = read.map(|view| view.resources(Kind::Node).map(|(node, _)| node.to_json()).collect());
        self.told("nodes".to_string(), listed, unknown)
    }

    async fn has_configuration(&mut self) -> Result<bool, StoreError> {
        let set = ReadSet::new().key(Key::IpamConfig);
        match self.store.read(&set, self.within).await {
            Ok(view) => Ok(view.full(&Key::IpamConfig).flatten().is_some()),
            Err(StoreError::Denied(reason)) => {
                let unknown = "whether affinity is strict, and how many blocks a node may have";
                self.note("the allocator's configuration".to_string(), reason, unknown);
                Ok(false)
            }
            Err(other) => Err(other),
        }
    }

    fn note(&mut self, what: String, reason: String, unknown: &str) {
        self.unread.push(Unread { what, reason, unknown: unknown.to_string(), feature: None });
    }
}
