//! What actors do, and scripts of it that a seed draws.

use std::net::IpAddr;

use api::{AffinityState, Family};

use crate::chance::Chance;
use crate::names::MACHINE;
use crate::setup::{Setup, Size};

/// What an actor does.
#[allow(missing_docs, reason = "the variants say it, and the fields have the names of what they are")]
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// A pod starts on a host and asks for addresses.
    Add { host: String, id: String, n: u32, all: bool },
    /// A pod asks for an address of each family.
    Dual { host: String, id: String },
    /// An address is asked for by name.
    Named { host: String, id: String, addr: IpAddr },
    /// A pod of the virtual machine starts.
    Machine { host: String },
    /// The virtual machine moves to a pod.
    Move { pod: String },
    /// A pod ends, and its plugin releases what it had. A kubelet may tell of the end before or after that.
    Del { id: String, told_first: bool },
    /// As `Del`, of what the handle was seen to hold.
    DelSeen { id: String },
    /// The addresses that a pod was answered are released, with the handle or whosever they are.
    Release { id: String, by_addr: bool },
    /// A pod is gone, and nobody calls its plugin.
    Vanish { id: String },
    /// A host has a tunnel, and wants an address for it.
    Tunnel { host: String },
    /// A host's tunnel is switched off.
    NoTunnel { host: String },
    /// A host gives up its blocks.
    GiveUp { host: String, empty: bool },
    /// A host gives up a block.
    One { host: String, block: u64, empty: bool },
    /// All affinities are released.
    DropPool,
    /// A host gives back what it does not need.
    Upkeep { host: String },
    /// A host claims the blocks of a network.
    Claim { host: String, network: String },
    /// A host gives up the blocks of a network.
    Unclaim { host: String, network: String, empty: bool },
    /// A host sees that it has a block.
    Ensure { host: String },
    /// A host is removed.
    Remove { host: String },
    /// Calico assigns addresses.
    CalicoAdd { host: String, id: String, n: u32 },
    /// Calico releases what a handle holds.
    CalicoDel { id: String },
    /// Calico releases the blocks of a host.
    CalicoGiveUp { host: String, empty: bool },
    /// Calico's collector releases what a handle held a while ago.
    CalicoCollect { id: String },
    /// The controllers look at the cluster.
    Controllers,
    /// The pool is disabled or enabled.
    Pool { disabled: bool },
    /// The pool is deleted.
    DeletePool,
    /// A deleted pool is made anew, with that block size.
    MakePool { block: u8 },
    /// A node's labels change, so that no pool, or a pool, selects it.
    Label { host: String, no: bool },
    /// A node is deleted.
    DeleteNode { host: String },
    /// A node is there again.
    MakeNode { host: String },
    /// A node goes, and comes back under another name.
    RenameNode { host: String },
    /// The cooldown is changed.
    Cooldown { seconds: i64 },
    /// Strict affinity is switched.
    Strict { strict: bool },
    /// The most blocks that a host may have are changed.
    MostBlocks { most: i64 },
    /// These addresses of the pool are reserved, and no others.
    Reserve { first: u64, prefix: u8 },
    /// No address is reserved.
    Unreserve,
    /// Time passes.
    Wait { seconds: u64 },
    /// A host's clock is fast by so many seconds from now on.
    Skew { host: String, seconds: i64 },
    /// A host has begun to claim the block of that number, and has crashed: the affinity is pending.
    Begun { host: String, block: u64 },
    /// An affinity is as a crash may leave it; `None` if it is gone.
    HalfDone { affinity: Option<AffinityState> },
}

/// What one actor does, and after how many steps it crashes.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// What it does, one after the other.
    pub ops: Vec<Op>,
    /// After how many steps it crashes.
    pub crash_at: Option<u64>,
}

/// All that happens, but for the order of steps and what becomes of messages, which `schedule` decides.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// What may happen.
    pub setup: Setup,
    /// What happens before, without faults.
    pub before: Vec<Op>,
    /// What happens at once.
    pub scripts: Vec<Script>,
    /// The seed of the order.
    pub schedule: u64,
}

impl Scenario {
    /// The scenario of a seed.
    pub fn of(seed: u64, setup: Setup) -> Scenario {
        let mut draw = Draw { chance: Chance(seed), setup, ids: Vec::new(), count: 0 };
        let before = draw.before();
        let scripts = match setup.duel {
            true => draw.duel(),
            false => (0..setup.actors).map(|_| draw.script()).collect(),
        };
        Scenario { setup, before, scripts, schedule: seed ^ 0x5555 }
    }

