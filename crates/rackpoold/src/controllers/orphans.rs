//! Deletes the nodes of a datastore beside Kubernetes whose Kubernetes node is gone, with everything that
//! belongs to them, as Calico's kube-controllers do on etcd.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use api::node::name_in_kubernetes;
use api::{Backend, Key, Kind, Resource, Revision};
use controllers::orphans::orphans;
use resources::{Client, Error, Identifier};
use store::{AnyStore, Depth, Effects, Event, ReadSet, Scope, Store, StoreError, View};

use crate::node::feed::Feed;

use super::WITHIN;
use super::lead::Leading;

/// How long to wait for more changes after one, so that a burst is one look.
const GATHER: Duration = Duration::from_millis(100);
/// How often it is looked without a change: nodes may have come into the datastore late.
const PERIOD: Duration = Duration::from_secs(5 * 60);
/// How soon what failed is tried again.
const AGAIN: Duration = Duration::from_secs(30);

/// What is needed to delete nodes.
#[derive(Clone, Copy, Debug)]
pub struct Orphans<'o, E> {
    /// The datastore.
    pub store: &'o AnyStore,
    /// The API server of the cluster.
    pub kubernetes: &'o Arc<AnyStore>,
    /// The clock.
    pub effects: &'o E,
    /// Asked before each deletion.
    pub leading: &'o Leading,
}

impl<E: Effects> Orphans<'_, E> {
    /// Deletes what is gone, for as long as the process leads.
    pub async fn follow(&self) {
        let nodes = Scope::kind(Kind::Node);
        let mut feed = Feed::new(self.kubernetes, true);
        feed.follow([&nodes].into_iter());
        let (mut view, mut is_told, mut told) = (View::new(), false, String::new());
        let mut wait = PERIOD;
        loop {
            tokio::select! {
                (scope, event) = feed.next() => {
                    is_told |= take(&mut view, &scope, &event);
                    self.effects.sleep(GATHER).await;
                    while let Some((scope, event)) = feed.ready() {
                        is_told |= take(&mut view, &scope, &event);
                    }
                }
                () = self.effects.sleep(wait) => {}
            }
            if !is_told {
                continue;
            }
            let known = view.slots(&nodes).filter_map(|(key, _)| match key {
                Key::Resource { name, .. } => Some(name.clone()),
                _ => None,
            });
            let known = known.collect();
            wait = match self.pass(&known).await {
                Ok(()) => PERIOD,
                Err(reason) => {
                    if told != reason {
                        tracing::warn!("{reason}");
                        told = reason;
                    }
                    AGAIN
                }
            };
        }
    }

    /// Looks once, and deletes what is gone.
    async fn pass(&self, known: &BTreeSet<String>) -> Result<(), String> {
        let set = ReadSet::new().scope(Scope::kind(Kind::Node), Depth::Full);
        let view = self.store.read(&set, WITHIN).await.map_err(|error| error.to_string())?;
        for (node, revision) in orphans(&view, known).map_err(|error| error.to_string())? {
            self.delete(node, revision).await?;
        }
        Ok(())
    }

    /// Deletes a node, as it was read, if its Kubernetes node is gone now.
    async fn delete(&self, node: &Resource, revision: &Revision) -> Result<(), String> {
        let name = node.name();
        let there = self.is_there(name_in_kubernetes(node).unwrap_or(name)).await;
        let there = there.map_err(|error| format!("cannot ask Kubernetes for the node {name}: {error}"))?;
        if there || !self.leading.is_leader() {
            return Ok(());
        }
        let client = Client::new(self.store, self.effects, Backend::Etcd, WITHIN);
        let id = Identifier::new(Kind::Node, None, name);
        match client.delete(&id, Some(revision.as_str())).await {
            Ok(_) => tracing::info!(
                node = name,
                "deleted, with its endpoints, addresses and blocks: its node in Kubernetes is gone"
            ),
            // It was changed or deleted meanwhile; the next look judges it anew.
            Err(Error::Conflict(_) | Error::DoesNotExist(..)) => {}
            Err(error) => return Err(format!("the node {name} cannot be deleted: {error}")),
        }
        Ok(())
    }

    /// Whether Kubernetes has that node now.
    async fn is_there(&self, name: &str) -> Result<bool, StoreError> {
        let key = Key::global(Kind::Node, name);
        let view = self.kubernetes.read(&ReadSet::new().key(key.clone()), WITHIN).await?;
        Ok(!matches!(view.get(&key), Some(store::Slot::Absent)))
    }
}

/// Takes an event. Gives whether all nodes are told by it.
fn take(view: &mut View, scope: &Scope, event: &Event) -> bool {
    view.fold(scope, event);
    matches!(event, Event::InitDone(_))
}
