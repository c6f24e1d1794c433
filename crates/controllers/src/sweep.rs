//! Finds what nobody needs any more and nobody would ever touch again: idle blocks, affinities that lead to
//! no block of theirs, blocks and affinities of nodes that are gone, cooldowns that are over, handles without
//! addresses.
//!
//! Whatever somebody may just be making is seen twice, unchanged, a while apart, before it counts as left.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use api::{Block, BlockCidr, HandleId, Key, Owner, Revision, Timestamp};
use ipam::{CollectCooldowns, IdleBlock, ReleaseAffinities, ReleaseIdleBlocks, Which};
use store::{Scope, Slot, View};

use crate::collect::is_node_there;

/// What is to be done about something that is left.
#[derive(Clone, Debug)]
pub enum Task {
    /// End cooldowns, and delete blocks that are nobody's and empty.
    Cooldowns(CollectCooldowns),
    /// Give back blocks that stood empty.
    Idle(ReleaseIdleBlocks),
    /// Give back an affinity that leads to no block of its owner.
    Affinity(ReleaseAffinities),
    /// Give back all empty blocks of a node that is gone.
    Node(ReleaseAffinities),
    /// Delete the WorkloadEndpoints of a node that is gone.
    Endpoints(String),
}

/// What was seen, and since when it has not changed.
type Seen<K, V> = BTreeMap<K, (V, Duration)>;

/// Finds what is left over. Times are counted from some fixed moment, and never go back.
#[derive(Debug, Default)]
pub struct Sweep {
    idle: Seen<BlockCidr, IdleBlock>,
    astray: Seen<(Owner, BlockCidr), Revision>,
    gone: Seen<String, ()>,
    homeless: Seen<String, ()>,
    handles: Seen<HandleId, Revision>,
}

/// Notes what is seen now. Gives what has been seen unchanged for `long`.
fn note<K: Ord + Clone, V: PartialEq + Clone>(
    seen: &mut Seen<K, V>,
    now: impl IntoIterator<Item = (K, V)>,
    at: Duration,
    long: Duration,
) -> Vec<(K, V)> {
    let before = std::mem::take(seen);
    let mut ripe = Vec::new();
    for (key, value) in now {
        let since = match before.get(&key) {
            Some((same, since)) if *same == value => *since,
            _ => at,
        };
        if at.saturating_sub(since) >= long {
            ripe.push((key.clone(), value.clone()));
        }
        seen.insert(key, (value, since));
    }
    ripe
}

impl Sweep {
    /// Looks at the records that are kept. `grace` is the time that something must have been as it is;
    /// without one, idle blocks stay. `patience` is the same for what is certainly wrong.
    pub fn look(
        &mut self,
        view: &View,
        grace: Option<Duration>,
        patience: Duration,
        at: Duration,
        now: Timestamp,
    ) -> Vec<Task> {
        let mut tasks: Vec<Task> = Vec::new();
        tasks.extend(CollectCooldowns::in_view(view, now).into_iter().map(Task::Cooldowns));

        let all_idle = IdleBlock::in_view(view, now);
        let hosts: BTreeMap<BlockCidr, String> =
            all_idle.iter().map(|(host, idle)| (idle.cidr, host.clone())).collect();
        let idle = all_idle.into_iter().map(|(_, idle)| (idle.cidr, idle));
        let ripe = note(&mut self.idle, idle, at, grace.unwrap_or(Duration::MAX));
        let mut by_host: BTreeMap<&str, Vec<IdleBlock>> = BTreeMap::new();
        for (cidr, idle) in ripe {
            if let Some(host) = hosts.get(&cidr).filter(|host| is_node_there(view, host)) {
                by_host.entry(host).or_default().push(idle);
            }
        }
        for (host, blocks) in by_host {
            tasks.push(Task::Idle(ReleaseIdleBlocks { host: host.to_string(), blocks }));
        }

        for ((owner, block), _) in note(&mut self.astray, astray(view), at, patience) {
            let which = Which::One(owner, block);
            tasks.push(Task::Affinity(ReleaseAffinities { which, must_be_empty: true }));
        }
        let gone = owners(view).into_iter().filter(|host| !is_node_there(view, host)).map(|host| (host, ()));
        for (host, ()) in note(&mut self.gone, gone, at, crate::collect::GONE) {
            tasks.push(Task::Node(of_node(host)));
        }
        tasks
    }

    /// Looks at the nodes that WorkloadEndpoints name. Gives those that are gone for long.
    pub fn look_at_endpoints<'n>(
        &mut self,
        nodes: impl IntoIterator<Item = &'n str>,
        view: &View,
        patience: Duration,
        at: Duration,
    ) -> Vec<Task> {
        let gone = nodes.into_iter().filter(|node| !is_node_there(view, node));
        let gone = gone.map(|node| (node.to_string(), ()));
        note(&mut self.homeless, gone, at, patience)
            .into_iter()
            .map(|(node, ())| Task::Endpoints(node))
            .collect()
    }

    /// Looks at all handles, each with its revision. Gives those that have stood without an address.
    pub fn look_at_handles(
        &mut self,
        handles: impl IntoIterator<Item = (HandleId, Revision)>,
        view: &View,
        patience: Duration,
        at: Duration,
    ) -> Vec<HandleId> {
        // Where a block cannot be read, nobody knows which handles it holds.
        let scope = Scope::Blocks { family: None };
        if view.slots(&scope).any(|(_, slot)| matches!(slot, Slot::Unreadable(_))) {
            return Vec::new();
        }
        let held: HashSet<&str> = view
            .slots(&scope)
            .filter_map(|(_, slot)| slot.record()?.block())
            .flat_map(|block: &Block| &block.attributes)
            .filter_map(|attribute| attribute.handle())
            .collect();
        let is_held = |id: &HandleId| held.contains(id.as_str());
        let bare = handles.into_iter().filter(|(id, _)| !is_held(id));
        note(&mut self.handles, bare, at, patience).into_iter().map(|(id, _)| id).collect()
    }
}

/// The request that takes back what a node that is gone still has, as far as nobody uses it.
pub fn of_node(host: String) -> ReleaseAffinities {
    ReleaseAffinities { which: Which::Owner(Owner::Host(host)), must_be_empty: true }
}

/// The affinities that lead to no block, or to a block of somebody else.
fn astray(view: &View) -> impl Iterator<Item = ((Owner, BlockCidr), Revision)> + '_ {
    let all = view.slots(&Scope::Affinities { owner: None, family: None });
    all.filter_map(|(key, slot)| {
        let (Key::Affinity { owner, block }, Some(revision)) = (key, slot.revision()) else { return None };
        let is_astray = match view.block(*block) {
            // Read, and not there.
            Some(None) => true,
            Some(Some((stored, _))) => stored.affinity.as_deref() != Some(&owner.affinity_text()),
            // Unread, or unreadable.
            None => false,
        };
        is_astray.then(|| ((owner.clone(), *block), revision.clone()))
    })
}

/// The hosts that have affinities or blocks.
fn owners(view: &View) -> BTreeSet<String> {
    let all = view.slots(&Scope::Affinities { owner: None, family: None });
    let hosts = all.filter_map(|(key, _)| match key {
        Key::Affinity { owner: Owner::Host(host), .. } => Some(host.clone()),
        _ => None,
    });
    hosts.collect()
}
