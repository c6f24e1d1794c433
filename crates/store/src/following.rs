//! The task that follows a server for a watch, also while nobody waits for an event.

use std::future::Future;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::error::WatchError;
use crate::watch::Event;

/// How many events the task queues. While the queue is full, further events wait in the server.
const QUEUED: usize = 256;
/// How long to wait before following again after an interruption; doubled each time, up to 16 times as long.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);

/// Where the task sends its events.
pub(crate) type Sender<E> = mpsc::Sender<Result<E, WatchError>>;

/// What a watch tells.
pub(crate) trait Told: Send + 'static {
    /// Whether the present state is complete by this.
    fn completes(&self) -> bool;
}

impl Told for Event {
    fn completes(&self) -> bool {
        matches!(self, Event::InitDone(_))
    }
}

/// Why the events that follow a present state have ended.
pub(crate) enum End {
    /// The server ended the stream, as it does from time to time, or the connection broke. The watch
    /// continues from the last revision.
    #[cfg(feature = "kubernetes")]
    Over,
    /// Events were missed; the state has to be read again.
    Gap,
    /// The watch was dropped.
    Unwanted,
    /// No request can mend it.
    Failed(WatchError),
}

/// Reads the state and follows it, with `once`, until the watch is dropped or fails.
pub(crate) async fn repeat<F: Future<Output = End>>(mut once: impl FnMut() -> F) -> WatchError {
    loop {
        match once().await {
            #[cfg(feature = "kubernetes")]
            End::Over => sleep(PAUSE).await,
            End::Gap => sleep(PAUSE).await,
            End::Unwanted => return WatchError::Interrupted("nobody listens".to_string()),
            End::Failed(error) => return error,
        }
    }
}

/// The task of a watch. It starts when somebody first waits for an event, and again after an error.
#[derive(Debug)]
pub(crate) struct Following<E> {
    /// `None` until somebody waits for an event, and after an error.
    running: Option<Running<E>>,
    /// How many times in a row the task ended before it had sent the whole present state.
    failures: u32,
}

/// The running task; aborted when it is dropped.
#[derive(Debug)]
struct Running<E> {
    events: mpsc::Receiver<Result<E, WatchError>>,
    task: JoinHandle<()>,
}

impl<E> Drop for Running<E> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<E> Default for Following<E> {
    fn default() -> Following<E> {
        Following { running: None, failures: 0 }
    }
}

impl<E: Told> Following<E> {
    /// Waits for the task's next event. Where no task runs, starts one with `follow`, which sends events
    /// until it cannot continue and gives the reason.
    ///
    /// # Errors
    /// The error that ended the task. The next call starts a new task, after a pause that grows with each
    /// failure in a row.
    pub(crate) async fn next<F>(&mut self, follow: impl FnOnce(Sender<E>) -> F) -> Result<E, WatchError>
    where
        F: Future<Output = WatchError> + Send + 'static,
    {
        let failures = self.failures;
        let running = self.running.get_or_insert_with(|| start(failures, follow));
        let event = running.events.recv().await;
        let event = event.unwrap_or_else(|| Err(WatchError::Interrupted("its task has ended".to_string())));
        match &event {
            Ok(event) if event.completes() => self.failures = 0,
            Ok(_) => {}
            Err(_) => {
                self.running = None;
                self.failures += 1;
            }
        }
        event
    }
}

fn start<E: Told, F>(failures: u32, follow: impl FnOnce(Sender<E>) -> F) -> Running<E>
where
    F: Future<Output = WatchError> + Send + 'static,
{
    let (sender, events) = mpsc::channel(QUEUED);
    let pause = PAUSE * 2u32.pow(failures.min(4)) * failures.min(1);
    let following = follow(sender.clone());
    let task = tokio::spawn(async move {
        sleep(pause).await;
        let end = following.await;
        // The receiver is gone when the watch was dropped.
        let _ = sender.send(Err(end)).await;
    });
    Running { events, task }
}
