//! What is to go wrong, as data.

use std::collections::BTreeMap;

use fastrand::Rng;

/// What is to go wrong for one caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Of every choice that is left to chance.
    pub seed: u64,
    /// Batches are applied write by write, as a backend without transactions does it. A fault that strikes within a batch always does so between
    /// writes: every prefix is a legal state.
    pub one_by_one: bool,
    /// Guards are honoured; with `one_by_one` they are checked with the first write.
    pub guards: bool,
    /// The keys and scopes of a read are read one after the other, [`Step::BetweenReads`] between them.
    pub split_reads: bool,
    /// What the numbered commits of the caller meet, counted from 0. Goes before `chances`.
    pub faults: BTreeMap<u64, CommitFault>,
    /// How often things happen by chance.
    pub chances: Chances,
    /// Reads see records as they were.
    pub stale: Option<Stale>,
}

impl Default for Plan {
    /// Nothing goes wrong, and batches are applied as the store does it.
    fn default() -> Self {
        Plan {
            seed: 0,
            one_by_one: false,
            guards: true,
            split_reads: false,
            faults: BTreeMap::new(),
            chances: Chances::default(),
            stale: None,
        }
    }
}

impl Plan {
    /// Nothing goes wrong, but batches are applied write by write.
    pub fn one_by_one() -> Plan {
        Plan { one_by_one: true, ..Plan::default() }
    }

    /// As a backend without transactions and guards does it.
    pub fn like_kubernetes() -> Plan {
        Plan { one_by_one: true, guards: false, split_reads: true, ..Plan::default() }
    }

    /// The numbered commit meets that fault.
    pub fn fault(mut self, commit: u64, fault: CommitFault) -> Plan {
        self.faults.insert(commit, fault);
        self
    }
}

/// What a commit meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CommitFault {
    /// It fails before anything was sent: an error, and nothing is applied.
    Unsent,
    /// Replies are lost. One request a write: `lost` is 1. One for all: `answered` is 0 and `lost` the length of the batch.
    ReplyLost {
        /// So many writes are applied and answered first.
        answered: usize,
        /// Of so many that follow the outcome is unknown; those after them are not tried.
        lost: usize,
        /// Whether they were applied.
        landed: bool,
    },
    /// The caller crashes when so many writes were applied. Whoever called is told that everything is unknown, and every later call
    /// fails until [`Faulty::revive`](super::Faulty::revive).
    Crash {
        /// Number of writes.
        writes: usize,
    },
}

/// How often things happen by chance, in thousands of a call (of an event, for watches).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chances {
    /// A read fails.
    pub read_fails: u32,
    /// A commit meets [`CommitFault::Unsent`].
    pub unsent: u32,
    /// A commit meets [`CommitFault::ReplyLost`], somewhere.
    pub reply_lost: u32,
    /// A commit meets [`CommitFault::Crash`], somewhere.
    pub crash: u32,
    /// A watch is interrupted, and starts anew.
    pub watch_dropped: u32,
}

impl Chances {
    pub(super) fn draw(&self, rng: &mut Rng, writes: usize) -> Option<CommitFault> {
        if happens(rng, self.unsent) {
            return Some(CommitFault::Unsent);
        }
        if happens(rng, self.reply_lost) && writes > 0 {
            let answered = rng.usize(..writes);
            let lost = rng.usize(1..=writes - answered);
            return Some(CommitFault::ReplyLost { answered, lost, landed: rng.bool() });
        }
        happens(rng, self.crash).then(|| CommitFault::Crash { writes: rng.usize(..=writes) })
    }
}

pub(super) fn happens(rng: &mut Rng, thousandths: u32) -> bool {
    thousandths > 0 && rng.u32(..1000) < thousandths
}

/// Reads see records of different moments, each for itself. This is weaker than the port promises: it stands for a view that is kept
/// warm by watches, and shows what rests on a view being a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale {
    /// How many of its latest states, but the present one, a record may be seen in.
    pub window: usize,
    /// How often a record is seen so, in thousands.
    pub chance: u32,
}

/// A moment within a call, at which a hook may let others do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A read is about to begin.
    BeforeRead,
    /// Between the parts of a read, and after the last of them, with [`Plan::split_reads`].
    BetweenReads,
    /// A read is done, and not answered yet.
    AfterRead,
    /// The write of that index is about to be applied; 0 where the batch is applied as a whole.
    BeforeWrite(usize),
    /// The write of that index was applied; the last where the batch is applied as a whole.
    AfterWrite(usize),
}
