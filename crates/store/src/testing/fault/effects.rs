//! The last effects of a caller, for the message of a failing test.

use std::collections::VecDeque;
use std::fmt;

use api::Key;

use crate::batch::{Batch, Op, Outcome, Report};
use crate::error::StoreError;
use crate::read::ReadSet;

/// How many of the last effects are remembered.
const KEPT: usize = 12;

/// The last effects of one caller, the latest at the end.
#[derive(Default)]
pub(super) struct EffectLog(VecDeque<Effect>);

enum Effect {
    Read(ReadSet, Option<StoreError>),
    /// The writes of the batch, and the report or error that the caller got.
    Commit(Vec<(&'static str, Key)>, Result<Report, StoreError>),
}

impl EffectLog {
    pub(super) fn read(&mut self, set: &ReadSet, error: Option<StoreError>) {
        self.keep(Effect::Read(set.clone(), error));
    }

    pub(super) fn commit(&mut self, batch: &Batch, result: Result<Report, StoreError>) {
        let writes = batch.writes.iter().map(|write| {
            let what = match write.op {
                Op::Put(_) => "put",
                Op::Delete => "delete",
            };
            (what, write.key.clone())
        });
        self.keep(Effect::Commit(writes.collect(), result));
    }

    fn keep(&mut self, effect: Effect) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(effect);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for EffectLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|effect| writeln!(f, "  {effect}"))
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Effect::Read(set, error) => {
                f.write_str("read")?;
                for scope in &set.scopes {
                    write!(f, " {:?}", scope.scope)?;
                }
                for (key, _) in &set.keys {
                    write!(f, " {key}")?;
                }
                error.as_ref().map_or(Ok(()), |error| write!(f, ": {error}"))
            }
            Effect::Commit(writes, result) => {
                let writes = writes.iter().enumerate().map(|(index, (what, key))| match result {
                    Ok(report) => format!("{what} {key} ({})", outcome_word(report.outcomes.get(index))),
                    Err(_) => format!("{what} {key}"),
                });
                write!(f, "commit {}", writes.collect::<Vec<_>>().join(", "))?;
                match result {
                    Err(error) => write!(f, ": {error}"),
                    Ok(report) => match &report.broken_guard {
                        Some(guard) => write!(f, ": a guard is broken: {guard:?}"),
                        None => Ok(()),
                    },
                }
            }
        }
    }
}

fn outcome_word(outcome: Option<&Outcome>) -> &'static str {
    match outcome {
        Some(Outcome::Applied(_)) => "applied",
        Some(Outcome::Refused(_)) => "refused",
        Some(Outcome::Unknown(_)) => "unknown",
        Some(Outcome::NotTried) | None => "not tried",
    }
}
