//! What is known of the cluster: the records that a feed has told, as a snapshot for the plan. Pure.

use std::collections::BTreeSet;

use api::{IpamConfig, Key, Kind, Record, Resource, Value};
use routes::{Known, Snapshot};
use store::{Event, Scope};

/// The scopes that are watched. Without strict affinity an address may be borrowed, and has a route of its
/// own at every node: so the blocks are read. With it, affinities tell everything, and they change only when
/// a block is claimed or given back.
pub fn scopes(known: Known) -> Vec<Scope> {
    let of_routes = match known {
        Known::ByBlocks => Scope::Blocks { family: None },
        Known::ByAffinities => Scope::Affinities { owner: None, family: None },
    };
    vec![Scope::kind(Kind::Node), Scope::kind(Kind::IPPool), of_routes]
}

/// By what it is to be known who has a block.
pub fn known_by(config: Option<&IpamConfig>) -> Known {
    match config.is_some_and(|config| config.strict_affinity) {
        true => Known::ByAffinities,
        false => Known::ByBlocks,
    }
}

/// What is known of the cluster.
#[derive(Debug)]
pub struct World {
    /// The records, for the plan.
    pub snapshot: Snapshot,
    /// The Node of this host; `None` where there is none, or it cannot be read.
    pub own: Option<Resource>,
    name: String,
    scopes: Vec<Progress>,
}

/// How much of a scope is known.
#[derive(Debug, Default)]
struct Progress {
    /// Whether all of it was told at least once.
    is_complete: bool,
    /// The keys that are there.
    keys: BTreeSet<Key>,
    /// While the present state is being told: the keys of it so far.
    told: Option<BTreeSet<Key>>,
}

impl World {
    /// Nothing is known yet. `name` is this host's Node.
    pub fn new(name: &str, known: Known) -> World {
        World {
            snapshot: Snapshot::new(known),
            own: None,
            name: name.to_string(),
            scopes: scopes(known).iter().map(|_| Progress::default()).collect(),
        }
    }

    /// Whether every scope was told in full.
    pub fn is_complete(&self) -> bool {
        self.scopes.iter().all(|scope| scope.is_complete && scope.told.is_none())
    }

    /// All scopes are going to be told again; what is known holds until then.
    pub fn expect_anew(&mut self) {
        self.scopes.iter_mut().for_each(|scope| scope.is_complete = false);
    }

    /// Takes an event of a scope. What was known before holds until the present state is told in full.
    pub fn take(&mut self, nth: usize, event: Event) {
        match event {
            Event::Init => self.scopes[nth].told = Some(BTreeSet::new()),
            Event::InitApply(record) | Event::Apply(record) => {
                self.note(nth, &record.key);
                self.learn(&record);
            }
            Event::Unreadable(key, unreadable) => {
                self.note(nth, &key);
                tracing::warn!("{}", unreadable.error);
                self.snapshot.take_unreadable(&key);
            }
            Event::Delete(key, _) => {
                self.scopes[nth].keys.remove(&key);
                if let Some(told) = &mut self.scopes[nth].told {
                    told.remove(&key);
                }
                self.forget(&key);
            }
            Event::InitDone(_) => {
                let scope = &mut self.scopes[nth];
                scope.is_complete = true;
                let told = scope.told.take().unwrap_or_default();
                let gone: Vec<Key> = scope.keys.difference(&told).cloned().collect();
                scope.keys = told;
                gone.iter().for_each(|key| self.forget(key));
            }
            Event::Stray(error) => tracing::warn!("{error}"),
            Event::StrayGone(_) => {}
        }
    }

    fn note(&mut self, nth: usize, key: &Key) {
        let scope = &mut self.scopes[nth];
        // While the present state is told, a key counts when that is complete; a change meanwhile is part of
        // it.
        match &mut scope.told {
            Some(told) => {
                told.insert(key.clone());
            }
            None => {
                scope.keys.insert(key.clone());
            }
        }
    }

    fn learn(&mut self, record: &Record) {
        if let Value::Resource(node) = &record.value
            && self.is_own(&record.key)
        {
            self.own = Some(node.clone());
        }
        self.snapshot.take(record);
    }

    fn forget(&mut self, key: &Key) {
        if self.is_own(key) {
            self.own = None;
        }
        self.snapshot.forget(key);
    }

    fn is_own(&self, key: &Key) -> bool {
        *key == Key::global(Kind::Node, self.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use api::{Metadata, Revision};
    use serde_json::Map;

    use super::*;

    fn node(name: &str) -> Arc<Record> {
        let metadata = Metadata { name: name.to_string(), ..Metadata::default() };
        let value = Value::Resource(Resource::new(Kind::Node, metadata, Map::new()));
        Arc::new(Record { key: Key::global(Kind::Node, name), value, revision: Revision::new("1") })
    }

    fn names(world: &World) -> Vec<&str> {
        world.snapshot.nodes().collect()
    }

    fn done() -> Event {
        Event::InitDone(Revision::new("1"))
    }

    #[test]
    fn it_is_complete_when_every_scope_is() {
        let mut world = World::new("n1", Known::ByBlocks);
        for nth in 0..3 {
            assert!(!world.is_complete());
            world.take(nth, Event::Init);
            world.take(nth, done());
        }
        assert!(world.is_complete());
        world.take(1, Event::Init);
        assert!(!world.is_complete());
    }

    /// What a new list does not name is gone, but only once the list is whole.
    #[test]
    fn what_is_gone_after_a_gap_is_forgotten() {
        let mut world = World::new("n1", Known::ByBlocks);
        world.take(0, Event::Init);
        world.take(0, Event::InitApply(node("n1")));
        world.take(0, Event::InitApply(node("n2")));
        world.take(0, done());
        assert!(world.own.is_some());
        world.take(0, Event::Init);
        world.take(0, Event::InitApply(node("n2")));
        world.take(0, Event::Apply(node("n3")));
        assert_eq!(names(&world), ["n1", "n2", "n3"]);
        world.take(0, done());
        assert_eq!(names(&world), ["n2", "n3"]);
        assert!(world.own.is_none());
        world.take(0, Event::Delete(Key::global(Kind::Node, "n2"), Revision::new("2")));
        assert_eq!(names(&world), ["n3"]);
    }
}
