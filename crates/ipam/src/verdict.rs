//! What a request makes of each pool and block, and why. A planner tells it to a [`Sink`] while it plans; who wants no explanation loses nothing by it.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use api::pool::OddSelector;
use api::{BlockCidr, Cidr, Pool, PoolError, Timestamp, Use};

/// A judgement on what a request looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// On a pool of the family.
    Pool {
        /// Its name.
        name: String,
        /// What it is to the request.
        verdict: PoolVerdict,
    },
    /// On a block.
    Block {
        /// The block.
        block: BlockCidr,
        /// What it is to the request.
        verdict: BlockVerdict,
    },
    /// The host has as many blocks as it may (`libcalico-go/lib/ipam/ipam.go`).
    BlockLimit(u32),
    /// The host's blocks are full, it finds no other to claim, and it may not borrow.
    StrictAffinity,
    /// No block of these pools has an address left.
    Exhausted(Vec<Cidr>),
}

/// What a pool is to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolVerdict {
    /// It is taken from.
    Chosen,
    /// It cannot be read.
    Unreadable(PoolError),
    /// It is disabled.
    Disabled,
    /// The request names other pools.
    NotNamed,
    /// It is given to those only who name it (`assignmentMode: Manual`).
    Manual,
    /// Its node selector leaves the node out.
    OtherNodes(String),
    /// Its namespace selector leaves the namespace out.
    OtherNamespaces(String),
    /// One of its selectors cannot be read: it selects nobody.
    OddSelector(OddSelector),
    /// Its blocks have no room beside what the host keeps of each.
    SmallBlocks,
    /// It is for other uses than this.
    OtherUses(Use),
}

/// What a block is to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockVerdict {
    /// So many addresses are taken from it, which is the host's.
    Taken(usize),
    /// So many addresses are taken from it, which the host claims.
    Claimed(usize),
    /// So many addresses are taken from it, which is another's.
    Borrowed(usize),
    /// It, or the host's affinity to it, cannot be read: it is left alone.
    Unreadable,
    /// It is the host's, and lies in a pool that is not taken from now.
    OtherPool,
    /// It is the host's, and its pool no longer selects the node: empty, it is given up; in use, it is kept.
    Deselected {
        /// Whether it is empty.
        is_empty: bool,
    },
    /// The host's affinity to it is stale: another has it, or nobody.
    Stale,
    /// It overlaps another block, or is none of those that its pool is divided into.
    Overlapping,
    /// A reservation covers it.
    Reserved,
    /// It has no address left that may be taken.
    Full,
    /// Whose it is is told in a form that is not known.
    OddOwner,
    /// It has another size than the blocks of its pool, or lies in none of the pools.
    OfNoPool,
    /// It is another's, who claimed it less than a minute ago, at that time.
    ClaimedLately(Timestamp),
    /// It is another's, who uses it.
    InUse,
    /// It has changed while the request was looking.
    Changed,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Pool { name, verdict } => write!(f, "pool {name}: {verdict}"),
            Verdict::Block { block, verdict } => write!(f, "block {block}: {verdict}"),
            Verdict::BlockLimit(limit) => write!(
                f,
                "Need to allocate an IPAM block but could not - limit of {limit} blocks reached for this node"
            ),
            Verdict::StrictAffinity => f.write_str("No more free affine blocks and strict affinity enabled"),
            Verdict::Exhausted(pools) => {
                let pools: Vec<String> = pools.iter().map(Cidr::to_string).collect();
                write!(f, "No IPs available in pools: [{}]", pools.join(" "))
            }
        }
    }
}

