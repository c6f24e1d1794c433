//! What becomes of a pool, as one stable word.

/// What becomes of a pool in a request. Programs read the words, so they do not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// The next address is taken from the pool.
    Taken,
    /// Addresses may be taken from the pool; another pool or block comes first.
    Eligible,
    /// No address of the pool is free.
    Exhausted,
    /// IPReservations cover the whole pool.
    AllReserved,
    /// The node owns as many blocks as it may.
    BlockLimit,
    /// The free addresses are in blocks of other nodes, and affinity is strict.
    StrictAffinity,
    /// The free addresses are in blocks of other nodes, and an address for this use is never borrowed.
    NeverBorrowed,
    /// The node's blocks are full, and nodes may not claim others.
    NoAutoAllocate,
    /// Addresses are free, but their blocks cannot be used.
    NoUsableBlock,
    /// The pool is disabled.
    Disabled,
    /// The pool is being deleted.
    Terminating,
    /// The pool overlaps another.
    Overlap,
    /// The pool's status says that it is not allocatable, for another reason.
    NotAllocatable,
    /// The request names other pools.
    NotNamed,
    /// An annotation names other pools.
    AnnotationNamesOthers,
    /// Only requests that name the pool get addresses from it.
    Manual,
    /// The pool's node selector leaves the node out.
    NodeSelector,
    /// The pool's namespace selector leaves the namespace out.
    NamespaceSelector,
    /// A selector of the pool cannot be read.
    BadSelector,
    /// The pool is for other uses.
    OtherUse,
    /// The pool's blocks have no room beside the addresses that the host keeps.
    SmallBlocks,
    /// The pool cannot be read.
    Unreadable,
    /// The pool has addresses of the other family.
    OtherFamily,
}

impl Standing {
    /// All of them.
    pub const ALL: [Standing; 23] = [
        Standing::Taken,
        Standing::Eligible,
        Standing::Exhausted,
        Standing::AllReserved,
        Standing::BlockLimit,
        Standing::StrictAffinity,
        Standing::NeverBorrowed,
        Standing::NoAutoAllocate,
        Standing::NoUsableBlock,
        Standing::Disabled,
        Standing::Terminating,
        Standing::Overlap,
        Standing::NotAllocatable,
        Standing::NotNamed,
        Standing::AnnotationNamesOthers,
        Standing::Manual,
        Standing::NodeSelector,
        Standing::NamespaceSelector,
        Standing::BadSelector,
        Standing::OtherUse,
        Standing::SmallBlocks,
        Standing::Unreadable,
        Standing::OtherFamily,
    ];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Standing::Taken => "taken",
            Standing::Eligible => "eligible",
            Standing::Exhausted => "exhausted",
            Standing::AllReserved => "all-reserved",
            Standing::BlockLimit => "block-limit",
            Standing::StrictAffinity => "strict-affinity",
            Standing::NeverBorrowed => "never-borrowed",
            Standing::NoAutoAllocate => "no-auto-allocate",
            Standing::NoUsableBlock => "no-usable-block",
            Standing::Disabled => "disabled",
            Standing::Terminating => "terminating",
            Standing::Overlap => "overlap",
            Standing::NotAllocatable => "not-allocatable",
            Standing::NotNamed => "not-named",
            Standing::AnnotationNamesOthers => "annotation-names-others",
            Standing::Manual => "manual",
            Standing::NodeSelector => "node-selector",
            Standing::NamespaceSelector => "namespace-selector",
            Standing::BadSelector => "bad-selector",
            Standing::OtherUse => "other-use",
            Standing::SmallBlocks => "small-blocks",
            Standing::Unreadable => "unreadable",
            Standing::OtherFamily => "other-family",
        }
    }

    /// Whether the request may take addresses from the pool, if only some were free for it.
    pub fn is_chosen(self) -> bool {
        matches!(
            self,
            Standing::Taken
                | Standing::Eligible
                | Standing::Exhausted
                | Standing::AllReserved
                | Standing::BlockLimit
                | Standing::StrictAffinity
                | Standing::NeverBorrowed
                | Standing::NoAutoAllocate
                | Standing::NoUsableBlock
        )
    }
}
