//! Finds what leaked, and when it may be given back.
//!
//! [`Collector`] keeps what it suspects. It is told which blocks, pods and nodes have changed, and judges
//! only the blocks that this concerns. On Kubernetes an allocation whose pod and node are both gone is due
//! soon; any other after the grace period. What is due is asked for once more, live, by whoever carries it
//! out: see [`Due`].

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use api::{Attribute, Block, BlockCidr, Family, Key, Kind};
use ipam::ReleaseIp;
use store::{Event, Scope, View};

use crate::judge::{Standing, Why, is_machines, judge, node_of, pod_of};
use crate::witness::{PodKey, Users};

/// How long a node must be gone before what was its own is due: a Node may be made anew at once.
pub const GONE: Duration = Duration::from_millis(1_000);
/// How long what is due waits for what will be due in its block: many pods that die together are one write.
const TOGETHER: Duration = Duration::from_millis(1_000);
/// How long a virtual machine's address stays at least after its last pod.
const MACHINES: Duration = Duration::from_secs(5 * 60);

/// How many allocations are due at once at most; whoever gives them back asks for more then.
pub const MOST: usize = 10_000;

/// An allocation: its block and ordinal.
type Place = (BlockCidr, u32);

/// What is suspected of having leaked.
#[derive(Clone, Debug)]
struct Suspect {
    /// The allocation's sequence number. Another allocation of the address has another.
    sequence: u64,
    attribute: Arc<Attribute>,
    why: Why,
    /// Since when, without a doubt.
    since: Duration,
    /// When it was suspected first.
    first: Duration,
    /// Since when the node is gone, where it is.
    node_gone: Option<Duration>,
    /// Whether a pod that has no address yet protects it.
    is_waiting: bool,
}

/// An allocation that is due, and what must be asked, live, before it is given back.
#[derive(Clone, Debug)]
pub struct Due {
    /// What to release: only this very assignment.
    pub ip: ReleaseIp,
    /// The block that holds it.
    pub block: BlockCidr,
    /// Whose it was.
    pub attribute: Arc<Attribute>,
    /// Why nobody uses it.
    pub why: Why,
    /// Whether it is due because its node is gone, before the grace period was over. A node that is there
    /// after all has to be waited for.
    pub is_for_gone_node: bool,
}

impl Due {
    /// The handle. What is due has one.
    pub fn handle(&self) -> &str {
        self.ip.handle.as_deref().unwrap_or_default()
    }

    /// The node that had it.
    pub fn node(&self) -> &str {
        node_of(&self.attribute).unwrap_or_default()
    }
}

/// Finds what leaked. Times are counted from some fixed moment, and never go back.
#[derive(Debug, Default)]
pub struct Collector {
    dirty: BTreeSet<BlockCidr>,
    suspects: BTreeMap<Place, Suspect>,
    /// The blocks with allocations of a pod, and of a node. Pods go by a hash: where two share one, a block
    /// too many is judged.
    by_pod: HashMap<u64, Vec<BlockCidr>>,
    by_node: HashMap<String, Vec<BlockCidr>>,
    of_block: HashMap<BlockCidr, Named>,
    /// Since when a node is gone that allocations name.
    gone: BTreeMap<String, Duration>,
}

/// Whom the allocations of a block name.
#[derive(Debug, Default)]
struct Named {
    pods: Vec<u64>,
    nodes: Vec<String>,
}

fn hash_of(pod: &PodKey) -> u64 {
    let mut hasher = DefaultHasher::new();
    pod.hash(&mut hasher);
    hasher.finish()
}

impl Collector {
    /// Takes what a watch tells of a block or a node. Of a present state it takes nothing: whoever has heard
    /// all of it calls [`Collector::all_changed`].
    pub fn take(&mut self, event: &Event) {
        match (event, event.key()) {
            (Event::InitApply(_), _) => {}
            (_, Some(Key::Block(block))) => self.block_changed(*block),
            (_, Some(Key::Resource { kind: Kind::Node, name, .. })) => self.node_changed(name),
            _ => {}
        }
    }

    /// A block was created, changed or deleted.
    pub fn block_changed(&mut self, block: BlockCidr) {
        self.dirty.insert(block);
    }

    /// A pod was created, changed or deleted.
    pub fn pod_changed(&mut self, pod: &PodKey) {
        self.dirty.extend(self.by_pod.get(&hash_of(pod)).into_iter().flatten());
    }

    /// A node was created or deleted.
    pub fn node_changed(&mut self, node: &str) {
        self.dirty.extend(self.by_node.get(node).into_iter().flatten());
    }

