//! What may happen in a simulation.

use std::net::IpAddr;
use std::time::Duration;

use api::BlockCidr;

use crate::WITHIN;
use crate::chance::Chance;
use crate::names::cidr;

/// The manners of stores.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    /// All of a transaction or nothing, and guards: SQLite, etcd.
    Transactions,
    /// One write after the other.
    OneByOne,
    /// The objects of Kubernetes: one write after the other, deletions in two phases, lists of metadata,
    /// pages.
    Objects,
}

/// The ways in which a store can break its contract.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Breach {
    /// A block is written though it has changed.
    NoCompare,
    /// The writes of a batch come in another order.
    OtherOrder,
    /// A fence is compared, and not written.
    FenceAsGuard,
    /// A read sees what was stored some changes ago.
    StaleRead,
    /// A write is reported as refused, and has landed.
    RefusedThatLanded,
    /// Guards are not looked at.
    NoGuards,
}

impl Breach {
    /// All of them.
    pub const ALL: [Breach; 6] = [
        Breach::NoCompare,
        Breach::OtherOrder,
        Breach::FenceAsGuard,
        Breach::StaleRead,
        Breach::RefusedThatLanded,
        Breach::NoGuards,
    ];

    /// Of a thousand chances, how many it takes.
    pub(crate) fn in_thousand(self) -> u64 {
        match self {
            Breach::RefusedThatLanded => 50,
            Breach::NoCompare | Breach::StaleRead => 250,
            Breach::OtherOrder => 500,
            Breach::FenceAsGuard | Breach::NoGuards => 1000,
        }
    }
}

/// How large the cluster is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size {
    /// How many hosts there are.
    pub hosts: u64,
    /// The prefix length of the IPv4 pool `10.0.0.0`.
    pub pool: u8,
    /// The prefix length of its blocks.
    pub block: u8,
}

impl Size {
    /// The pool's block of that number.
    pub(crate) fn block_at(self, number: u64) -> Option<BlockCidr> {
        BlockCidr::holding(self.addr_at(u128::from(number) << (32 - self.block)), self.block)
    }

    /// The pool's address of that number.
    pub(crate) fn addr_at(self, number: u128) -> IpAddr {
        api::cidr::offset(cidr("10.0.0.0/8").first(), number)
    }
}

/// After how many of a thousand steps the same actor goes on, in one seed or another.
const GOES_ON: [u64; 4] = [0, 500, 800, 900];

/// After how many of a thousand steps a late write arrives, in one seed or another; at the latest when all
/// requests have ended.
const LANDS: [u64; 4] = [0, 50, 200, 500];

/// How long a request may take, in one seed or another: a short time is over after one attempt or after some,
/// and then the request takes back what it has written.
const TIMES: [Duration; 4] = [WITHIN, WITHIN, Duration::from_millis(1), Duration::from_millis(20)];

/// What may happen in a simulation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Setup {
    /// The manner of the store.
    pub manner: Manner,
    /// In which way the store breaks its contract.
    pub breach: Option<Breach>,
    /// How large the cluster is.
    pub size: Size,
    /// Whether few do what gets in each other's way, and little else.
    pub duel: bool,
    /// How many act at once.
    pub actors: u64,
    /// After how many of a thousand steps the same actor goes on: the higher, the longer others stand still.
    pub goes_on: u64,
    /// How many of a thousand messages are lost.
    pub lost: u64,
    /// After how many of a thousand steps a late write arrives.
    pub lands: u64,
    /// How long a request may take.
    pub within: Duration,
    /// How many of a thousand actors crash.
    pub crash: u64,
    /// Whether Calico writes, too.
    pub calico: bool,
    /// Whether pools are disabled and enabled.
    pub pools: bool,
    /// Whether hosts give up their blocks.
    pub give_up: bool,
    /// Whether addresses are released.
    pub dels: bool,
    /// Whether there are machines, cooldowns, labels, IPv6 and claims.
    pub more: bool,
    /// Whether clocks are wrong.
    pub skew: bool,
    /// Whether reservations and the configuration change.
    pub rules: bool,
    /// Whether controllers work.
    pub controllers: bool,
    /// Whether nodes are deleted and come back, and pools are deleted and made anew.
    pub nodes: bool,
}

impl Setup {
    /// Nothing but requests of three hosts, all of which end.
    pub const PLAIN: Setup = Setup {
        manner: Manner::OneByOne,
        breach: None,
        size: Size { hosts: 3, pool: 28, block: 30 },
        duel: false,
        actors: 3,
        goes_on: 0,
        lost: 0,
        lands: 200,
        within: WITHIN,
        crash: 0,
        calico: false,
        pools: false,
        give_up: true,
        dels: true,
        more: false,
        skew: false,
        rules: false,
        controllers: false,
        nodes: false,
    };

    /// The set-up that a seed draws.
    pub fn of(seed: u64) -> Setup {
        let mut chance = Chance(seed ^ 0x7365_7475_7000);
        let manner = *chance.one_of(&[Manner::Transactions, Manner::OneByOne, Manner::Objects]);
        if chance.in_thousand(700) {
            return Setup::of_duel(manner, &mut chance);
        }
        let (size, actors) = match chance.below(40) {
            0 => (Size { hosts: 50, pool: 24, block: 29 }, 12),
            1..=3 => (Size { hosts: 6, pool: 27, block: 29 }, 6),
            _ => (Size { hosts: 3, pool: 28, block: 30 }, 2 + chance.below(3)),
        };
        Setup {
            manner,
            breach: None,
            size,
            duel: false,
            actors,
            goes_on: *chance.one_of(&GOES_ON),
            lost: *chance.one_of(&[0, 0, 40, 80, 150]),
            lands: *chance.one_of(&LANDS),
            within: *chance.one_of(&TIMES),
            crash: *chance.one_of(&[0, 0, 200, 500]),
            calico: chance.in_thousand(200),
            pools: chance.in_thousand(350),
            give_up: chance.in_thousand(650),
            dels: chance.in_thousand(850),
            more: chance.in_thousand(600),
            skew: chance.in_thousand(250),
            rules: chance.in_thousand(250),
            controllers: chance.in_thousand(350),
            nodes: chance.in_thousand(250),
        }
    }

    /// Two or three meet in a pool of one, two or four blocks, and often many answers are lost: what a
    /// request has to remember from one attempt to the next shows here, in few steps.
    fn of_duel(manner: Manner, chance: &mut Chance) -> Setup {
        Setup {
            manner,
            size: Size { hosts: 3, pool: 28 + chance.below(3) as u8, block: 30 },
            duel: true,
            actors: 2 + chance.below(2),
            goes_on: *chance.one_of(&GOES_ON),
            lost: *chance.one_of(&[0, 100, 200, 400]),
            lands: *chance.one_of(&LANDS),
            within: *chance.one_of(&TIMES),
            more: chance.in_thousand(400),
            nodes: chance.in_thousand(200),
            controllers: chance.in_thousand(150),
            ..Setup::PLAIN
        }
    }
}
