//! What is known of the cluster: the records that a feed has told, as a snapshot for the plan. Pure.

use std::collections::{BTreeMap, BTreeSet};

use api::{IpamConfig, Key, Kind, Record, Resource, Value};
use routes::{Known, Snapshot};
use store::{Event, Scope};

const AFFINITIES: Scope = Scope::Affinities { owner: None, family: None };

/// By what it is to be known who has a block.
pub fn known_by(config: Option<&IpamConfig>) -> Known {
    match config.is_some_and(|config| config.strict_affinity) {
        true => Known::ByAffinities,
        false => Known::ByBlocks,
    }
}

/// What is known of the cluster.
///
/// Without strict affinity an address may be borrowed, and has a route of its own at every node: so all
/// blocks are followed. With it, affinities tell everything, and they change only when a block is claimed or
/// given back. Then only the node's own blocks are followed, each by its name: an address that was borrowed
/// before affinity became strict is reached by way of its block's node, which must send it on.
#[derive(Debug)]
pub struct World {
    /// The records, for the plan.
    pub snapshot: Snapshot,
    /// The Node of this host; `None` where there is none, or it cannot be read.
    pub own: Option<Resource>,
    name: String,
    known: Known,
    wanted: Option<Known>,
    scopes: BTreeMap<Scope, Progress>,
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
        let of_routes = match known {
            Known::ByBlocks => Scope::Blocks { family: None },
            Known::ByAffinities => AFFINITIES,
        };
        let scopes = [Scope::kind(Kind::Node), Scope::kind(Kind::IPPool), Scope::IpamConfig, of_routes];
        World {
            snapshot: Snapshot::new(known),
            own: None,
            name: name.to_string(),
            known,
            wanted: None,
            scopes: scopes.into_iter().map(|scope| (scope, Progress::default())).collect(),
        }
    }

    /// The scopes that are to be watched now. An event may change them.
    pub fn scopes(&self) -> impl Iterator<Item = &Scope> {
        self.scopes.keys()
    }

    /// By what it is to be known from now on who has a block, where the allocator's configuration says
    /// otherwise than at the beginning. Then a new world has to be told.
    pub fn wants(&self) -> Option<Known> {
        self.wanted.filter(|wanted| *wanted != self.known)
    }

    /// Whether every scope was told in full.
    pub fn is_complete(&self) -> bool {
        self.scopes.values().all(|scope| scope.is_complete && scope.told.is_none())
    }

    /// All scopes are going to be told again; what is known holds until then.
    pub fn expect_anew(&mut self) {
        self.scopes.values_mut().for_each(|scope| scope.is_complete = false);
    }

    /// Takes an event of a scope. What was known before holds until the present state is told in full. Tells
    /// whether the plan may be another now: it is the same after most changes of Nodes and of blocks.
    pub fn take(&mut self, scope: &Scope, event: Event) -> bool {
        // The watch of a block that is another's now may have told something at its end.
        let Some(progress) = self.scopes.get_mut(scope) else { return false };
        let matters = match event {
            Event::Init => {
                progress.told = Some(BTreeSet::new());
                false
            }
            Event::InitApply(record) | Event::Apply(record) => {
                progress.note(&record.key);
                self.learn(&record)
            }
            Event::Unreadable(key, unreadable) => {
                progress.note(&key);
                tracing::warn!("{}", unreadable.error);
                self.snapshot.take_unreadable(&key);
                true
            }
            Event::Delete(key, _) => {
                progress.keys.remove(&key);
                if let Some(told) = &mut progress.told {
                    told.remove(&key);
                }
                self.forget(&key);
                true
            }
            Event::InitDone(_) => {
                progress.is_complete = true;
                let told = progress.told.take().unwrap_or_default();
                let gone: Vec<Key> = progress.keys.difference(&told).cloned().collect();
                progress.keys = told;
                let is_without_config = *scope == Scope::IpamConfig && progress.keys.is_empty();
                gone.iter().for_each(|key| self.forget(key));
                if is_without_config {
                    self.wanted = Some(known_by(None));
                }
                true
            }
            Event::Stray(error) => {
                tracing::warn!("{error}");
                false
            }
            Event::StrayGone(_) => false,
        };
        if matters && *scope == AFFINITIES {
            self.follow_own_blocks();
        }
        matters
    }

    /// Follows the blocks that are the node's own now, and no others.
    fn follow_own_blocks(&mut self) {
        // While the affinities are being told, what was known holds.
        if self.known != Known::ByAffinities || self.scopes[&AFFINITIES].told.is_some() {
            return;
        }
        let own: BTreeSet<Scope> = self.snapshot.blocks_of(&self.name).map(Scope::Block).collect();
        let is_left = |scope: &Scope| matches!(scope, Scope::Block(_)) && !own.contains(scope);
        let left: Vec<Scope> = self.scopes.keys().filter(|scope| is_left(scope)).cloned().collect();
        for scope in left {
            let keys = self.scopes.remove(&scope).map(|progress| progress.keys);
            keys.iter().flatten().for_each(|key| self.forget(key));
        }
        for scope in own {
            self.scopes.entry(scope).or_default();
        }
    }

    fn learn(&mut self, record: &Record) -> bool {
        let mut is_new = self.snapshot.take(record);
        if let Value::IpamConfig(config) = &record.value {
            self.wanted = Some(known_by(Some(config)));
        }
        if let Value::Resource(node) = &record.value
            && self.is_own(&record.key)
            && self.own.as_ref() != Some(node)
        {
            self.own = Some(node.clone());
            is_new = true;
        }
        is_new
    }

    fn forget(&mut self, key: &Key) {
        if self.is_own(key) {
            self.own = None;
        }
        if *key == Key::IpamConfig {
            self.wanted = Some(known_by(None));
        }
        self.snapshot.forget(key);
    }

    fn is_own(&self, key: &Key) -> bool {
        *key == Key::global(Kind::Node, self.name.as_str())
    }
}

