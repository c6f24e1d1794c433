//! What a request reads: typed keys and scopes, never raw prefixes.

use api::{BlockCidr, Family, HandleId, Key, Kind, Owner, key};

/// How much of a record a read wants. A backend may give more, never less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// Whether the record exists, and its revision.
    Key,
    /// For blocks: owner, claim time, free ordinals, sequence number. For every other record the same as
    /// [`Depth::Full`].
    Header,
    /// The whole record.
    Full,
}

/// A set of records that have something in common, such as all blocks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// All resources of a kind, of one namespace or of all.
    Resources {
        /// The kind.
        kind: Kind,
        /// The namespace; `None` for all namespaces, and for kinds without namespaces.
        namespace: Option<String>,
    },
    /// The affinities of one owner or of all owners, of one family or of both.
    Affinities {
        /// The owner; `None` for all owners.
        owner: Option<Owner>,
        /// The family; `None` for both.
        family: Option<Family>,
    },
    /// All blocks of one family or of both.
    Blocks {
        /// The family; `None` for both.
        family: Option<Family>,
    },
    /// One block, where it is there.
    Block(BlockCidr),
    /// All handles.
    Handles,
    /// The allocator's configuration, where it is there.
    IpamConfig,
}

/// Whether no read of scopes finds the record of an etcd key: the program knows no such record, or it belongs
/// to no list.
#[cfg(any(feature = "etcd", feature = "sqlite"))]
pub(crate) fn is_unknown(path: &str) -> bool {
    Key::from_etcd_path(path).is_none_or(|key| matches!(key, Key::IpamHost(_)))
}

impl Scope {
    /// All resources of a kind, in all namespaces.
    pub fn kind(kind: Kind) -> Scope {
        Scope::Resources { kind, namespace: None }
    }

    /// Whether a record belongs to the scope.
    pub fn holds(&self, key: &Key) -> bool {
        match (self, key) {
            (Scope::Resources { kind, namespace }, Key::Resource { kind: k, namespace: n, .. }) => {
                kind == k && (namespace.is_none() || namespace == n)
            }
            (Scope::Affinities { owner, family }, Key::Affinity { owner: o, block }) => {
                owner.as_ref().is_none_or(|owner| owner == o) && family.is_none_or(|f| f == block.family())
            }
            (Scope::Blocks { family }, Key::Block(block)) => family.is_none_or(|f| f == block.family()),
            (Scope::Block(one), Key::Block(block)) => one == block,
            (Scope::Handles, Key::Handle(_)) | (Scope::IpamConfig, Key::IpamConfig) => true,
            _ => false,
        }
    }

    /// The prefixes of etcd keys under which all records of the scope are, in the order of text. Each ends in
    /// `/`, or is the key of the scope's only record. Records of other scopes may be there too: see
    /// [`Scope::holds`].
    pub fn prefixes(&self) -> Vec<String> {
        match self {
            Scope::Resources { kind, namespace } => vec![key::resources_prefix(*kind, namespace.as_deref())],
            Scope::Affinities { owner, family } => key::affinities_prefixes(owner.as_ref(), *family),
            Scope::Blocks { family } => vec![key::blocks_prefix(*family)],
            Scope::Block(block) => vec![Key::Block(*block).etcd_path()],
            Scope::Handles => vec![key::handles_prefix().to_string()],
            Scope::IpamConfig => vec![Key::IpamConfig.etcd_path()],
        }
    }

    /// A key at or before every key of the scope, in the order of [`Key`].
    pub(crate) fn least(&self) -> Key {
        let first = BlockCidr::LEAST;
        match self {
            Scope::Resources { kind, namespace } => {
                Key::Resource { kind: *kind, namespace: namespace.clone(), name: String::new() }
            }
            Scope::Affinities { owner, .. } => {
                let least = || Owner::Host(String::new());
                Key::Affinity { owner: owner.clone().unwrap_or_else(least), block: first }
            }
            Scope::Blocks { .. } => Key::Block(first),
            Scope::Block(block) => Key::Block(*block),
            Scope::Handles => Key::Handle(HandleId::least()),
            Scope::IpamConfig => Key::IpamConfig,
        }
    }