    /// Another endpoint has an address now, or none has.
    pub fn addr_changed(&mut self, addr: IpAddr) {
        let longest = Family::of(addr).bits();
        let prefixes = longest - BlockCidr::MAX_HOST_BITS..=longest;
        let around = prefixes.filter_map(|prefix| BlockCidr::holding(addr, prefix));
        self.dirty.extend(around.filter(|block| self.of_block.contains_key(block)));
    }

    /// Anything may have changed: all blocks of the view are judged again.
    pub fn all_changed(&mut self, view: &View) {
        self.dirty.extend(self.of_block.keys());
        self.dirty.extend(blocks(view).map(|block| block.cidr));
    }

    /// Judges the blocks that something has changed about.
    pub fn judge(&mut self, view: &View, users: &mut Users, at: Duration) {
        let dirty = std::mem::take(&mut self.dirty);
        if let Users::Endpoints(endpoints) = users {
            for block in dirty.iter().filter_map(|cidr| view.block(*cidr)?).map(|(block, _)| block) {
                for (_, addr, attribute) in allocations(block) {
                    if let (Some(node), Some(handle)) = (node_of(attribute), attribute.handle()) {
                        endpoints.learn(node, handle, addr);
                    }
                }
            }
        }
        for cidr in dirty {
            self.unname(cidr);
            let known = self.suspects.range((cidr, 0)..=(cidr, u32::MAX)).map(|(place, _)| *place);
            let mut before: BTreeSet<Place> = known.collect();
            // A block that cannot be read is judged when it can be: until then its suspects stay, and are
            // not due.
            if view.unreadable(&Key::Block(cidr)).is_some() {
                continue;
            }
            if let Some(Some((block, _))) = view.block(cidr) {
                for (ordinal, addr, attribute) in allocations(block) {
                    let place = (cidr, ordinal);
                    self.name(cidr, attribute);
                    let sequence = block.sequence_of(ordinal);
                    if self.suspect(place, sequence, addr, attribute, view, users, at) {
                        before.remove(&place);
                    }
                }
            }
            for place in before {
                self.suspects.remove(&place);
            }
        }
        let (by_node, gone) = (&self.by_node, &mut self.gone);
        gone.retain(|node, _| by_node.contains_key(node) && !is_node_there(view, node));
    }

    /// Judges an allocation. Gives whether it is suspected.
    #[allow(clippy::too_many_arguments, reason = "one allocation, and what it is judged by")]
    fn suspect(
        &mut self,
        place: Place,
        sequence: u64,
        addr: IpAddr,
        attribute: &Arc<Attribute>,
        view: &View,
        users: &Users,
        at: Duration,
    ) -> bool {
        let node = node_of(attribute).unwrap_or_default();
        // An allocation without a node has none that could be gone.
        let is_there = node.is_empty() || is_node_there(view, node);
        let node_gone = (!is_there).then(|| *self.gone.entry(node.to_string()).or_insert(at));
        // Without pods, a Node that somebody deleted by mistake would be the only witness.
        let node_gone = node_gone.filter(|_| matches!(users, Users::Pods(_)));
        // A program that records no sequence numbers gives an address away again with the same number: 0.
        let is_same = |it: &&Suspect| it.sequence == sequence && it.attribute.handle() == attribute.handle();
        let known = self.suspects.get(&place).filter(is_same);
        let (why, is_waiting) = match judge(attribute, addr, users, is_there) {
            Standing::Leaked(why) => (why, false),
            // A pod without an address does not begin the grace anew.
            Standing::Waiting => match known {
                Some(known) => (known.why, true),
                None => return false,
            },
            Standing::Tunnel if !is_there => (Why::NodeGone, false),
            Standing::Tunnel | Standing::InUse | Standing::NotJudged => return false,
        };
        let since = match known {
            // A node that is there again may bring its pods back: they have their whole time.
            Some(known) if known.node_gone.is_some() == node_gone.is_some() => known.since,
            _ => at,
        };
        let (attribute, first) = (attribute.clone(), known.map_or(at, |known| known.first));
        self.suspects
            .insert(place, Suspect { sequence, attribute, why, since, first, node_gone, is_waiting });
        true
    }

