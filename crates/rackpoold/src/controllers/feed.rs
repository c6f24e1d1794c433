//! What the store tells: records of several scopes, and on Kubernetes pods.

use std::sync::Arc;

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
        if let Some(event) = self.pods.as_mut().and_then(|pods| pods.events.try_recv().ok()) {
            return Some(Told::Pod(event));
        }
        None
    }
}

/// The watch of pods, followed by a task.
#[cfg(feature = "kubernetes")]
#[derive(Debug)]
struct Pods {
    events: tokio::sync::mpsc::Receiver<store::kubernetes::PodEvent>,
    task: tokio::task::JoinHandle<()>,
}

#[cfg(feature = "kubernetes")]
impl Pods {
    fn begin(store: &store::kubernetes::KubeStore) -> Pods {
        let (sender, events) = tokio::sync::mpsc::channel(1_024);
        let mut watch = store.watch_pods();
        let task = tokio::spawn(async move {
            let mut told = String::new();
            loop {
                match watch.next().await {
                    Ok(event) => {
                        if sender.send(event).await.is_err() {
                            return;
                        }
                    }
                    Err(error) => {
                        let reason = error.to_string();
                        if told != reason {
                            tracing::warn!("the server tells no changes of pods: {reason}");
                            told = reason;
                        }
                        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                    }
                }
            }
        });
        Pods { events, task }
    }

    async fn next(&mut self) -> store::kubernetes::PodEvent {
        match self.events.recv().await {
            Some(event) => event,
            // The task ends only when this is dropped.
            None => std::future::pending().await,
        }
    }
}

#[cfg(feature = "kubernetes")]
impl Drop for Pods {
    fn drop(&mut self) {
        self.task.abort();
    }
}
