//! The addresses of this node's tunnel devices: assigned by the allocator as the plan asks, and said by the
//! Node, all kinds in one write.
//!
//! Two records are written, the block and the Node. What the node has is told by the block's handle, never by
//! the Node's field, so a crash between the two is made good by the next pass. An address is given back only
//! when the Node names it no more: until then other nodes send packets to it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use api::{Resource, Use};
use ipam::{FindTunnel, FoundTunnel, TunnelError, assign_tunnel, run};
use routes::Encapsulation;
use routes::tunnel::{Address, Kind, Tunnel};
use store::Effects;

use super::finding::{Finding, Reason};
use super::record::{NodeRecord, RecordError, Says, Written, fresh, tunnel_address};

/// What a pass is to do about a tunnel's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Nothing: it is known to be as the plan wants it.
    Nothing,
    /// See that the node has an address, the recorded one where that is right.
    Have(Option<IpAddr>),
    /// See that it has none, unless the recorded one may have to stay.
    HaveNone(Option<IpAddr>),
}

/// What is known of the addresses, from one pass to the next. A new process knows nothing, and looks at all
/// of them once. Whoever begins anew now and then finds, too, what was released by hand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tunnels {
    settled: BTreeMap<Kind, Option<IpAddr>>,
    findings: BTreeMap<Kind, Finding>,
    /// The kinds for which no pool has room.
    roomless: BTreeMap<Kind, Roomless>,
}

/// How soon the allocator is asked again where no pool has room; doubled each time up to [`ROOM_LATEST`].
const ROOM_SOONEST: Duration = Duration::from_secs(30);
/// How late it is asked again.
const ROOM_LATEST: Duration = Duration::from_secs(5 * 60);

/// That no pool has room for a tunnel's address.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Roomless {
    /// The pools that were asked. Others are asked at once.
    pools: Vec<String>,
    /// When these are asked again.
    at: Duration,
    /// How long that was put off.
    pause: Duration,
}

/// What became of a pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Whether the Node was written. What the plan says of tunnels changes with it.
    pub is_written: bool,
    /// Whether to try again soon: something failed that may go well later.
    pub again: bool,
}

