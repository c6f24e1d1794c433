//! Every operation, each in a cluster that is prepared for it. The fault tests run them on any store, with
//! every possible fault.

use std::collections::BTreeSet;
use std::net::IpAddr;

use api::AffinityState;
use ipam::invariants::{self, Request};
use ipam::{
    AssignIp, AutoAssign, Change, ClaimAffinity, EnsureActiveOwner, EnsureBlock, HandleRelease, IpsByHandle,
    OwnerAttributes, Planner, PodName, ReleaseAffinities, ReleaseByHandle, ReleaseIp, ReleaseIps, RemoveHost,
    SetOwnerAttributes, Which, run,
};
use store::Store;
use store::testing::Faulty;

use crate::world::*;

#[path = "operations/upkeep.rs"]
pub mod upkeep;

/// The handles of all cases.
pub const HANDLES: [&str; 4] = ["new", "old", "kept", upkeep::TUNNEL];

/// The answer to a request: the addresses that its handle has now, or the error.
pub type Answer = Result<BTreeSet<IpAddr>, String>;

/// An operation, and the cluster that is prepared for it.
pub struct Case {
    pub name: &'static str,
    pub prepare: fn(&World),
    pub act: Act,
    /// Whether the cluster is right after the operation has succeeded.
    pub is_done: fn(&World, &BTreeSet<IpAddr>) -> bool,
}