    /// What may be given back now, [`MOST`] at once: whole handles and whole sandboxes only. Without a grace
    /// period only what gone nodes had.
    pub fn due(&self, view: &View, users: &Users, grace: Option<Duration>, at: Duration) -> Vec<Due> {
        let mut due: BTreeMap<&str, Vec<(Place, &Suspect)>> = BTreeMap::new();
        for (place, suspect, moment) in self.moments(grace) {
            // The block may have changed since.
            let is_same = matches!(view.block(place.0), Some(Some((block, _)))
                if block.sequence_of(place.1) == suspect.sequence && block.attribute(place.1).is_some());
            if let (true, true, Some(handle)) = (moment <= at, is_same, suspect.attribute.handle()) {
                due.entry(handle).or_default().push((place, suspect));
            }
        }
        if due.is_empty() {
            return Vec::new();
        }
        let mut held: HashMap<&str, usize> = HashMap::new();
        let mut used_nodes: BTreeSet<&str> = BTreeSet::new();
        let places: HashSet<Place> = due.values().flatten().map(|(place, _)| *place).collect();
        let asked: HashSet<Sandbox> =
            due.values().flatten().filter_map(|(_, suspect)| sandbox_of(&suspect.attribute)).collect();
        let mut used: HashSet<Sandbox> = HashSet::new();
        for block in blocks(view) {
            for (ordinal, addr, attribute) in allocations(block) {
                if let Some(sandbox) = sandbox_of(attribute).filter(|sandbox| asked.contains(sandbox))
                    && !places.contains(&(block.cidr, ordinal))
                    && attribute.released_at.is_none()
                {
                    used.insert(sandbox);
                }
                if let Some(handle) = attribute.handle().filter(|handle| due.contains_key(handle))
                    && attribute.released_at.is_none()
                {
                    *held.entry(handle).or_default() += 1;
                }
                if let Some(node) = node_of(attribute).filter(|node| self.gone.contains_key(*node))
                    && attribute.released_at.is_none()
                    && keeps_node(&judge(attribute, addr, users, false))
                {
                    used_nodes.insert(node);
                }
            }
        }
        let is_free = |suspect: &Suspect| {
            suspect.why != Why::NodeGone
                || !used_nodes.contains(node_of(&suspect.attribute).unwrap_or_default())
        };
        due.retain(|handle, places| {
            held.get(handle) == Some(&places.len())
                && places.iter().all(|(_, suspect)| {
                    is_free(suspect)
                        && sandbox_of(&suspect.attribute).is_none_or(|sandbox| !used.contains(&sandbox))
                })
        });
        // A handle is never parted, so one with more addresses than that comes alone.
        let mut count = 0;
        due.retain(|_, places| {
            let is_first = count == 0;
            let fits = is_first || count + places.len() <= MOST;
            count += if fits { places.len() } else { 0 };
            fits
        });
        due.into_values()
            .flatten()
            .filter_map(|((block, ordinal), suspect)| {
                let handle = suspect.attribute.handle_id.clone();
                let sequence = Some(suspect.sequence);
                Some(Due {
                    ip: ReleaseIp { addr: block.addr(ordinal)?, handle, sequence },
                    block,
                    attribute: suspect.attribute.clone(),
                    why: suspect.why,
                    is_for_gone_node: suspect.node_gone.is_some(),
                })
            })
            .collect()
    }

    /// When a suspect is due; `None` for never as things are.
    fn due_at(&self, suspect: &Suspect, grace: Option<Duration>) -> Option<Duration> {
        if suspect.is_waiting {
            return None;
        }
        match (suspect.node_gone, suspect.why) {
            (Some(gone), why) if why != Why::MachineStopped => Some(gone.max(suspect.since) + GONE),
            (_, Why::MachineStopped) => Some(suspect.since + grace?.max(MACHINES)),
            (..) => Some(suspect.since + grace?),
        }
    }

    /// When something is due next after `at`; `None` where nothing will be. What is due already and stays,
    /// because something else of its handle is in use, is looked at again when something changes.
    pub fn next_due(&self, grace: Option<Duration>, at: Duration) -> Option<Duration> {
        self.moments(grace).into_iter().map(|(_, _, moment)| moment).filter(|moment| *moment > at).min()
    }

    /// When each suspect is to be given back, where it ever is. What becomes due in a block soon after
    /// something else goes with it. Only what a gone node had waits for nothing.
    fn moments(&self, grace: Option<Duration>) -> Vec<(Place, &Suspect, Duration)> {
        let due = self.suspects.iter().filter_map(|(place, suspect)| {
            let moment = self.due_at(suspect, grace)?;
            Some((*place, suspect, moment))
        });
        let mut moments: Vec<(Place, &Suspect, Duration)> = due.collect();
        moments.sort_unstable_by_key(|((block, _), suspect, moment)| {
            (*block, suspect.node_gone.is_some(), *moment)
        });
        let goes_with = |(place, suspect, first): &(Place, &Suspect, Duration),
                         other: &(Place, &Suspect, _)| {
            place.0 == other.0.0
                && suspect.node_gone.is_none()
                && other.1.node_gone.is_none()
                && other.2 <= *first + TOGETHER
        };
        let mut rest = moments.as_mut_slice();
        while let Some(first) = rest.first() {
            let count = rest.iter().take_while(|other| goes_with(first, other)).count().max(1);
            let (group, others) = std::mem::take(&mut rest).split_at_mut(count);
            let last = group[count - 1].2;
            group.iter_mut().for_each(|(_, _, moment)| *moment = last);
            rest = others;
        }
        moments
    }

