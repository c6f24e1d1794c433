//! What a run has drawn and in which order its steps came, so that a smaller scenario can happen in the same
//! way.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// Whose turn it is: an actor, and which of its operations it carries out. Nobody's operations are those that
/// happen before all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn {
    pub who: usize,
    pub op: usize,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A step of an actor.
    Step(Turn),
    /// One of the late writes arrives: the number from which it was drawn which.
    Land(u64),
}

/// What a run has drawn: the order of its steps, and the numbers of each turn.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tape {
    pub order: Vec<Next>,
    pub draws: BTreeMap<Turn, Vec<u64>>,
}

impl Tape {
    /// The same with other names of turns; without those that have none.
    pub fn renamed(&self, name: impl Fn(Turn) -> Option<Turn>) -> Tape {
        let order = self.order.iter().filter_map(|next| match next {
            Next::Step(turn) => name(*turn).map(Next::Step),
            Next::Land(_) => Some(*next),
        });
        let draws = self.draws.iter().filter_map(|(turn, draws)| Some((name(*turn)?, draws.clone())));
        Tape { order: order.collect(), draws: draws.collect() }
    }
}

/// Notes what a run draws, and lets it draw again what another one has drawn. It does neither where nobody
/// asks for it. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder(Option<Arc<Mutex<Recording>>>);

#[derive(Debug, Default)]
struct Recording {
    turn: Option<Turn>,
    /// By actor, the operation that it carries out.
    ops: BTreeMap<usize, usize>,
    /// What was drawn before, and not again yet.
    left: BTreeMap<Turn, VecDeque<u64>>,
    made: Tape,
}

impl Recorder {
    /// Notes what is drawn, and begins with the numbers of a tape.
    pub fn after(past: &Tape) -> Recorder {
        let left = past.draws.iter().map(|(turn, draws)| (*turn, draws.iter().copied().collect()));
        let recording = Recording { left: left.collect(), ..Recording::default() };
        Recorder(Some(Arc::new(Mutex::new(recording))))
    }

    fn with<T>(&self, of: impl FnOnce(&mut Recording) -> T) -> Option<T> {
        let recording = self.0.as_ref()?;
        Some(of(&mut recording.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// A number: the one that was drawn before in this place, or a fresh one.
    pub fn draw(&self, fresh: impl Fn() -> u64) -> u64 {
        let drawn = self.with(|it| {
            let turn = it.turn?;
            let drawn = it.left.get_mut(&turn).and_then(VecDeque::pop_front).unwrap_or_else(&fresh);
            it.made.draws.entry(turn).or_default().push(drawn);
            Some(drawn)
        });
        drawn.flatten().unwrap_or_else(fresh)
    }

    /// Somebody begins an operation.
    pub fn begins(&self, turn: Turn) {
        self.with(|it| {
            it.ops.insert(turn.who, turn.op);
            it.turn = Some(turn);
        });
    }

    /// The turn of an actor.
    pub fn turn_of(&self, who: usize) -> Turn {
        let op = self.with(|it| it.ops.get(&who).copied()).flatten().unwrap_or_default();
        Turn { who, op }
    }

    /// From now on nobody's draws are noted.
    pub fn ends(&self) {
        self.with(|it| it.turn = None);
    }

    /// Something comes next.
    pub fn comes(&self, next: Next) {
        self.with(|it| {
            it.made.order.push(next);
            if let Next::Step(turn) = next {
                it.turn = Some(turn);
            }
        });
    }

    /// What was drawn so far.
    pub fn made(&self) -> Tape {
        self.with(|it| it.made.clone()).unwrap_or_default()
    }
}
