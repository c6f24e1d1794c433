//! What a request wants to read: typed keys and scopes, never raw prefixes.

use api::{BlockCidr, Family, HandleId, Key, Kind, Owner, key};

/// How much of a record is wanted. Backends may give more, never less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// That it exists, and its revision.
    Key,
    /// For blocks: owner, claim time, free ordinals, sequence number. For everything else the same as [`Depth::Full`].
    Header,
    /// All of it.
    Full,
}

/// A set of records that is named by what it is, not by its members.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// All resources of a kind, of one namespace or of all.
    Resources {
        /// The kind.
        kind: Kind,
        /// The namespace; `None` for all, and for kinds that have none.
        namespace: Option<String>,
    },
    /// The affinities of an owner, or of everybody; of a family, or of both.
    Affinities {
        /// The owner.
        owner: Option<Owner>,
        /// The family.
        family: Option<Family>,
    },
    /// All blocks, of a family or of both.
    Blocks {
        /// The family.
        family: Option<Family>,
    },
    /// All handles.
    Handles,
}

impl Scope {
    /// All resources of a kind.
    pub fn kind(kind: Kind) -> Scope {
        Scope::Resources { kind, namespace: None }
    }

    /// Whether a record belongs to it.
    pub fn holds(&self, key: &Key) -> bool {
        match (self, key) {
            (Scope::Resources { kind, namespace }, Key::Resource { kind: k, namespace: n, .. }) => {
                kind == k && (namespace.is_none() || namespace == n)
            }
            (Scope::Affinities { owner, family }, Key::Affinity { owner: o, block }) => {
                owner.as_ref().is_none_or(|owner| owner == o) && family.is_none_or(|f| f == block.family())
            }
            (Scope::Blocks { family }, Key::Block(block)) => family.is_none_or(|f| f == block.family()),
            (Scope::Handles, Key::Handle(_)) => true,
            _ => false,
        }
    }

    /// The prefixes of etcd keys under which all of its records lie, each ending in `/`, in the order of text. Others lie there too: see [`Scope::holds`].
    pub fn prefixes(&self) -> Vec<String> {
        match self {
            Scope::Resources { kind, namespace } => vec![key::resources_prefix(*kind, namespace.as_deref())],
            Scope::Affinities { owner, family } => key::affinities_prefixes(owner.as_ref(), *family),
            Scope::Blocks { family } => vec![key::blocks_prefix(*family)],
            Scope::Handles => vec![key::handles_prefix().to_string()],
        }
    }

    /// The least key, in the order of [`Key`], that may belong to it.
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
            Scope::Handles => Key::Handle(HandleId::least()),
        }
    }

    /// Whether keys at or after `key`, in the order of [`Key`], may belong to it; `key` is at or after [`Scope::least`].
    pub(crate) fn may_hold_from(&self, key: &Key) -> bool {
        match (self, key) {
            (Scope::Resources { kind, .. }, Key::Resource { kind: k, .. }) => kind == k,
            (Scope::Affinities { owner, .. }, Key::Affinity { owner: o, .. }) => {
                owner.as_ref().is_none_or(|owner| owner == o)
            }
            (Scope::Blocks { .. }, Key::Block(_)) | (Scope::Handles, Key::Handle(_)) => true,
            _ => false,
        }
    }

    /// Whether every record of `other` belongs to it.
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
            (Scope::Handles, Scope::Handles) => true,
            _ => false,
        }
    }
}

/// A page of a scope, in the backend's own order of keys (which is the same from page to page).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Begin after this key; `None` at the start.
    pub after: Option<Key>,
    /// At most so many records, at least 1.
    pub limit: usize,
}

/// A scope to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeRead {
    /// The scope.
    pub scope: Scope,
    /// How much of each record.
    pub depth: Depth,
    /// A page of it, or all.
    pub page: Option<Page>,
}

/// What to read, in one go where the backend can.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadSet {
    /// Single records.
    pub keys: Vec<(Key, Depth)>,
    /// Scopes.
    pub scopes: Vec<ScopeRead>,
}

impl ReadSet {
    /// Reads nothing.
    pub fn new() -> ReadSet {
        ReadSet::default()
    }

    /// And all of that record.
    pub fn key(mut self, key: Key) -> ReadSet {
        self.keys.push((key, Depth::Full));
        self
    }

    /// And all of those records.
    pub fn keys(mut self, keys: impl IntoIterator<Item = Key>) -> ReadSet {
        self.keys.extend(keys.into_iter().map(|key| (key, Depth::Full)));
        self
    }

    /// And that scope, to that depth.
    pub fn scope(mut self, scope: Scope, depth: Depth) -> ReadSet {
        self.scopes.push(ScopeRead { scope, depth, page: None });
        self
    }

    /// And a page of that scope.
    pub fn page(mut self, scope: Scope, depth: Depth, page: Page) -> ReadSet {
        self.scopes.push(ScopeRead { scope, depth, page: Some(page) });
        self
    }

    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.scopes.is_empty()
    }
}
