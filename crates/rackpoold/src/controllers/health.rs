//! Whether the process is ready, and whether it still works.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long the loop may be silent: it beats at least twice a minute.
const SILENCE: Duration = Duration::from_secs(120);

/// What is known of the process's health. Clones share it.
#[derive(Clone, Debug)]
pub struct Health(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// What it still waits for; `None` when it is ready.
    waits_for: Option<String>,
    /// When the loop gave its last sign, on the process's clock.
    beat: Duration,
}

impl Health {
    /// A process that is not ready yet.
    pub fn new(waits_for: &str, now: Duration) -> Health {
        Health(Arc::new(Mutex::new(State { waits_for: Some(waits_for.to_string()), beat: now })))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Each change is a single assignment: a panic elsewhere leaves no half of one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process is ready: it works, or stands by to take over.
    pub fn is_ready_now(&self) {
        self.state().waits_for = None;
    }

    /// The process is not ready, for it waits for something.
    pub fn waits_for(&self, what: &str) {
        self.state().waits_for = Some(what.to_string());
    }

    /// A sign of life of the loop.
    pub fn beat(&self, now: Duration) {
        self.state().beat = now;
    }

    /// Whether the process is ready.
    ///
    /// # Errors
    /// What it waits for.
    pub fn readiness(&self) -> Result<(), String> {
        self.state().waits_for.as_ref().map_or(Ok(()), |what| Err(format!("waits for {what}")))
    }

    /// Whether the process still works.
    ///
    /// # Errors
    /// For how long it has given no sign.
    pub fn liveness(&self, now: Duration) -> Result<(), String> {
        let silent = now.saturating_sub(self.state().beat);
        match silent <= SILENCE {
            true => Ok(()),
            false => Err(format!("the loop has given no sign for {} s", silent.as_secs())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_and_alive() {
        let health = Health::new("the store", Duration::ZERO);
        assert_eq!(health.readiness(), Err("waits for the store".to_string()));
        health.clone().is_ready_now();
        assert_eq!(health.readiness(), Ok(()));
        health.waits_for("a list");
        assert_eq!(health.readiness(), Err("waits for a list".to_string()));
        assert_eq!(health.liveness(SILENCE), Ok(()));
        let late = SILENCE + Duration::from_secs(1);
        assert_eq!(health.liveness(late), Err("the loop has given no sign for 121 s".to_string()));
        health.beat(late);
        assert_eq!(health.liveness(late), Ok(()));
    }
}
