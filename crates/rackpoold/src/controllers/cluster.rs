//! What is known of the cluster: one view of its records, kept by watches, and who uses addresses.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use api::{Key, Kind, Record, Value};
use controllers::collect::Collector;
use controllers::witness::{Endpoints, Users};
use store::{AnyStore, Event, Scope, View};
#[cfg(feature = "kubernetes")]
use {
    controllers::witness::{Pod, PodKey},
    store::kubernetes::PodEvent,
};

use super::feed::Told;

/// The scopes that are watched. WorkloadEndpoints are the witnesses where there are no pods.
pub fn scopes(store: &AnyStore) -> Vec<Scope> {
    let mut scopes = controllers::scopes().to_vec();
    if !has_pods(store) {
        scopes.push(Scope::kind(Kind::WorkloadEndpoint));
    }
    scopes
}

/// Whether the store tells of pods.
pub fn has_pods(store: &AnyStore) -> bool {
    #[cfg(feature = "kubernetes")]
    if let AnyStore::Kubernetes(_) = store {
        return true;
    }
    let _ = store;
    false
}

/// What is known of the cluster.
#[derive(Debug)]
pub struct Cluster {
    /// The records of all scopes but endpoints, which are kept as witnesses alone.
    pub view: View,
    /// Who uses addresses.
    pub users: Users,
    /// What is suspected of having leaked.
    pub collector: Collector,
    scopes: Vec<Scope>,
    /// The scopes that were told in full at least once.
    told: BTreeSet<Scope>,
    are_pods_told: bool,
    /// The endpoints or pods of a present state, while it is being told.
    #[cfg(feature = "kubernetes")]
    arriving_pods: Option<BTreeSet<PodKey>>,
    arriving_endpoints: Option<Vec<Key>>,
}

impl Cluster {
    /// Nothing is known yet.
    pub fn new(store: &AnyStore) -> Cluster {
        let scopes = scopes(store);
        let has_pods = has_pods(store);
        Cluster {
            view: View::new(),
            users: match has_pods {
                true => Users::Pods(Default::default()),
                false => Users::Endpoints(Endpoints::default()),
            },
            collector: Collector::default(),
            told: BTreeSet::new(),
            scopes,
            are_pods_told: !has_pods,
            #[cfg(feature = "kubernetes")]
            arriving_pods: None,
            arriving_endpoints: None,
        }
    }

    /// The scopes that are to be watched.
    pub fn scopes(&self) -> &[Scope] {
        &self.scopes
    }

    /// Whether everything was told in full at least once. Before that, nothing may be concluded.
    pub fn is_complete(&self) -> bool {
        self.are_pods_told && self.scopes.iter().all(|scope| self.told.contains(scope))
    }

    /// Judges what has changed.
    pub fn judge(&mut self, at: Duration) {
        self.collector.judge(&self.view, &mut self.users, at);
    }

    /// Takes what was told.
    pub fn take(&mut self, told: Told) {
        match told {
            Told::Record(scope, event) => self.take_record(&scope, &event),
            #[cfg(feature = "kubernetes")]
            Told::Pod(event) => self.take_pod(event),
        }
    }

    fn take_record(&mut self, scope: &Scope, event: &Event) {
        if let Event::InitDone(_) = event {
            self.told.insert(scope.clone());
        }
        match (scope, event) {
            (Scope::Resources { kind: Kind::WorkloadEndpoint, .. }, event) => {
                return self.take_endpoint(event);
            }
            (_, Event::Unreadable(_, unreadable)) => tracing::warn!("{}", unreadable.error),
            (_, Event::Stray(error)) => tracing::warn!("{error}"),
            _ => {}
        }
        self.view.fold(scope, event);
        self.collector.take(event);
        // What the present state no longer names is gone.
        if matches!(event, Event::InitDone(_)) && self.is_complete() {
            self.collector.all_changed(&self.view);
        }
    }

    fn take_endpoint(&mut self, event: &Event) {
        let Users::Endpoints(endpoints) = &mut self.users else { return };
        let before = event.key().map(|key| endpoints.addresses(key).to_vec()).unwrap_or_default();
        match event {
            Event::Init => self.arriving_endpoints = Some(Vec::new()),
            Event::InitApply(record) | Event::Apply(record) => {
                take_endpoint(endpoints, record);
                self.arriving_endpoints.iter_mut().for_each(|arriving| arriving.push(record.key.clone()));
            }
            Event::Unreadable(key, _) => {
                endpoints.take_unreadable(key);
                self.arriving_endpoints.iter_mut().for_each(|arriving| arriving.push(key.clone()));
            }
            Event::Delete(key, _) => endpoints.forget(key),
            Event::InitDone(_) => {
                endpoints.keep_only(&self.arriving_endpoints.take().unwrap_or_default());
                return self.collector.all_changed(&self.view);
            }
            Event::Stray(_) | Event::StrayGone(_) => {}
        }
        let after = event.key().map(|key| endpoints.addresses(key)).unwrap_or_default();
        before.iter().chain(after).for_each(|addr| self.collector.addr_changed(*addr));
    }

    #[cfg(feature = "kubernetes")]
    fn take_pod(&mut self, event: PodEvent) {
        let Users::Pods(pods) = &mut self.users else { return };
        let changed = match event {
            PodEvent::Init => {
                self.arriving_pods = Some(BTreeSet::new());
                return;
            }
            PodEvent::InitDone => {
                let told = self.arriving_pods.take().unwrap_or_default();
                pods.retain(|pod, _| told.contains(pod));
                self.are_pods_told = true;
                return self.collector.all_changed(&self.view);
            }
            PodEvent::InitApply(state) | PodEvent::Apply(state) => {
                let key = PodKey::new(state.namespace.as_str(), state.name.as_str());
                pods.insert(key.clone(), Pod::from(&state));
                key
            }
            PodEvent::Unreadable(namespace, name, error) => {
                tracing::warn!(namespace, name, "{error}: its addresses stay");
                let key = PodKey::new(namespace, name);
                pods.insert(key.clone(), Pod::Unreadable);
                key
            }
            PodEvent::Delete(namespace, name) => {
                let key = PodKey::new(namespace, name);
                pods.remove(&key);
                self.collector.pod_changed(&key);
                return;
            }
        };
        self.collector.pod_changed(&changed);
        if let Some(arriving) = &mut self.arriving_pods {
            arriving.insert(changed);
        }
    }
}

fn take_endpoint(endpoints: &mut Endpoints, record: &Arc<Record>) {
    match &record.value {
        Value::Resource(endpoint) => endpoints.take(endpoint),
        _ => endpoints.take_unreadable(&record.key),
    }
}
