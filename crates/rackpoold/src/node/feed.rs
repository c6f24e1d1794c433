//! The records on which a node's routes depend, watched.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use store::{AnyStore, Event, Scope, Store, Watch};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How many events wait at most; further ones wait in the store.
const QUEUED: usize = 1_024;
/// How long to wait after a watch could not begin.
const PAUSE: Duration = Duration::from_secs(1);

/// Events of several scopes. Dropping it ends the watches.
#[derive(Debug)]
pub struct Feed {
    store: Arc<AnyStore>,
    is_short: bool,
    events: mpsc::Receiver<(Scope, Event)>,
    sender: mpsc::Sender<(Scope, Event)>,
    tasks: BTreeMap<Scope, JoinHandle<()>>,
}

impl Feed {
    /// A feed that watches nothing yet. `is_short` leaves out what kubelets report of Nodes: see
    /// [`Store::watch_short`].
    pub fn new(store: &Arc<AnyStore>, is_short: bool) -> Feed {
        let (sender, events) = mpsc::channel(QUEUED);
        Feed { store: store.clone(), is_short, events, sender, tasks: BTreeMap::new() }
    }

    /// Watches these scopes from now on, and no others. A scope that is watched already is not told anew.
    pub fn follow<'s>(&mut self, scopes: impl Iterator<Item = &'s Scope>) {
        let mut before = std::mem::take(&mut self.tasks);
        for scope in scopes {
            let task = before.remove(scope).unwrap_or_else(|| {
                let (store, sender) = (self.store.clone(), self.sender.clone());
                tokio::spawn(follow(store, scope.clone(), self.is_short, sender))
            });
            self.tasks.insert(scope.clone(), task);
        }
        before.values().for_each(JoinHandle::abort);
    }

    /// Waits for the next event. Giving up the wait loses none.
    pub async fn next(&mut self) -> (Scope, Event) {
        match self.events.recv().await {
            Some(event) => event,
            // This has a sender itself, so the queue is not closed.
            None => std::future::pending().await,
        }
    }

    /// An event that is there already.
    pub fn ready(&mut self) -> Option<(Scope, Event)> {
        self.events.try_recv().ok()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.tasks.values().for_each(JoinHandle::abort);
    }
}

/// Sends the events of a scope until nobody receives them. What interrupts the watch is told once, and again
/// when it has another reason.
async fn follow(store: Arc<AnyStore>, scope: Scope, is_short: bool, sender: mpsc::Sender<(Scope, Event)>) {
    let mut told = String::new();
    let mut interrupted = |reason: String| {
        if told != reason {
            tracing::warn!(?scope, "the store tells no changes: {reason}");
            told = reason;
        }
    };
    loop {
        let begun = match is_short {
            true => store.watch_short(scope.clone()).await,
            false => store.watch(scope.clone()).await,
        };
        let mut watch = match begun {
            Ok(watch) => watch,
            Err(error) => {
                interrupted(error.to_string());
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        loop {
            match watch.next().await {
                Ok(event) => {
                    if sender.send((scope.clone(), event)).await.is_err() {
                        return;
                    }
                }
                // The watch begins anew by itself, after a pause of its own.
                Err(error) => interrupted(error.to_string()),
            }
        }
    }
}