    /// Whether any key at or after `key`, in the order of [`Key`], may belong to the scope. `key` must be at
    /// or after [`Scope::least`].
    pub(crate) fn may_hold_from(&self, key: &Key) -> bool {
        match (self, key) {
            (Scope::Resources { kind, .. }, Key::Resource { kind: k, .. }) => kind == k,
            (Scope::Affinities { owner, .. }, Key::Affinity { owner: o, .. }) => {
                owner.as_ref().is_none_or(|owner| owner == o)
            }
            (Scope::Block(one), Key::Block(block)) => one == block,
            (Scope::Blocks { .. }, Key::Block(_))
            | (Scope::Handles, Key::Handle(_))
            | (Scope::IpamConfig, Key::IpamConfig) => true,
            _ => false,
        }
    }

    /// Whether every record of `other` belongs to this scope, too.
    pub fn covers(&self, other: &Scope) -> bool {
        fn any<T: PartialEq>(wide: &Option<T>, narrow: &Option<T>) -> bool {
            wide.is_none() || wide == narrow
        }
        match (self, other) {
            (Scope::Resources { kind: a, namespace: n }, Scope::Resources { kind: b, namespace: m }) => {
                a == b && any(n, m)
            }
            (Scope::Affinities { owner: a, family: f }, Scope::Affinities { owner: b, family: g }) => {
                any(a, b) && any(f, g)
            }
            (Scope::Blocks { family: f }, Scope::Blocks { family: g }) => any(f, g),
            (Scope::Blocks { family }, Scope::Block(block)) => family.is_none_or(|f| f == block.family()),
            (Scope::Block(one), Scope::Block(other)) => one == other,
            (Scope::Handles, Scope::Handles) | (Scope::IpamConfig, Scope::IpamConfig) => true,
            _ => false,
        }
    }
}

/// A page of a scope, in the backend's own order of keys, which is the same for all pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The page begins after this key; `None` for the first page.
    pub after: Option<Key>,
    /// The largest number of records on the page, at least 1.
    pub limit: usize,
}

/// A scope to read, or a page of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeRead {
    /// The scope.
    pub scope: Scope,
    /// How much of each record to read.
    pub depth: Depth,
    /// The page to read; `None` for the whole scope.
    pub page: Option<Page>,
}

/// A set of records to read, in one request where the backend can.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadSet {
    /// Single records, each with the depth.
    pub keys: Vec<(Key, Depth)>,
    /// Scopes, and pages of scopes.
    pub scopes: Vec<ScopeRead>,
}

impl ReadSet {
    /// The empty set.
    pub fn new() -> ReadSet {
        ReadSet::default()
    }

    /// Adds a record, to be read in full.
    pub fn key(mut self, key: Key) -> ReadSet {
        self.keys.push((key, Depth::Full));
        self
    }

    /// Adds records, to be read in full.
    pub fn keys(mut self, keys: impl IntoIterator<Item = Key>) -> ReadSet {
        self.keys.extend(keys.into_iter().map(|key| (key, Depth::Full)));
        self
    }

    /// Adds a scope.
    pub fn scope(mut self, scope: Scope, depth: Depth) -> ReadSet {
        self.scopes.push(ScopeRead { scope, depth, page: None });
        self
    }

    /// Adds a page of a scope.
    pub fn page(mut self, scope: Scope, depth: Depth, page: Page) -> ReadSet {
        self.scopes.push(ScopeRead { scope, depth, page: Some(page) });
        self
    }

    /// Adds all of another set.
    pub fn and(mut self, other: ReadSet) -> ReadSet {
        self.keys.extend(other.keys);
        self.scopes.extend(other.scopes);
        self
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.scopes.is_empty()
    }
}