impl fmt::Display for PoolVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PoolVerdict::Chosen => f.write_str("it is taken from"),
            PoolVerdict::Unreadable(error) => write!(f, "it cannot be read: {error}"),
            PoolVerdict::Disabled => f.write_str("it is disabled"),
            PoolVerdict::NotNamed => f.write_str("the request names other pools"),
            PoolVerdict::Manual => {
                f.write_str("its assignmentMode is Manual, and the request does not name it")
            }
            PoolVerdict::OtherNodes(selector) => write!(f, "its nodeSelector {selector} leaves the node out"),
            PoolVerdict::OtherNamespaces(selector) => {
                write!(f, "its namespaceSelector {selector} leaves the namespace out")
            }
            PoolVerdict::OddSelector(odd) => {
                write!(f, "its selector {:?} cannot be read and selects nobody: {}", odd.text, odd.error)
            }
            PoolVerdict::SmallBlocks => {
                f.write_str("its blocks have no room beside the addresses that the host keeps of each")
            }
            PoolVerdict::OtherUses(wanted) => {
                write!(f, "its allowedUses leave {} out", wanted.name())
            }
        }
    }
}

impl fmt::Display for BlockVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BlockVerdict::Taken(n) => write!(f, "it is the host's, and gives {n}"),
            BlockVerdict::Claimed(n) => write!(f, "the host claims it, and it gives {n}"),
            BlockVerdict::Borrowed(n) => write!(f, "it is another's, and gives {n}"),
            BlockVerdict::Unreadable => f.write_str("it, or the host's affinity to it, cannot be read"),
            BlockVerdict::OtherPool => {
                f.write_str("it is the host's, and lies in a pool that is not taken from")
            }
            BlockVerdict::Deselected { is_empty: true } => {
                f.write_str("its pool no longer selects the node; it is empty and given up")
            }
            BlockVerdict::Deselected { is_empty: false } => {
                f.write_str("its pool no longer selects the node; it is in use and kept")
            }
            BlockVerdict::Stale => f.write_str("it is not the host's, whose affinity to it is stale"),
            BlockVerdict::Overlapping => {
                f.write_str("it overlaps another block, or is none of those that its pool is divided into")
            }
            BlockVerdict::Reserved => f.write_str("an IPReservation covers it"),
            BlockVerdict::Full => f.write_str("it has no address left"),
            BlockVerdict::OddOwner => f.write_str("whose it is is told in a form that is not known"),
            BlockVerdict::OfNoPool => f.write_str("it is no block of the pools"),
            BlockVerdict::ClaimedLately(time) => {
                write!(f, "it is another's, claimed at {time}, less than a minute ago")
            }
            BlockVerdict::InUse => f.write_str("it is another's, who uses it"),
            BlockVerdict::Changed => f.write_str("it has changed while the request was looking"),
        }
    }
}

/// Who is told what a planner makes of pools and blocks. A planner plans anew whenever it has read more, and tells all of it again.
pub trait Sink: Send + Sync {
    /// The planner begins: what was told before counts no more.
    fn begin(&self);

    /// A verdict; it is made up only where somebody wants it.
    fn tell(&self, verdict: impl FnOnce() -> Verdict);
}

/// Nobody is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Sink for Silent {
    #[inline]
    fn begin(&self) {}

    #[inline]
    fn tell(&self, _verdict: impl FnOnce() -> Verdict) {}
}

/// The verdicts of the last plan, in the order in which they were given.
#[derive(Debug, Default)]
pub struct Verdicts(Mutex<Vec<Verdict>>);

impl Verdicts {
    /// What was told since the planner last began.
    pub fn take(&self) -> Vec<Verdict> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Sink for &Verdicts {
    fn begin(&self) {
        self.take();
    }

    fn tell(&self, verdict: impl FnOnce() -> Verdict) {
        // A panic while the lock is held can only come between whole changes.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(verdict());
    }
}

/// Tells a verdict on a pool.
pub(crate) fn of_pool(sink: &impl Sink, pool: &Pool, verdict: impl FnOnce() -> PoolVerdict) {
    sink.tell(|| Verdict::Pool { name: pool.name.clone(), verdict: verdict() });
}

/// Tells a verdict on a block.
pub(crate) fn of_block(sink: &impl Sink, block: BlockCidr, verdict: BlockVerdict) {
    sink.tell(|| Verdict::Block { block, verdict });
}