    /// Suspects again what turned out to be in use, or could not be asked for: it waits its time anew.
    pub fn kept(&mut self, due: &Due, at: Duration) {
        let Some(ordinal) = due.block.ordinal(due.ip.addr) else { return };
        if let Some(suspect) = self.suspects.get_mut(&(due.block, ordinal)) {
            suspect.since = at;
        }
    }

    /// What is suspected, each with its block, for figures. A tunnel stays as long as any pod of its node
    /// does, and is not counted.
    pub fn candidates(&self) -> impl Iterator<Item = (BlockCidr, &Attribute)> {
        let suspects = self.suspects.iter().filter(|(_, suspect)| suspect.why != Why::NodeGone);
        suspects.map(|((block, _), suspect)| (*block, &*suspect.attribute))
    }

    /// What has been suspected for `long` and could not be given back.
    pub fn lost(&self, long: Duration, at: Duration) -> impl Iterator<Item = (BlockCidr, &Attribute)> {
        let is_old = move |suspect: &Suspect| {
            !suspect.is_waiting
                && suspect.why != Why::MachineStopped
                && at.saturating_sub(suspect.first) >= long
        };
        let suspects = self.suspects.iter().filter(move |(_, suspect)| is_old(suspect));
        suspects.map(|((block, _), suspect)| (*block, &*suspect.attribute))
    }

    fn name(&mut self, block: BlockCidr, attribute: &Attribute) {
        let named = self.of_block.entry(block).or_default();
        if let Some(pod) = pod_of(attribute).map(|pod| hash_of(&pod)).filter(|pod| !named.pods.contains(pod))
        {
            named.pods.push(pod);
            self.by_pod.entry(pod).or_default().push(block);
        }
        if let Some(node) = node_of(attribute)
            && !named.nodes.iter().any(|known| known == node)
        {
            named.nodes.push(node.to_string());
            self.by_node.entry(node.to_string()).or_default().push(block);
        }
    }

    fn unname(&mut self, block: BlockCidr) {
        let Some(named) = self.of_block.remove(&block) else { return };
        named.pods.iter().for_each(|pod| forget(&mut self.by_pod, pod, block));
        named.nodes.iter().for_each(|node| forget(&mut self.by_node, node, block));
    }
}

/// Takes a block out of an index.
fn forget<K: Eq + Hash>(index: &mut HashMap<K, Vec<BlockCidr>>, key: &K, block: BlockCidr) {
    if let Some(blocks) = index.get_mut(key) {
        blocks.retain(|known| *known != block);
        if blocks.is_empty() {
            index.remove(key);
        }
    }
}

/// A pod's sandbox: namespace, pod, container.
pub type Sandbox<'a> = (&'a str, &'a str, &'a str);

/// The sandbox of a pod that an allocation is for. A pod on several networks has a handle on each,
/// `<network>.<container>`, and its kubelet tells the addresses of one network only: where one of them is in
/// use, all are.
pub fn sandbox_of(attribute: &Attribute) -> Option<Sandbox<'_>> {
    let field = |name: &str| attribute.owner.get(name).map(String::as_str).filter(|text| !text.is_empty());
    let (_, container) = attribute.handle().filter(|_| !is_machines(attribute))?.rsplit_once('.')?;
    Some((field("namespace")?, field("pod")?, container))
}

/// Whether an allocation of a node that is gone keeps what else was the node's.
fn keeps_node(standing: &Standing) -> bool {
    matches!(standing, Standing::InUse | Standing::Waiting | Standing::NotJudged)
}

/// Whether a node exists, by what the view knows. A Node that cannot be read is there.
pub fn is_node_there(view: &View, node: &str) -> bool {
    let key = Key::global(Kind::Node, node);
    view.get(&key).is_some_and(|slot| slot.revision().is_some())
}

/// The blocks of a view.
fn blocks(view: &View) -> impl Iterator<Item = &Block> {
    view.slots(&Scope::Blocks { family: None }).filter_map(|(_, slot)| slot.record()?.block())
}

/// The allocations of a block: ordinal, address, attribute.
pub fn allocations(block: &Block) -> impl Iterator<Item = (u32, IpAddr, &Arc<Attribute>)> {
    (0..block.cidr.size()).filter_map(|ordinal| {
        let attribute = block.attribute(ordinal)?;
        Some((ordinal, block.cidr.addr(ordinal)?, attribute))
    })
}

#[cfg(test)]
#[path = "collect_tests.rs"]
mod tests;
