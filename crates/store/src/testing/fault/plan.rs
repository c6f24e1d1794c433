//! Which faults a caller meets, as data.

use std::collections::BTreeMap;

use fastrand::Rng;

/// The faults of one caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultPlan {
    /// The seed of every random choice.
    pub seed: u64,
    /// Batches are applied write by write, as a backend without transactions does. A fault within a batch
    /// always strikes between two writes, since every prefix of a batch is a legal state.
    pub one_by_one: bool,
    /// Guards are honoured. With `one_by_one` they are checked together with the first write. A batch's looks
    /// are made in any case.
    pub guards: bool,
    /// The keys and scopes of a read are read one after the other, with [`Step::BetweenReads`] between them.
    pub split_reads: bool,
    /// The faults of the caller's commits, by the commit's number, counted from 0. They take precedence over
    /// `chances`.
    pub faults: BTreeMap<u64, CommitFault>,
    /// How often faults happen by chance.
    pub chances: Chances,
    /// Lets reads see earlier states of records.
    pub stale: Option<Stale>,
}

impl Default for FaultPlan {
    /// No faults, and batches are applied as the store itself does.
    fn default() -> Self {
        FaultPlan {
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

impl FaultPlan {
    /// No faults, but batches are applied write by write.
    pub fn one_by_one() -> FaultPlan {
        FaultPlan { one_by_one: true, ..FaultPlan::default() }
    }

    /// No faults, and no transactions, guards or reads in one go: as on Kubernetes.
    pub fn like_kubernetes() -> FaultPlan {
        FaultPlan { one_by_one: true, guards: false, split_reads: true, ..FaultPlan::default() }
    }

    /// Adds a fault to the commit of that number, counted from 0.
    pub fn fault(mut self, commit: u64, fault: CommitFault) -> FaultPlan {
        self.faults.insert(commit, fault);
        self
    }
}

/// A fault of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CommitFault {
    /// The commit fails before anything is sent: it gives an error, and nothing is applied.
    Unsent,
    /// The replies of some writes are lost. For a backend with one request per write, `lost` is 1; for a
    /// backend with one request per batch, `answered` is 0 and `lost` is the length of the batch.
    ReplyLost {
        /// How many writes are applied and answered before.
        answered: usize,
        /// How many writes after those have an unknown outcome. The writes after these are not tried.
        lost: usize,
        /// Whether the writes with an unknown outcome were applied.
        landed: bool,
    },
    /// The caller crashes after some writes were applied. The commit reports every outcome as unknown, and
    /// every later call fails until [`Faulty::revive`](super::Faulty::revive).
    Crash {
        /// How many writes are applied before the crash.
        writes: usize,
    },
}

/// How often faults happen by chance, per thousand calls; for watches, per thousand events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chances {
    /// A read fails.
    pub read_fails: u32,
    /// A commit meets [`CommitFault::Unsent`].
    pub unsent: u32,
    /// A commit meets [`CommitFault::ReplyLost`], at a random write.
    pub reply_lost: u32,
    /// A commit meets [`CommitFault::Crash`], at a random write.
    pub crash: u32,
    /// A watch is interrupted, and begins again.
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

/// Lets reads see each record in a state of its own moment. This is weaker than the port promises. It stands
/// for a view that watches keep up to date, and shows which conclusions wrongly take a view for a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale {
    /// How many states before the present one a record may be seen in.
    pub window: usize,
    /// How often a record is seen in an earlier state, per thousand.
    pub chance: u32,
}

/// A moment within a call at which a hook may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Before a read begins.
    BeforeRead,
    /// Between the parts of a read, and after the last of them, with [`FaultPlan::split_reads`].
    BetweenReads,
    /// After a read is done, before the caller gets the answer.
    AfterRead,
    /// Before the write of that index is applied; 0 where the batch is applied as a whole.
    BeforeWrite(usize),
    /// After the write of that index was applied; the last index where the batch is applied as a whole.
    AfterWrite(usize),
}
