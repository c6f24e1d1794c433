//! The records on which a node's routes depend, watched.

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
    events: mpsc::Receiver<(usize, Event)>,
    tasks: Vec<JoinHandle<()>>,
}

impl Feed {
    /// Begins to watch. The scopes are named by their positions.
    pub fn begin(store: &Arc<AnyStore>, scopes: &[Scope]) -> Feed {
        let (sender, events) = mpsc::channel(QUEUED);
        let follow = |(nth, scope): (usize, &Scope)| {
            tokio::spawn(follow(store.clone(), nth, scope.clone(), sender.clone()))
        };
        let tasks = scopes.iter().enumerate().map(follow).collect();
        Feed { events, tasks }
    }

    /// Waits for the next event. Giving up the wait loses none.
    pub async fn next(&mut self) -> (usize, Event) {
        match self.events.recv().await {
            Some(event) => event,
            // The tasks end only when this is dropped.
            None => std::future::pending().await,
        }
    }

    /// An event that is there already.
    pub fn ready(&mut self) -> Option<(usize, Event)> {
        self.events.try_recv().ok()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Sends the events of a scope until nobody receives them. What interrupts the watch is told once, and again
/// when it has another reason.
async fn follow(store: Arc<AnyStore>, nth: usize, scope: Scope, sender: mpsc::Sender<(usize, Event)>) {
    let mut told = String::new();
    let mut interrupted = |reason: String| {
        if told != reason {
            tracing::warn!(?scope, "the store tells no changes: {reason}");
            told = reason;
        }
    };
    loop {
        let mut watch = match store.watch(scope.clone()).await {
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
                    if sender.send((nth, event)).await.is_err() {
                        return;
                    }
                }
                // The watch begins anew by itself, after a pause of its own.
                Err(error) => interrupted(error.to_string()),
            }
        }
    }
}