impl Progress {
    fn note(&mut self, key: &Key) {
        // While the present state is told, a key counts when that is complete; a change meanwhile is part of
        // it.
        self.told.as_mut().unwrap_or(&mut self.keys).insert(key.clone());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use api::{Affinity, AffinityState, Metadata, Owner, Revision};
    use serde_json::{Map, json};

    use super::*;

    const NODES: Scope = Scope::Resources { kind: Kind::Node, namespace: None };

    fn record(key: Key, value: Value) -> Arc<Record> {
        Arc::new(Record { key, value, revision: Revision::new("1") })
    }

    fn node(name: &str) -> Arc<Record> {
        let metadata = Metadata { name: name.to_string(), ..Metadata::default() };
        record(
            Key::global(Kind::Node, name),
            Value::Resource(Resource::new(Kind::Node, metadata, Map::new())),
        )
    }

    fn affinity(owner: &str, block: &str, state: AffinityState) -> Arc<Record> {
        let owner = Owner::Host(owner.to_string());
        let key = Key::Affinity { owner, block: block.parse().unwrap() };
        record(key, Value::Affinity(Affinity::new(state)))
    }

    /// A block whose first address node `of` has.
    fn block(text: &str, owner: &str, of: &str) -> Arc<Record> {
        let key = Key::Block(text.parse().unwrap());
        let mut allocations = vec![json!(0)];
        allocations.resize(64, json!(null));
        let free: Vec<u32> = (1..64).collect();
        let attribute = json!({"handle_id": "h", "secondary": {"node": of}});
        let json = json!({"cidr": text, "affinity": format!("host:{owner}"), "allocations": allocations,
            "unallocated": free, "attributes": [attribute]});
        let value = Value::from_stored_text(&key, &json.to_string()).unwrap();
        record(key, value)
    }

    /// The routes of n1, which has a neighbour n2.
    fn routes_of(world: &mut World) -> Vec<String> {
        let mut put = |kind: Kind, name: &str, spec: serde_json::Value| {
            let json = json!({"metadata": {"name": name}, "spec": spec});
            let resource = Resource::from_json(kind, json).unwrap();
            let event = Event::Apply(record(Key::global(kind, name), Value::Resource(resource)));
            world.take(&Scope::kind(kind), event);
        };
        put(Kind::IPPool, "p", json!({"cidr": "10.0.0.0/16", "nodeSelector": "all()"}));
        put(Kind::Node, "n1", json!({"bgp": {"ipv4Address": "172.16.0.1/24"}}));
        put(Kind::Node, "n2", json!({"bgp": {"ipv4Address": "172.16.0.2/24"}}));
        let destinations = routes::destination::Destinations::of(&world.snapshot);
        let racks = routes::Racks::of(&destinations, None, routes::Exported::Plain);
        let options = routes::Options { aggregation: routes::Aggregation::Off, ..Default::default() };
        let desired = routes::node::desired(&destinations, &racks, "n1", &options).unwrap();
        desired.routes.values().map(|wanted| wanted.route.to_string()).collect()
    }

    fn names(world: &World) -> Vec<&str> {
        world.snapshot.nodes().collect()
    }

    fn done() -> Event {
        Event::InitDone(Revision::new("1"))
    }

    fn tell(world: &mut World, scope: &Scope) {
        world.take(scope, Event::Init);
        world.take(scope, done());
    }

    fn told(known: Known) -> World {
        let mut world = World::new("n1", known);
        let scopes: Vec<Scope> = world.scopes().cloned().collect();
        for scope in scopes {
            assert!(!world.is_complete());
            tell(&mut world, &scope);
        }
        assert!(world.is_complete());
        world
    }

    #[test]
    fn it_is_complete_when_every_scope_is() {
        let mut world = told(Known::ByBlocks);
        world.take(&NODES, Event::Init);
        assert!(!world.is_complete());
    }

    /// What a new list does not name is gone, but only once the list is whole.
    #[test]
    fn what_is_gone_after_a_gap_is_forgotten() {
        let mut world = World::new("n1", Known::ByBlocks);
        world.take(&NODES, Event::Init);
        world.take(&NODES, Event::InitApply(node("n1")));
        world.take(&NODES, Event::InitApply(node("n2")));
        world.take(&NODES, done());
        assert!(world.own.is_some());
        world.take(&NODES, Event::Init);
        world.take(&NODES, Event::InitApply(node("n2")));
        world.take(&NODES, Event::Apply(node("n3")));
        assert_eq!(names(&world), ["n1", "n2", "n3"]);
        world.take(&NODES, done());
        assert_eq!(names(&world), ["n2", "n3"]);
        assert!(world.own.is_none());
        world.take(&NODES, Event::Delete(Key::global(Kind::Node, "n2"), Revision::new("2")));
        assert_eq!(names(&world), ["n3"]);
    }

    /// A record that says the same again, or something new that no route rests on, brings no new plan.
    #[test]
    fn what_says_nothing_new_does_not_matter() {
        let blocks = Scope::Blocks { family: None };
        let mut world = told(Known::ByBlocks);
        for (scope, event, matters) in [
            (&NODES, Event::Apply(node("n2")), true),
            (&NODES, Event::Apply(node("n2")), false),
            (&NODES, Event::Apply(node("n1")), true),
            (&NODES, Event::Apply(node("n1")), false),
            (&blocks, Event::Apply(block("10.0.0.0/26", "n2", "n2")), true),
            (&blocks, Event::Apply(block("10.0.0.0/26", "n2", "n3")), true),
            (&blocks, Event::Apply(block("10.0.0.0/26", "n2", "n3")), false),
            (&blocks, Event::Delete(Key::Block("10.0.0.0/26".parse().unwrap()), Revision::new("2")), true),
        ] {
            assert_eq!(world.take(scope, event.clone()), matters, "{event:?}");
        }
    }

    /// The allocator's configuration says how blocks are followed; where there is none, all of them are.
    #[test]
    fn the_configuration_is_obeyed() {
        let config = |strict_affinity| {
            let config = IpamConfig { strict_affinity, ..IpamConfig::default() };
            Event::Apply(record(Key::IpamConfig, Value::IpamConfig(config)))
        };
        let mut world = told(Known::ByBlocks);
        assert_eq!(world.wants(), None);
        world.take(&Scope::IpamConfig, config(true));
        assert_eq!(world.wants(), Some(Known::ByAffinities));
        world.take(&Scope::IpamConfig, config(false));
        assert_eq!(world.wants(), None);
        let mut world = World::new("n1", Known::ByAffinities);
        world.take(&Scope::IpamConfig, config(true));
        world.take(&Scope::IpamConfig, Event::Delete(Key::IpamConfig, Revision::new("2")));
        assert_eq!(world.wants(), Some(Known::ByBlocks));
        assert_eq!(told(Known::ByAffinities).wants(), Some(Known::ByBlocks));
    }

    /// With strict affinity the node's own blocks are followed, and what was borrowed of them is known; the
    /// blocks of others are not.
    #[test]
    fn own_blocks_are_followed_by_name() {
        let followed = |world: &World| -> Vec<String> {
            let block = |scope: &Scope| match scope {
                Scope::Block(block) => Some(block.to_string()),
                _ => None,
            };
            world.scopes().filter_map(block).collect()
        };
        let mut world = told(Known::ByAffinities);
        let (own, others) = ("10.0.0.0/26", "10.0.0.64/26");
        world.take(&AFFINITIES, Event::Apply(affinity("n1", own, AffinityState::Pending)));
        world.take(&AFFINITIES, Event::Apply(affinity("n2", others, AffinityState::Confirmed)));
        assert!(world.is_complete() && followed(&world).is_empty());
        world.take(&AFFINITIES, Event::Apply(affinity("n1", own, AffinityState::Confirmed)));
        assert_eq!(followed(&world), [own]);
        assert!(!world.is_complete());
        let scope = Scope::Block(own.parse().unwrap());
        world.take(&scope, Event::Init);
        assert!(world.take(&scope, Event::InitApply(block(own, "n1", "n2"))));
        world.take(&scope, done());
        assert!(world.is_complete());
        let wanted: Vec<String> = routes_of(&mut world);
        assert_eq!(
            wanted,
            ["blackhole 10.0.0.0/26", "10.0.0.0/32 via 172.16.0.2", "10.0.0.64/26 via 172.16.0.2"]
        );
        let key = affinity("n1", own, AffinityState::Confirmed).key.clone();
        assert!(world.take(&AFFINITIES, Event::Delete(key, Revision::new("2"))));
        assert!(followed(&world).is_empty());
        assert!(!world.take(&scope, Event::Apply(block(own, "n1", "n1"))));
        assert!(world.is_complete());
    }
}