/// An operation.
pub enum Act {
    Assign(AutoAssign),
    Named(AssignIp),
    ReleaseIps(Vec<ReleaseIp>),
    ReleaseHandle(&'static str),
    /// Of what the handle holds when it begins.
    ReleaseSeen(&'static str),
    ReleaseAffinities(Which),
    /// Of this handle, for the pod `y`.
    EnsureActive(&'static str),
    Upkeep(upkeep::Act),
    Claim(ClaimAffinity),
    Ensure(EnsureBlock),
    RemoveHost(&'static str),
}

impl Act {
    /// Runs the operation.
    pub async fn on<S: Store>(&self, store: &Faulty<S>, clock: &Clock) -> Answer {
        match self {
            Act::Upkeep(act) => act.on(store, clock).await,
            Act::Assign(request) => {
                let answer = go(store, clock, request.clone().planner()).await?;
                let all = answer.v4.addresses.iter().chain(&answer.v6.addresses);
                Ok(all.map(|address| address.addr).collect())
            }
            Act::Named(request) => {
                go(store, clock, request.clone().planner()).await.map(|()| [request.addr].into())
            }
            Act::ReleaseIps(ips) => {
                let answer = go(store, clock, ReleaseIps::new(ips.clone()).planner()).await?;
                Ok(answer.released.into_iter().collect())
            }
            Act::ReleaseHandle(id) | Act::ReleaseSeen(id) => {
                let mut request = ReleaseByHandle::new(vec![handle(id)], None);
                if let Act::ReleaseSeen(_) = self {
                    let seen = go(store, clock, IpsByHandle::new(handle(id)).planner()).await?;
                    request = request.only(handle(id), seen.unwrap_or_default().assignments());
                }
                let answer = go(store, clock, request.planner()).await?;
                let released = answer.into_iter().flat_map(|release| match release {
                    HandleRelease::Released(addresses) => addresses,
                    HandleRelease::NotFound | HandleRelease::Anothers(_) => Vec::new(),
                    HandleRelease::Partly(_, why) => panic!("{why}"),
                });
                Ok(released.collect())
            }
            Act::EnsureActive(id) => {
                let pod = PodName { namespace: "default".to_string(), name: "y".to_string() };
                let answer =
                    go(store, clock, EnsureActiveOwner { handle: handle(id), pod }.planner()).await?;
                Ok(answer.into_iter().collect())
            }
            Act::ReleaseAffinities(which) => {
                let answer = go(
                    store,
                    clock,
                    ReleaseAffinities { which: which.clone(), must_be_empty: false }.planner(),
                )
                .await?;
                Ok(answer.released.iter().map(|block| block.cidr().first()).collect())
            }
            Act::RemoveHost(name) => {
                let answer = go(store, clock, RemoveHost { host: name.to_string() }.planner()).await?;
                Ok(answer.released.iter().map(|block| block.cidr().first()).collect())
            }
            Act::Claim(request) => {
                let answer = go(store, clock, request.clone().planner()).await?;
                Ok(answer.claimed.iter().map(|block| block.cidr().first()).collect())
            }
            Act::Ensure(request) => {
                let answer = go(store, clock, request.clone().planner()).await?;
                Ok(answer.v4.iter().chain(&answer.v6).map(|block| block.cidr().first()).collect())
            }
        }
    }

    /// The operation as a history knows it.
    pub fn request(&self) -> Request {
        match self {
            Act::Assign(request) => Request::Assign(request.clone()),
            Act::Named(request) => Request::Named(request.clone()),
            Act::ReleaseIps(ips) => Request::ReleaseIps(ips.clone()),
            Act::ReleaseHandle(id) | Act::ReleaseSeen(id) => Request::ReleaseHandles(vec![handle(id)]),
            // Of the sequence only what was answered is looked at.
            Act::Upkeep(upkeep::Act::Tunnel) => Request::Foreign(handle(upkeep::TUNNEL)),
            Act::ReleaseAffinities(_)
            | Act::RemoveHost(_)
            | Act::Claim(_)
            | Act::Ensure(_)
            | Act::EnsureActive(_)
            | Act::Upkeep(_) => Request::Other,
        }
    }

    /// Its answer as a history knows it.
    pub fn ended(&self, answer: &Answer) -> invariants::Answer {
        let is_tunnel = matches!(self, Act::Upkeep(upkeep::Act::Tunnel));
        match answer {
            Ok(addresses) if is_tunnel => invariants::Answer::Holds(addresses.clone()),
            Ok(_) if self.is_release() || self.is_claim() => invariants::Answer::Done,
            Ok(addresses) => invariants::Answer::Holds(addresses.clone()),
            Err(_) => invariants::Answer::Failed,
        }
    }

    /// What was done before a crash cannot be done again: a named address is taken, by us.
    pub fn is_named(&self) -> bool {
        matches!(self, Act::Named(_))
    }

    /// The answer is blocks, not addresses of a handle.
    pub fn is_claim(&self) -> bool {
        matches!(self, Act::Claim(_) | Act::Ensure(_))
    }

    pub fn is_release(&self) -> bool {
        !matches!(self, Act::Assign(_) | Act::Named(_) | Act::Claim(_) | Act::Ensure(_))
    }
}

async fn go<S: Store, P: Planner>(store: &Faulty<S>, clock: &Clock, planner: P) -> Result<P::Answer, String>
where
    P::Error: std::fmt::Display,
{
    run(store, clock, planner, WITHIN).await.map_err(|error| error.to_string())
}

/// Whether the handle `new` holds exactly the addresses in the answer, and counts exactly these.
pub fn holds(world: &World, answer: &BTreeSet<IpAddr>) -> bool {
    let held: BTreeSet<IpAddr> =
        world.assigned().into_iter().filter(|(_, id)| id == "new").map(|(addr, _)| addr).collect();
    let counted: u32 = world.handle("new").map_or(0, |handle| handle.blocks.values().sum());
    held == *answer && counted as usize == held.len()
}

fn wants(n: usize) -> fn(&World, &BTreeSet<IpAddr>) -> bool {
    match n {
        1 => |world, answer| answer.len() == 1 && holds(world, answer),
        2 => |world, answer| answer.len() == 2 && holds(world, answer),
        _ => |world, answer| answer.len() == 7 && holds(world, answer),
    }
}

/// The attributes of a pod as an owner.
fn owner(name: &str) -> OwnerAttributes {
    [("namespace", "default"), ("pod", name)].map(|(k, v)| (k.to_string(), v.to_string())).into()
}

pub fn cases() -> Vec<Case> {
    requests().into_iter().chain(upkeep::cases()).collect()
}

fn requests() -> Vec<Case> {
    vec![
        Case {
            name: "a first block",
            prepare: |_| {},
            act: Act::Assign(request("a", "new", 1, 0)),
            is_done: wants(1),
        },
        Case {
            name: "a block with room",
            prepare: |w| {
                w.add("a", "old");
            },
            act: Act::Assign(request("a", "new", 1, 0)),
            is_done: wants(1),
        },
        Case {
            name: "more, beside what another handle has",
            prepare: |w| {
                w.add("a", "kept");
            },
            act: Act::Assign(request("a", "new", 2, 0)),
            is_done: wants(2),
        },
        Case {
            name: "two blocks and two families",
            prepare: |w| w.pool("six", "fd00::/124", 126),
            act: Act::Assign(request("a", "new", 5, 2)),
            is_done: wants(7),
        },
        Case {
            name: "a block that is half claimed",
            prepare: |w| {
                w.add("a", "old");
                let block = w.blocks()[0].cidr.to_string();
                w.affinity("a", &block, AffinityState::PendingDeletion);
            },
            act: Act::Assign(request("a", "new", 1, 0)),
            is_done: wants(1),
        },
        Case {
            name: "an affinity without block, and a stale one",
            prepare: |w| {
                w.assign(request_ip("b", "old", "10.0.0.0")).unwrap();
                w.affinity("a", "10.0.0.0/30", AffinityState::Pending);
                w.affinity("a", "10.0.0.4/30", AffinityState::Pending);
            },
            act: Act::Assign(request("a", "new", 2, 0)),
            is_done: |w, answer| {
                // What only tidies up may be left to the host's next request.
                let is_stale = |affinity: &String| affinity == "a 10.0.0.0/30 Pending";
                answer.len() == 2
                    && holds(w, answer)
                    && w.affinities().iter().all(|a| a.ends_with("Confirmed") || is_stale(a))
            },
        },
        Case {
            name: "a block to reclaim",
            prepare: |w| {
                w.auto(request("b", "old", 16, 0));
                w.del("old");
                w.clock.advance(100);
            },
            act: Act::Assign(request("a", "new", 2, 0)),
            is_done: wants(2),
        },
        Case {
            name: "a block to borrow from",
            prepare: |w| {
                w.auto(request("b", "old", 14, 0));
            },
            act: Act::Assign(request("a", "new", 2, 0)),
            is_done: wants(2),
        },
        Case {
            name: "a named address in a new block",
            prepare: |_| {},
            act: Act::Named(request_ip("a", "new", "10.0.0.5")),
            is_done: wants(1),
        },
        Case {
            name: "a named address in another's block",
            prepare: |w| w.assign(request_ip("b", "old", "10.0.0.4")).unwrap(),
            act: Act::Named(request_ip("a", "new", "10.0.0.5")),
            is_done: wants(1),
        },
        Case {
            name: "a release by address",
            prepare: |w| {
                ["10.0.0.1", "10.0.0.2", "10.0.0.5"].iter().for_each(|addr| {
                    w.assign(request_ip("a", "new", addr)).unwrap();
                });
            },
            act: Act::ReleaseIps(vec![just("10.0.0.1"), just("10.0.0.5")]),
            is_done: |w, released| {
                let all = [ip("10.0.0.1"), ip("10.0.0.5")].into();
                *released == all && holds(w, &[ip("10.0.0.2")].into())
            },
        },
        Case {
            name: "a release of a handle",
            prepare: |w| {
                ["10.0.0.1", "10.0.0.2", "10.0.0.5"].iter().for_each(|addr| {
                    w.assign(request_ip("a", "new", addr)).unwrap();
                });
            },
            act: Act::ReleaseHandle("new"),
            is_done: |w, released| released.len() == 3 && holds(w, &BTreeSet::new()) && w.handles() == 0,
        },
        Case {
            name: "a release of what was seen of a handle",
            prepare: |w| {
                w.assign(request_ip("a", "kept", "10.0.0.6")).unwrap();
                ["10.0.0.1", "10.0.0.2", "10.0.0.5"].iter().for_each(|addr| {
                    w.assign(request_ip("a", "new", addr)).unwrap();
                });
            },
            act: Act::ReleaseSeen("new"),
            is_done: |w, released| released.len() == 3 && holds(w, &BTreeSet::new()) && w.handles() == 1,
        },
        Case {
            name: "a release of the last address of a block that is given up",
            prepare: |w| {
                w.pool_with(
                    "pool",
                    serde_json::json!({"cidr": "10.0.0.0/28", "blockSize": 30, "nodeSelector": "has(x)"}),
                );
                w.assign(request_ip("a", "new", "10.0.0.1")).unwrap();
            },
            act: Act::ReleaseIps(vec![ReleaseIp { handle: Some("new".into()), ..just("10.0.0.1") }]),
            is_done: |w, released| {
                // What is left of the affinity is deleted at the host's next request.
                let is_gone = w.affinities().iter().all(|text| text.ends_with("PendingDeletion"));
                released.len() == 1 && w.blocks().is_empty() && is_gone && w.handles() == 0
            },
        },
        Case {
            name: "the end of a migration",
            prepare: |w| {
                for addr in ["10.0.0.1", "10.0.0.5"] {
                    w.assign(request_ip("a", "kept", addr)).unwrap();
                }
                let (active, alternate) = (Change::Set(owner("x")), Change::Set(owner("y")));
                w.run(SetOwnerAttributes { handle: handle("kept"), active, alternate }.planner()).unwrap();
            },
            act: Act::EnsureActive("kept"),
            is_done: |w, held| {
                let blocks = w.blocks();
                let mut all = blocks.iter().flat_map(|block| &block.attributes);
                let is_exchanged =
                    |it: &api::Attribute| (&it.owner, &it.alternate_owner) == (&owner("y"), &owner("x"));
                held.len() == 2 && w.assigned().len() == 2 && all.all(|it| is_exchanged(it))
            },
        },
        Case {
            name: "a release of affinities",
            prepare: |w| {
                w.assign(request_ip("a", "old", "10.0.0.1")).unwrap();
                w.assign(request_ip("a", "older", "10.0.0.5")).unwrap();
                w.del("older");
            },
            act: Act::ReleaseAffinities(Which::Owner(host("a"))),
            is_done: |w, _| w.blocks().len() == 1 && w.affinities().is_empty() && w.assigned().len() == 1,
        },
        Case {
            name: "the removal of a host",
            prepare: |w| {
                w.assign(request_ip("a", "old", "10.0.0.1")).unwrap();
                w.assign(request_ip("a", "older", "10.0.0.5")).unwrap();
                w.del("older");
            },
            act: Act::RemoveHost("a"),
            is_done: |w, _| w.blocks().len() == 1 && w.affinities().is_empty() && w.assigned().len() == 1,
        },
        Case {
            name: "a claim of a network",
            prepare: |w| {
                w.assign(request_ip("b", "old", "10.0.0.5")).unwrap();
                w.assign(request_ip("a", "kept", "10.0.0.9")).unwrap();
                w.affinity("a", "10.0.0.8/30", AffinityState::PendingDeletion);
            },
            act: Act::Claim(ClaimAffinity::new(cidr("10.0.0.0/28"), host("a"))),
            is_done: |w, claimed| {
                let all = [ip("10.0.0.0"), ip("10.0.0.8"), ip("10.0.0.12")].into();
                let confirmed = w.affinities().into_iter().filter(|text| text.ends_with("Confirmed"));
                *claimed == all && confirmed.count() == 4 && w.blocks().len() == 4
            },
        },
        Case {
            name: "a block of each family",
            prepare: |w| {
                w.pool("six", "fd00::/124", 126);
                w.auto(request("b", "old", 1, 1));
            },
            act: Act::Ensure(EnsureBlock { v4: true, v6: true, ..EnsureBlock::new("a") }),
            is_done: |w, blocks| {
                let mine = w.affinities().into_iter().filter(|text| text.starts_with("a "));
                blocks.len() == 2 && mine.count() == 2 && w.assigned().len() == 2
            },
        },
    ]
}

/// The prepared cluster of a case.
pub fn prepared(case: &Case) -> World {
    let world = World::with_pool("10.0.0.0/28", 30);
    (case.prepare)(&world);
    world
}