    /// All that anybody does.
    pub fn ops(&self) -> impl Iterator<Item = &Op> {
        self.before.iter().chain(self.scripts.iter().flat_map(|script| &script.ops))
    }

    /// The hosts, those included that have come back under another name.
    pub fn hosts(&self) -> Vec<String> {
        let mut all = hosts(self.setup.size);
        if self.setup.nodes {
            all.extend(hosts(self.setup.size).iter().map(|host| renamed(host)));
        }
        all
    }

    /// The handles that anything is asked for.
    pub fn ids(&self) -> Vec<String> {
        let ids = self.ops().filter_map(|op| match op {
            Op::Add { id, .. } | Op::Dual { id, .. } | Op::Named { id, .. } | Op::CalicoAdd { id, .. } => {
                Some(id.clone())
            }
            Op::Machine { .. } => Some(MACHINE.to_string()),
            _ => None,
        });
        let mut ids: Vec<String> = ids.collect();
        ids.sort();
        ids.dedup();
        ids
    }
}

/// The name under which a host comes back.
pub(crate) fn renamed(host: &str) -> String {
    format!("{host}-new")
}

/// The name of a host.
pub(crate) fn host_name(n: u64) -> String {
    match u8::try_from(n) {
        Ok(n @ 0..26) => char::from(b'a' + n).to_string(),
        _ => format!("host{n}"),
    }
}

/// The names of all hosts.
pub(crate) fn hosts(size: Size) -> Vec<String> {
    (0..size.hosts).map(host_name).collect()
}

struct Draw {
    chance: Chance,
    setup: Setup,
    ids: Vec<String>,
    count: u32,
}

impl Draw {
    fn host(&mut self) -> String {
        // Often only two hosts, so that they meet.
        let most = self.setup.size.hosts;
        let count = if most <= 3 { 2 + self.chance.below(2) } else { most };
        let host = host_name(self.chance.below(count));
        match self.setup.nodes && self.chance.in_thousand(100) {
            true => renamed(&host),
            false => host,
        }
    }

    fn fresh(&mut self) -> String {
        self.count += 1;
        let id = format!("n.p{}", self.count);
        self.ids.push(id.clone());
        id
    }

    fn known(&mut self) -> Option<String> {
        match self.ids.is_empty() {
            true => None,
            false => Some(self.chance.one_of(&self.ids).clone()),
        }
    }

    fn before(&mut self) -> Vec<Op> {
        let mut ops = vec![Op::Strict { strict: self.chance.in_thousand(250) }];
        if self.setup.skew {
            for n in 0..self.setup.size.hosts {
                let seconds = *self.chance.one_of(&[-3700, -90, -1, 0, 0, 1, 90, 3700]);
                ops.push(Op::Skew { host: host_name(n), seconds });
            }
        }
        if self.setup.rules && self.chance.in_thousand(500) {
            ops.push(self.rule());
        }
        for _ in 0..self.chance.below(if self.setup.duel { 2 } else { 4 }) {
            let (host, id) = (self.host(), self.fresh());
            ops.push(Op::Add { host, id, n: 1 + self.chance.below(4) as u32, all: false });
            if let (true, Some(id)) = (self.chance.in_thousand(300), self.known()) {
                ops.push(Op::Del { id, told_first: false });
            }
        }
        if self.chance.in_thousand(300) {
            ops.push(Op::GiveUp { host: self.host(), empty: self.chance.in_thousand(500) });
        }
        if self.chance.in_thousand(300) {
            ops.push(Op::HalfDone { affinity: *self.chance.one_of(&HALF_DONE) });
        }
        if self.chance.in_thousand(300) {
            let host = host_name(self.chance.below(2));
            ops.push(Op::Begun { host, block: self.block() });
        }
        if self.chance.in_thousand(400) {
            ops.push(Op::Wait { seconds: 100 });
        }
        ops
    }

    fn script(&mut self) -> Script {
        let ops = (0..1 + self.chance.below(3)).map(|_| self.op()).collect();
        let crash_at = self.chance.in_thousand(self.setup.crash).then(|| self.chance.below(40));
        Script { ops, crash_at }
    }

