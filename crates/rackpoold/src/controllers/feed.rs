//! What the store tells: records of several scopes, and on Kubernetes pods.

use std::sync::Arc;

#[cfg(feature = "kubernetes")]
use futures_util::FutureExt as _;
use store::{AnyStore, Event, Scope};

use crate::node::feed::Feed as Records;

/// Something that was told.
#[derive(Debug)]
pub enum Told {
    /// Of a record of that scope.
    Record(Scope, Event),
    /// Of a pod.
    #[cfg(feature = "kubernetes")]
    Pod(store::kubernetes::PodEvent),
}

/// The watches. Dropping it ends them.
#[derive(Debug)]
pub struct Feed {
    records: Records,
    #[cfg(feature = "kubernetes")]
    pods: Option<Pods>,
}

impl Feed {
    /// Begins to watch.
    pub fn begin(store: &Arc<AnyStore>, scopes: &[Scope]) -> Feed {
        // What kubelets report of Nodes says nothing here.
        let mut records = Records::new(store, true);
        records.follow(scopes.iter());
        Feed {
            records,
            #[cfg(feature = "kubernetes")]
            pods: match &**store {
                AnyStore::Kubernetes(store) => Some(Pods::begin(store)),
                _ => None,
            },
        }
    }

    /// Waits for the next event. Giving up the wait loses none.
    pub async fn next(&mut self) -> Told {
        #[cfg(feature = "kubernetes")]
        if let Some(pods) = &mut self.pods {
            return tokio::select! {
                (scope, event) = self.records.next() => Told::Record(scope, event),
                event = pods.next() => Told::Pod(event),
            };
        }
        let (scope, event) = self.records.next().await;
        Told::Record(scope, event)
    }

    /// An event that is there already.
    pub fn ready(&mut self) -> Option<Told> {
        if let Some((scope, event)) = self.records.ready() {
            return Some(Told::Record(scope, event));
        }
        #[cfg(feature = "kubernetes")]
        if let Some(event) = self.pods.as_mut().and_then(|pods| pods.next().now_or_never()) {
            return Some(Told::Pod(event));
        }
        None
    }
}

/// The watch of pods.
#[cfg(feature = "kubernetes")]
#[derive(Debug)]
struct Pods {
    watch: store::kubernetes::PodWatch,
    /// What interrupted the watch, as it was told last.
    told: String,
}

#[cfg(feature = "kubernetes")]
impl Pods {
    fn begin(store: &store::kubernetes::KubeStore) -> Pods {
        Pods { watch: store.watch_pods(), told: String::new() }
    }

    /// Waits for the next event. Giving up the wait loses none. What interrupts the watch is told once, and
    /// again when it has another reason.
    async fn next(&mut self) -> store::kubernetes::PodEvent {
        loop {
            match self.watch.next().await {
                Ok(event) => return event,
                // The watch begins anew by itself, after a pause of its own.
                Err(error) => {
                    let reason = error.to_string();
                    if self.told != reason {
                        tracing::warn!("the server tells no changes of pods: {reason}");
                        self.told = reason;
                    }
                }
            }
        }
    }
}
