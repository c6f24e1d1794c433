//! The verdicts of a request on each pool and block, with reasons. A planner gives them to a [`Sink`] while
//! it plans. Without a sink that listens they cost nothing.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use api::pool::OddSelector;
use api::{BlockCidr, Cidr, Pool, PoolError, Timestamp, Use};

/// A planner's verdict on something that it looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A verdict on a pool of the family.
    Pool {
        /// The pool's name.
        name: String,
        /// The verdict.
        verdict: PoolVerdict,
    },
    /// A verdict on a block.
    Block {
        /// The block.
        block: BlockCidr,
        /// The verdict.
        verdict: BlockVerdict,
    },
    /// The host owns as many blocks as it may, which is this number (`libcalico-go/lib/ipam/ipam.go`).
    BlockLimit(u32),
    /// The host's blocks are full, the host finds no other block to claim, and it may not borrow.
    StrictAffinity,
    /// The same, where an address for this use is never borrowed.
    NeverBorrowed(Use),
    /// No block of these pools has a free address.
    Exhausted(Vec<Cidr>),
}

/// What a pool means to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolVerdict {
    /// Addresses may be taken from the pool.
    Chosen,
    /// The pool cannot be parsed.
    Unreadable(PoolError),
    /// The pool is disabled.
    Disabled,
    /// The pool is being deleted.
    Terminating,
    /// A controller has found that no address can be allocated from the pool.
    Unallocatable,
    /// The request names other pools.
    NotNamed,
    /// Only requests that name the pool get addresses from it (`assignmentMode: Manual`).
    Manual,
    /// The pool's node selector leaves the node out.
    OtherNodes(String),
    /// The pool's namespace selector leaves the namespace out.
    OtherNamespaces(String),
    /// One of the pool's selectors cannot be parsed, so the pool selects nobody.
    OddSelector(OddSelector),
    /// The pool's blocks are too small: the host would reserve all of their addresses.
    SmallBlocks,
    /// The pool's `allowedUses` do not contain this use.
    OtherUses(Use),
}

/// What a block means to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockVerdict {
    /// The request takes so many addresses from this block of the host's.
    Taken(usize),
    /// The host claims the block, and the request takes so many addresses from it.
    Claimed(usize),
    /// The request takes so many addresses from this block of another owner's.
    Borrowed(usize),
    /// The block, or the host's affinity to it, cannot be parsed. It is left alone.
    Unreadable,
    /// The block is the host's, and is in a pool that is not chosen.
    OtherPool,
    /// The block is the host's, and its pool no longer selects the node. An empty block is given up; a block
    /// in use is kept.
    Deselected {
        /// Whether the block is empty.
        is_empty: bool,
    },
    /// The host's affinity to the block is stale: the block has another owner, or none.
    Stale,
    /// The block overlaps another block, or is not one of those into which its pool is divided.
    Overlapping,
    /// Reservations cover the whole block.
    Reserved,
    /// The block has no address left that may be taken.
    Full,
    /// The block's owner is written in a form that this program does not know.
    OddOwner,
    /// The block has another size than its pool's blocks, or is in none of the pools.
    OfNoPool,
    /// The block has another owner, who claimed it less than a minute ago, at this time.
    ClaimedLately(Timestamp),
    /// The block has another owner, who uses it.
    InUse,
    /// The block has changed since the request read its header.
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
            Verdict::NeverBorrowed(wanted) => {
                write!(f, "No more free affine blocks, and no {} address is borrowed", wanted.name())
            }
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
            PoolVerdict::Terminating => f.write_str("it is being deleted"),
            PoolVerdict::Unallocatable => f.write_str("its status says that it is not allocatable"),
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

/// The receiver of a planner's verdicts. After each further read the planner plans again from the beginning,
/// and gives all verdicts again.
pub trait Sink: Send + Sync {
    /// Tells that the planner begins: earlier verdicts no longer count.
    fn begin(&self);

    /// Gives a verdict. The closure makes it; a sink that wants no verdicts does not call it.
    fn tell(&self, verdict: impl FnOnce() -> Verdict);
}

/// A sink that ignores all verdicts.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSink;

impl Sink for NoSink {
    #[inline]
    fn begin(&self) {}

    #[inline]
    fn tell(&self, _verdict: impl FnOnce() -> Verdict) {}
}

/// A sink that keeps the verdicts of the last plan, in the order in which they were given.
#[derive(Debug, Default)]
pub struct Verdicts(Mutex<Vec<Verdict>>);

impl Verdicts {
    /// Takes out the verdicts given since the planner last began.
    pub fn take(&self) -> Vec<Verdict> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Sink for &Verdicts {
    fn begin(&self) {
        self.take();
    }

    fn tell(&self, verdict: impl FnOnce() -> Verdict) {
        // A panic while the lock is held cannot leave the list half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(verdict());
    }
}

/// Gives a sink a verdict on a pool.
pub(crate) fn of_pool(sink: &impl Sink, pool: &Pool, verdict: impl FnOnce() -> PoolVerdict) {
    sink.tell(|| Verdict::Pool { name: pool.name.clone(), verdict: verdict() });
}

/// Gives a sink a verdict on a block.
pub(crate) fn of_block(sink: &impl Sink, block: BlockCidr, verdict: BlockVerdict) {
    sink.tell(|| Verdict::Block { block, verdict });
}
