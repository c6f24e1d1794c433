//! On a plain host nobody calls DEL for what a start of the host or a killed container runtime left: the
//! agent gives it back.

use std::collections::BTreeSet;
use std::time::Duration;

use api::{Backend, Kind};
use host::Interface;
use store::{Depth, Effects, ReadSet, Scope, Store};

use super::record::NodeRecord;
use crate::gone::{GRACE, Missing, give_back, gone};

/// How soon after a look the next one may come: it reads all endpoints.
const LOOK: Duration = Duration::from_secs(30);

/// Looks for endpoints whose containers are gone.
#[derive(Debug, Default)]
pub(super) struct PlainHost {
    missing: Missing,
    /// When to look again; `None` where nothing is missing.
    pub(super) due: Option<Duration>,
}

impl PlainHost {
    /// An interface of a pod came or went.
    pub(super) fn interfaces_changed(&mut self, now: Duration) {
        let soon = now + LOOK;
        self.due = Some(self.due.map_or(soon, |due| due.min(soon)));
    }

    /// Looks, and gives back what is gone. What cannot be given back is found again at the next look.
    pub(super) async fn look<E: Effects>(&mut self, record: &NodeRecord<'_, E>, interfaces: &[Interface]) {
        self.due = None;
        if record.backend() == Backend::Kubernetes {
            return;
        }
        let now = record.effects.elapsed();
        let set = ReadSet::new().scope(Scope::kind(Kind::WorkloadEndpoint), Depth::Full);
        let view = match record.store.read(&set, record.within).await {
            Ok(view) => view,
            Err(error) => {
                self.due = Some(now + LOOK);
                return tracing::warn!("endpoints whose containers are gone are not looked for: {error}");
            }
        };
        let endpoints = view.resources(Kind::WorkloadEndpoint).map(|(endpoint, _)| endpoint);
        let there: BTreeSet<String> = interfaces.iter().map(|interface| interface.name.clone()).collect();
        for endpoint in gone(record.name, endpoints, &there, &mut self.missing, now, GRACE) {
            let given = give_back(record.store, record.effects, record.name, &endpoint, record.within).await;
            match given {
                Ok(given) => {
                    tracing::info!(
                        ?given,
                        container = endpoint.container,
                        "gave back the endpoint of a container that is gone"
                    );
                }
                Err(error) => tracing::warn!(container = endpoint.container, "{error}"),
            }
        }
        if !self.missing.is_empty() {
            self.due = Some(now + GRACE);
        }
    }
}
