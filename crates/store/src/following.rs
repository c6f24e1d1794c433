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
pub(crate) type Sender = mpsc::Sender<Result<Event, WatchError>>;

/// The task of a watch. It starts when somebody first waits for an event, and again after an error.
#[derive(Debug, Default)]
pub(crate) struct Following {
    /// `None` until somebody waits for an event, and after an error.
    running: Option<Running>,
    /// How many times in a row the task ended before it had sent the whole present state.
    failures: u32,
}

/// The running task; aborted when it is dropped.
#[derive(Debug)]
struct Running {
    events: mpsc::Receiver<Result<Event, WatchError>>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Following {
    /// Waits for the task's next event. Where no task runs, starts one with `follow`, which sends events
    /// until it cannot continue and gives the reason.
    ///
    /// # Errors
    /// The error that ended the task. The next call starts a new task, after a pause that grows with each
    /// failure in a row.
    pub(crate) async fn next<F>(&mut self, follow: impl FnOnce(Sender) -> F) -> Result<Event, WatchError>
    where
        F: Future<Output = WatchError> + Send + 'static,
    {
        let failures = self.failures;
        let running = self.running.get_or_insert_with(|| start(failures, follow));
        let event = running.events.recv().await;
        let event = event.unwrap_or_else(|| Err(WatchError::Interrupted("its task has ended".to_string())));
        match &event {
            Ok(Event::InitDone(_)) => self.failures = 0,
            Ok(_) => {}
            Err(_) => {
                self.running = None;
                self.failures += 1;
            }
        }
        event
    }
}

fn start<F>(failures: u32, follow: impl FnOnce(Sender) -> F) -> Running
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