impl Tunnels {
    /// The tunnels that have no address, and why, as of the last pass.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.values()
    }

    /// The next pass looks at all addresses again, and so finds what somebody has released by hand.
    pub fn doubt(&mut self) {
        self.settled.clear();
    }

    /// When the allocator is asked again for what no pool had room for.
    pub fn due(&self) -> Option<Duration> {
        self.roomless.values().map(|roomless| roomless.at).min()
    }

    /// What is to do about each kind. `wanted` are the plan's tunnels; a kind that is not among them is used
    /// by no pool. `now` is the time since some fixed moment: where no pool has room, nothing is to do before
    /// it is time to ask again.
    pub fn tasks(
        &self,
        wanted: &[Tunnel],
        recorded: impl Fn(Kind) -> Option<IpAddr>,
        now: Duration,
    ) -> Vec<(Kind, Task)> {
        let task = |kind: Kind| {
            let planned = wanted.iter().find(|tunnel| tunnel.kind == kind);
            let waits = |roomless: &Roomless| {
                now < roomless.at && planned.is_some_and(|tunnel| tunnel.pools == roomless.pools)
            };
            if self.roomless.get(&kind).is_some_and(waits) {
                return Task::Nothing;
            }
            let planned = planned.map(|tunnel| tunnel.address);
            let known = self.settled.get(&kind).copied();
            match planned.unwrap_or(Address::GiveUp(recorded(kind))) {
                Address::Keep(addr) if known == Some(Some(addr)) => Task::Nothing,
                Address::GiveUp(None) if known == Some(None) => Task::Nothing,
                Address::Keep(addr) => Task::Have(Some(addr)),
                Address::Take(addr) => Task::Have(addr),
                Address::GiveUp(addr) => Task::HaveNone(addr),
            }
        };
        Kind::ALL.into_iter().map(|kind| (kind, task(kind))).collect()
    }

    /// Assigns what the plan asks for, has the Node say all of it in one write, and then gives back what no
    /// pool gives the node any more.
    ///
    /// # Errors
    /// Those of the Node's record. What was assigned stays with the node, and the next pass finds it.
    pub async fn settle<E: Effects>(
        &mut self,
        record: &NodeRecord<'_, E>,
        wanted: &[Tunnel],
    ) -> Result<Settled, RecordError> {
        let node = record.read().await?.node.unwrap_or_else(|| fresh(record.name));
        let recorded = |kind| tunnel_address(&node, kind);
        let mut settled = Settled::default();
        let mut says = Says::default();
        let mut to_give_back = Vec::new();
        let now = record.effects.elapsed();
        for (kind, task) in self.tasks(wanted, recorded, now) {
            let mut pause = ROOM_SOONEST;
            if task != Task::Nothing {
                self.findings.remove(&kind);
                if let Some(last) = self.roomless.remove(&kind) {
                    pause = (last.pause * 2).min(ROOM_LATEST);
                }
            }
            let outcome = match task {
                Task::Nothing => continue,
                Task::Have(addr) => have(record, kind, addr).await,
                Task::HaveNone(addr) => keep(record, kind, addr).await,
            };
            match outcome {
                Ok(Outcome::Has(addr)) => {
                    says.tunnels.insert(kind, Some(addr));
                }
                Ok(Outcome::HasNone { holds }) => {
                    says.tunnels.insert(kind, None);
                    to_give_back.extend(holds.then_some(kind));
                }
                Err(error) => {
                    self.settled.remove(&kind);
                    self.findings.insert(kind, finding(record.name, kind, wanted, &error));
                    match error {
                        // What the node had is given back already, so the Node must not name it.
                        TunnelError::None(_) => {
                            says.tunnels.insert(kind, None);
                            let pools = wanted.iter().find(|tunnel| tunnel.kind == kind);
                            let pools = pools.map(|tunnel| tunnel.pools.clone()).unwrap_or_default();
                            self.roomless.insert(kind, Roomless { pools, at: now + pause, pause });
                        }
                        _ => settled.again = true,
                    }
                }
            }
        }
        if !says.tunnels.is_empty() {
            settled.is_written = record.write(&says).await? != Written::Nothing;
        }
        self.settled.extend(&says.tunnels);
        self.findings.extend(self.without_pool(record, &node, wanted).await?);
        for kind in to_give_back {
            self.settled.remove(&kind);
            match have(record, kind, None).await {
                Ok(Outcome::HasNone { .. }) => {
                    tracing::info!(
                        node = record.name,
                        field = kind.field(),
                        "gave back the tunnel's address"
                    );
                    self.settled.insert(kind, None);
                }
                // A pool gives the node one again: the next plan says so, too.
                Ok(Outcome::Has(_)) => settled.again = true,
                Err(error) => {
                    tracing::warn!(node = record.name, field = kind.field(), %error, "could not give back the tunnel's address");
                    settled.again = true;
                }
            }
        }
        Ok(settled)
    }

    /// The tunnels that other nodes use and no pool opens to this one, each with what every pool lacks.
    async fn without_pool<E: Effects>(
        &self,
        record: &NodeRecord<'_, E>,
        node: &Resource,
        wanted: &[Tunnel],
    ) -> Result<Vec<(Kind, Finding)>, RecordError> {
        let has_none = |tunnel: &&Tunnel| {
            matches!(tunnel.address, Address::GiveUp(_)) && self.settled.get(&tunnel.kind) == Some(&None)
        };
        let closed: Vec<&Tunnel> = wanted.iter().filter(has_none).collect();
        if closed.is_empty() {
            return Ok(Vec::new());
        }
        let pools = record.list(api::Kind::IPPool).await?;
        let told = |tunnel: &Tunnel| {
            let (name, field) = (record.name, tunnel.kind.field());
            let text = format!(
                "no pool gives Node({name}) an address for {field}, so its pods reach no other node's through \
                 that tunnel: {}",
                lacking(tunnel.kind, &node.metadata().labels, &pools)
            );
            (tunnel.kind, Finding::new(Reason::NO_POOL_FOR_TUNNEL, text))
        };
        Ok(closed.into_iter().map(told).collect())
    }
}