    /// What gets in each other's way: requests of one host, or for one handle, block or address; mostly one
    /// operation for each actor.
    fn duel(&mut self) -> Vec<Script> {
        let before = self.known();
        let (host, id) = (host_name(self.chance.below(2)), self.fresh());
        let (first, id) = match (self.chance.below(9), before) {
            (0, _) => (Op::Ensure { host: host.clone() }, id),
            (1, _) if self.setup.more => (self.on_blocks(host.clone()), id),
            (2 | 3, _) if self.setup.more => (Op::Machine { host: host.clone() }, MACHINE.to_string()),
            (4 | 5, Some(old)) => (Op::Release { id: old, by_addr: self.chance.in_thousand(700) }, id),
            _ => (self.add(host.clone(), id.clone()), id),
        };
        let mut all = vec![vec![first]];
        all.extend((1..self.setup.actors).map(|_| self.against(&host, &id)));
        if self.setup.controllers {
            all.push(self.leader(host));
        }
        all.into_iter().map(|ops| Script { ops, crash_at: None }).collect()
    }

    /// A leader looks several times, and a pod starts in between.
    fn leader(&mut self, host: String) -> Vec<Op> {
        let wait = Op::Wait { seconds: 100 };
        vec![Op::Controllers, self.add_fresh(host), Op::Controllers, wait, Op::Controllers]
    }

    /// What gets in the way of a request of that host, for that handle.
    fn against(&mut self, host: &str, id: &str) -> Vec<Op> {
        let (host, id) = (host.to_string(), id.to_string());
        let other = host_name(self.chance.below(2));
        if id == MACHINE && self.chance.in_thousand(500) {
            let op = match self.chance.below(4) {
                0 => Op::Move { pod: other },
                _ => Op::Machine { host: other },
            };
            return vec![op];
        }
        let (block, coin) = (self.block(), self.chance.in_thousand(500));
        let op = match self.chance.below(12) {
            0 if self.setup.controllers => Op::Vanish { id },
            0 | 1 => Op::Del { id, told_first: coin },
            2 => Op::Release { id, by_addr: coin },
            3 => Op::GiveUp { host, empty: coin },
            4 | 5 => Op::One { host, block, empty: coin },
            6 => Op::DropPool,
            7 => self.named(other),
            8 if self.setup.nodes => {
                let Size { pool, block, .. } = self.setup.size;
                let block = if pool < block { block - 1 } else { block + 1 };
                return vec![Op::DeletePool, Op::MakePool { block }, self.add_fresh(other)];
            }
            8 | 9 if self.setup.more => self.more(host),
            10 if self.setup.more => self.on_blocks(host),
            _ => self.add_fresh(other),
        };
        vec![op]
    }

    fn add(&mut self, host: String, id: String) -> Op {
        let (n, all) = (1 + self.chance.below(3) as u32, self.chance.in_thousand(300));
        Op::Add { host, id, n, all }
    }

    fn add_fresh(&mut self, host: String) -> Op {
        let id = self.fresh();
        self.add(host, id)
    }

    /// A request for one of the pool's addresses.
    fn named(&mut self, host: String) -> Op {
        let at = self.chance.below(1u64 << (32 - self.setup.size.pool));
        Op::Named { host, id: self.fresh(), addr: self.setup.size.addr_at(at.into()) }
    }

    /// The number of one of the pool's blocks.
    fn block(&mut self) -> u64 {
        self.chance.below(1u64 << (self.setup.size.block - self.setup.size.pool))
    }

    fn op(&mut self) -> Op {
        let setup = self.setup;
        let host = self.host();
        if setup.controllers && self.chance.in_thousand(250) {
            return match self.chance.below(3) {
                0 => self.known().map_or(Op::Controllers, |id| Op::Vanish { id }),
                _ => Op::Controllers,
            };
        }
        if setup.nodes && self.chance.in_thousand(250) {
            return self.of_nodes(host);
        }
        if setup.rules && self.chance.in_thousand(200) {
            return self.rule();
        }
        if setup.skew && self.chance.in_thousand(150) {
            let seconds = *self.chance.one_of(&[-3700, -90, -1, 0, 1, 90, 3700]);
            return Op::Skew { host, seconds };
        }
        if setup.more && self.chance.in_thousand(200) {
            return self.on_blocks(host);
        }
        match setup.more && self.chance.in_thousand(400) {
            true => self.more(host),
            false => self.plain(host),
        }
    }

