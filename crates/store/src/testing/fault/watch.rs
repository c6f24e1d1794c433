//! Watches that are interrupted now and then.

use super::Faulty;
use super::plan::happens;
use crate::error::WatchError;
use crate::port::{Store, Watch};
use crate::read::Scope;
use crate::watch::Event;

/// A watch that is interrupted now and then.
pub struct FaultyWatch<S: Store> {
    store: Faulty<S>,
    scope: Scope,
    /// `None` after an interruption.
    inner: Option<S::Watch>,
}

impl<S: Store> FaultyWatch<S> {
    pub(super) fn new(store: Faulty<S>, scope: Scope, inner: S::Watch) -> FaultyWatch<S> {
        FaultyWatch { store, scope, inner: Some(inner) }
    }
}

impl<S: Store> std::fmt::Debug for FaultyWatch<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaultyWatch").field("scope", &self.scope).finish_non_exhaustive()
    }
}

impl<S: Store> Watch for FaultyWatch<S> {
    async fn next(&mut self) -> Result<Event, WatchError> {
        self.store.caller.check_alive()?;
        let inner = match &mut self.inner {
            Some(inner) => inner,
            none => none.insert(self.store.inner.watch(self.scope.clone()).await?),
        };
        let event = inner.next().await?;
        let dropped = {
            let caller = &self.store.caller;
            happens(&mut caller.state().rng, caller.plan.chances.watch_dropped)
        };
        if dropped {
            self.inner = None;
            return Err(WatchError::Interrupted("the connection was lost (planned)".to_string()));
        }
        Ok(event)
    }
}