/// What each pool that uses a tunnel lacks to give a node with these labels an address for it.
pub fn lacking(kind: Kind, labels: &BTreeMap<String, String>, pools: &[Resource]) -> String {
    let of_kind = pools.iter().filter_map(|resource| {
        let pool = resource.as_pool().ok()?;
        let (encapsulation, _) = Encapsulation::of_pool(resource, pool.family());
        let uses = pool.family() == kind.family() && encapsulation == kind.encapsulation();
        uses.then_some((resource, pool))
    });
    let told = of_kind.filter_map(|(resource, pool)| {
        let selector = resource.text(&["spec", "nodeSelector"]).unwrap_or_default();
        let lacks = match &pool.node_selector {
            _ if pool.deleting => "is being deleted".to_string(),
            _ if pool.disabled => "is disabled".to_string(),
            _ if !pool.allows(Use::Tunnel) => "has no Tunnel among its allowedUses".to_string(),
            Err(_) => format!("has a nodeSelector that cannot be understood ({selector})"),
            Ok(parsed) if !parsed.matches(labels) => {
                format!("does not select the node (nodeSelector {selector})")
            }
            Ok(_) => return None,
        };
        Some(format!("IPPool({}) {lacks}", pool.name))
    });
    told.collect::<Vec<_>>().join("; ")
}

enum Outcome {
    Has(IpAddr),
    /// Whether its handle still holds something that is to go back.
    HasNone {
        holds: bool,
    },
}

fn request<E>(record: &NodeRecord<'_, E>, kind: Kind, recorded: Option<IpAddr>) -> FindTunnel {
    let tunnel = match kind {
        Kind::Ipip => ipam::Tunnel::Ipip,
        Kind::Vxlan => ipam::Tunnel::Vxlan,
        Kind::VxlanV6 => ipam::Tunnel::VxlanV6,
    };
    FindTunnel { node: record.name.to_string(), tunnel, recorded }
}

async fn have<E: Effects>(
    record: &NodeRecord<'_, E>,
    kind: Kind,
    recorded: Option<IpAddr>,
) -> Result<Outcome, TunnelError> {
    let request = request(record, kind, recorded);
    let addr = assign_tunnel(record.store, record.effects, request, record.within).await?;
    Ok(addr.map_or(Outcome::HasNone { holds: false }, Outcome::Has))
}

/// Looks what the node holds although the plan names no pool. An address stays where a pool that cannot be
/// read may be the one that gives it.
async fn keep<E: Effects>(
    record: &NodeRecord<'_, E>,
    kind: Kind,
    recorded: Option<IpAddr>,
) -> Result<Outcome, TunnelError> {
    let planner = request(record, kind, recorded).planner();
    let found = run(record.store, record.effects, planner, record.within).await?;
    let FoundTunnel { fits, others, counts_too_many, .. } = found;
    Ok(match fits {
        Some(addr) => Outcome::Has(addr),
        None => Outcome::HasNone { holds: !others.is_empty() || counts_too_many },
    })
}

fn finding(node: &str, kind: Kind, wanted: &[Tunnel], error: &TunnelError) -> Finding {
    let pools = wanted.iter().find(|tunnel| tunnel.kind == kind).map(|tunnel| tunnel.pools.join(", "));
    let pools = pools.filter(|pools| !pools.is_empty()).unwrap_or_else(|| "no pool".to_string());
    let field = kind.field();
    match error {
        TunnelError::None(why) => Finding::new(
            Reason::POOL_WITHOUT_ROOM,
            format!(
                "Node({node}) has no {field}, so its pods reach no other node's through that tunnel: of {pools}: {why}"
            ),
        ),
        error => Finding::new(
            Reason::TUNNEL_ADDRESS_MISSING,
            format!("{field} of Node({node}) is not known to be right (pools: {pools}): {error}"),
        ),
    }
}

/// The addresses that the Node names, for a look from outside.
pub fn recorded(node: &Resource) -> BTreeMap<Kind, IpAddr> {
    Kind::ALL.into_iter().filter_map(|kind| Some((kind, tunnel_address(node, kind)?))).collect()
}