    fn plain(&mut self, host: String) -> Op {
        let setup = self.setup;
        let calico = setup.calico && self.chance.in_thousand(500);
        match self.chance.below(12) {
            0..=4 => {
                let (id, n) = (self.fresh(), 1 + self.chance.below(3) as u32);
                match calico {
                    true => Op::CalicoAdd { host, id, n },
                    false => Op::Add { host, id, n, all: self.chance.in_thousand(400) },
                }
            }
            5 => self.named(host),
            6 | 7 if setup.dels => match (self.known(), calico) {
                (Some(id), true) => Op::CalicoDel { id },
                (Some(id), false) => Op::Del { id, told_first: self.chance.in_thousand(500) },
                (None, _) => Op::Wait { seconds: 35 },
            },
            8 if setup.dels => match (self.known(), calico) {
                (Some(id), true) => Op::CalicoCollect { id },
                (Some(id), false) => Op::Release { id, by_addr: self.chance.in_thousand(300) },
                (None, _) => Op::Wait { seconds: 35 },
            },
            9 if setup.give_up => {
                let empty = self.chance.in_thousand(700);
                match calico {
                    true => Op::CalicoGiveUp { host, empty },
                    false => Op::GiveUp { host, empty },
                }
            }
            10 if setup.give_up => Op::DropPool,
            11 if setup.pools => Op::Pool { disabled: self.chance.in_thousand(500) },
            _ => Op::Wait { seconds: 35 },
        }
    }

    fn more(&mut self, host: String) -> Op {
        match self.chance.below(9) {
            0 if self.chance.in_thousand(400) => Op::Move { pod: host },
            0 | 1 => Op::Machine { host },
            2 => Op::Label { host, no: self.chance.in_thousand(500) },
            3 => Op::Cooldown { seconds: *self.chance.one_of(&[0, 0, 1, 40]) },
            4 => Op::Dual { host, id: self.fresh() },
            5 if self.chance.in_thousand(300) => Op::NoTunnel { host },
            5 => Op::Tunnel { host },
            6 => Op::Upkeep { host },
            7 if self.setup.dels && self.chance.in_thousand(250) => Op::DelSeen { id: MACHINE.to_string() },
            7 if self.setup.dels => match self.known() {
                Some(id) => Op::DelSeen { id },
                None => Op::Upkeep { host },
            },
            _ => Op::One { host, block: self.block(), empty: self.chance.in_thousand(700) },
        }
    }

    fn on_blocks(&mut self, host: String) -> Op {
        let network = (*self.chance.one_of(&["10.0.0.0/28", "10.0.0.8/29", "10.0.0.4/30"])).to_string();
        match self.chance.below(4) {
            0 => Op::Claim { host, network },
            1 => Op::Unclaim { host, network, empty: self.chance.in_thousand(700) },
            2 => Op::Remove { host },
            _ => Op::Ensure { host },
        }
    }

    fn of_nodes(&mut self, host: String) -> Op {
        let size = self.setup.size;
        match self.chance.below(8) {
            0 | 1 => Op::DeleteNode { host },
            2..=4 => Op::MakeNode { host },
            5 => Op::RenameNode { host },
            6 => Op::DeletePool,
            _ => {
                let block = *self.chance.one_of(&[size.block, size.block, size.block - 1]);
                // Calico does not look at its pool again, so of two of its blocks that overlap both are used.
                Op::MakePool { block: if self.setup.calico { size.block } else { block } }
            }
        }
    }

    fn rule(&mut self) -> Op {
        let pool = self.setup.size.pool;
        match self.chance.below(6) {
            0 | 1 => {
                let first = self.chance.below(1u64 << (32 - pool));
                Op::Reserve { first, prefix: *self.chance.one_of(&[32, 31, 30, 29]) }
            }
            2 => Op::Unreserve,
            3 => Op::Strict { strict: self.chance.in_thousand(500) },
            4 => Op::MostBlocks { most: *self.chance.one_of(&[-1, 0, 1, 2]) },
            _ => Op::Cooldown { seconds: *self.chance.one_of(&[0, 1, 40]) },
        }
    }
}

/// How a crash may leave an affinity.
const HALF_DONE: [Option<AffinityState>; 3] =
    [None, Some(AffinityState::Pending), Some(AffinityState::PendingDeletion)];

/// The other family's pool, where there is one.
pub(crate) const SIX: (&str, u8, Family) = ("fd00::/125", 126, Family::V6);
