//! A task that follows a server for a watch, whether somebody waits for events or not.

use std::future::Future;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::error::WatchError;
use crate::watch::Event;

/// How many events may wait to be taken; more wait in the server.
const QUEUED: usize = 256;
/// How long to wait before what was interrupted is started anew; doubled each time, up to 16 times.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);

/// Where the task puts its events.
pub(crate) type Sender = mpsc::Sender<Result<Event, WatchError>>;

/// The task of a watch, started when an event is first waited for, and anew after an error.
#[derive(Debug, Default)]
pub(crate) struct Following {
    /// `None` before the first event is waited for, and after an error.
    running: Option<Running>,
    /// How many times in a row it ended before the present state was told.
    failures: u32,
}

/// Ends with the watch.
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
    /// Waits for the next event of the task; starts it with `follow` where it does not run. `follow` tells events until it cannot go on, and why.
    ///
    /// # Errors
    /// What ended the task. The next call starts it anew, after a pause that grows with each failure in a row.
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
        // Where the watch is gone nobody wants to know.
        let _ = sender.send(Err(end)).await;
    });
    Running { events, task }
}
