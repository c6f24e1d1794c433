//! What is nearly full, overlaps or leaks: as notices with stable reasons, and with hysteresis, so that a
//! pool at the edge makes no noise.

use std::collections::BTreeMap;

use api::Family;
use ipam::usage::ClusterUsage;

use crate::figures::Counts;
use crate::pools::Judged;
use crate::reach::{Rack, Reach};

/// From which part in use on something is nearly full, in percent.
const NEARLY: u128 = 90;
/// Below which part in use it is so no more.
const NO_MORE: u128 = 85;
/// Below which part in use something that was full is only nearly full.
const ROOM: u128 = 98;

/// What a notice is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A pool.
    Pool(String),
    /// What the nodes of a rack can get, of one family.
    Rack(String, Family),
}

/// What is amiss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// A pool has few addresses left.
    PoolNearlyFull,
    /// A pool has no address left.
    PoolFull,
    /// The nodes of a rack can get few addresses.
    RackNearlyFull,
    /// The nodes of a rack can get no address.
    RackFull,
    /// A pool's network overlaps another's, which has the place.
    PoolOverlaps,
    /// Addresses of a pool have no owner any more.
    AddressesLeak,
}

impl Reason {
    /// The word by which events and logs know it. It is stable.
    pub fn word(self) -> &'static str {
        match self {
            Reason::PoolNearlyFull => "PoolNearlyFull",
            Reason::PoolFull => "PoolFull",
            Reason::RackNearlyFull => "RackNearlyFull",
            Reason::RackFull => "RackFull",
            Reason::PoolOverlaps => "PoolOverlaps",
            Reason::AddressesLeak => "AddressesLeak",
        }
    }
}

/// Something amiss.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Notice {
    /// What it is about.
    pub subject: Subject,
    /// What is amiss.
    pub reason: Reason,
    /// A sentence for people, and the next command.
    pub text: String,
    /// For a rack, the node on which it is told: the first by name.
    pub node: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Nearly,
    Full,
}

/// How full things were.
#[derive(Clone, Debug, Default)]
pub struct Fullness {
    levels: BTreeMap<Subject, Level>,
}

impl Fullness {
    /// Looks at all pools and racks. Gives what is nearly full now.
    pub fn look(
        &mut self,
        usage: &ClusterUsage,
        label: Option<&str>,
        racks: &BTreeMap<Rack, Reach>,
    ) -> Vec<Notice> {
        let mut notices = Vec::new();
        let mut levels = BTreeMap::new();
        for pool in usage.pools.iter().filter(|pool| pool.pool.is_enabled()) {
            let subject = Subject::Pool(pool.pool.name.clone());
            let total = pool.usage.total.saturating_sub(pool.usage.reserved);
            let Some((level, percent)) = self.level(&subject, total, pool.usage.free) else { continue };
            notices.push(of_pool(&subject, &pool.pool.name, level, percent));
            levels.insert(subject, level);
        }
        for ((rack, family), reach) in racks {
            let subject = Subject::Rack(rack.clone(), *family);
            let Some((level, percent)) = self.level(&subject, reach.total, reach.free) else { continue };
            notices.push(of_rack(&subject, label.unwrap_or_default(), rack, *family, reach, level, percent));
            levels.insert(subject, level);
        }
        self.levels = levels;
        notices
    }

    /// How full something is, and how many percent of it are in use; `None` where it has room.
    fn level(&self, subject: &Subject, total: u128, free: u128) -> Option<(Level, u128)> {
        if total == 0 {
            return None;
        }
        let used = total.saturating_sub(free);
        // Above 2^121 addresses the product would not fit; then the hundredth is exact enough.
        let percent = used.checked_mul(100).map_or_else(|| used / (total / 100), |product| product / total);
        let level = match self.levels.get(subject) {
            _ if free == 0 => Some(Level::Full),
            Some(Level::Full) if percent >= ROOM => Some(Level::Full),
            Some(_) if percent >= NO_MORE => Some(Level::Nearly),
            _ if percent >= NEARLY => Some(Level::Nearly),
            _ => None,
        };
        level.map(|level| (level, percent))
    }
}

fn of_pool(subject: &Subject, name: &str, level: Level, percent: u128) -> Notice {
    let (reason, state) = match level {
        Level::Nearly => (Reason::PoolNearlyFull, format!("has {percent} % of its addresses in use")),
        Level::Full => (Reason::PoolFull, "has no address left, or next to none".to_string()),
    };
    let text = format!(
        "IP pool {name} {state}. Create another pool for the same nodes; `calicoctl ipam show --show-blocks` shows which nodes hold its addresses"
    );
    Notice { subject: subject.clone(), reason, text, node: None }
}

fn of_rack(
    subject: &Subject,
    label: &str,
    rack: &str,
    family: Family,
    reach: &Reach,
    level: Level,
    percent: u128,
) -> Notice {
    let family = match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    };
    let pools = reach.pools.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let (reason, state) = match level {
        Level::Nearly => (Reason::RackNearlyFull, format!("{percent} % of the {family} addresses")),
        Level::Full => (Reason::RackFull, format!("all {family} addresses, or next to all,")),
    };
    let first = reach.nodes.first().cloned();
    let text = format!(
        "{state} that the {} nodes with {label}={rack} can get are in use (pools {pools}). Create another pool with nodeSelector {label} == \"{rack}\"; `calicoctl ipam explain --node {}` shows what is left",
        reach.nodes.len(),
        first.as_deref().unwrap_or("NODE"),
    );
    Notice { subject: subject.clone(), reason, text, node: first }
}

/// Notices of pools that another pool keeps from their place.
pub fn overlaps(judged: &[Judged]) -> Vec<Notice> {
    let shut = judged.iter().filter(|one| !one.overlaps.is_empty());
    shut.map(|one| Notice {
        subject: Subject::Pool(one.name.clone()),
        reason: Reason::PoolOverlaps,
        text: format!(
            "IP pool {} ({}) overlaps {}. Delete one of them: `calicoctl delete ippool {}`",
            one.name,
            one.cidr,
            one.overlaps.join(", "),
            one.name
        ),
        node: None,
    })
    .collect()
}

/// Notices of addresses that have no owner any more and do not come back, by pool.
pub fn leaks(lost: &Counts) -> Vec<Notice> {
    let mut by_pool: BTreeMap<&str, (u64, usize)> = BTreeMap::new();
    for (place, count) in lost.iter().filter(|(_, count)| **count > 0) {
        let (all, nodes) = by_pool.entry(&place.pool).or_default();
        *all += count;
        *nodes += 1;
    }
    let notice = |(pool, (count, nodes)): (&str, (u64, usize))| Notice {
        subject: Subject::Pool(pool.to_string()),
        reason: Reason::AddressesLeak,
        text: format!(
            "{count} addresses of IP pool {pool}, on {nodes} nodes, have no owner any more and are not given back: `calicoctl ipam check --show-problem-ips` names them"
        ),
        node: None,
    };
    by_pool.into_iter().map(notice).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use api::{Document, Pool};
    use ipam::usage::{PoolUsage, Usage};
    use serde_json::json;

    use super::*;
    use crate::figures::Place;

    fn usage(total: u128, free: u128) -> ClusterUsage {
        let json = json!({"metadata": {"name": "p"}, "spec": {"cidr": "10.0.0.0/24"}});
        let resource = api::Resource::from_json(api::Kind::IPPool, json).unwrap();
        let document: &Document = &resource;
        let pool = Arc::new(Pool::effective(document).unwrap());
        let usage = Usage { total, free, in_use: total - free, ..Usage::default() };
        ClusterUsage { pools: vec![PoolUsage { pool, usage, blocks: Vec::new() }], orphans: Vec::new() }
    }

    /// Each step: how many of 100 addresses are in use, and what is told.
    #[test]
    fn hysteresis() {
        let mut fullness = Fullness::default();
        for (used, told) in [
            (89, None),
            (90, Some(Reason::PoolNearlyFull)),
            (86, Some(Reason::PoolNearlyFull)),
            (84, None),
            (89, None),
            (99, Some(Reason::PoolNearlyFull)),
            (100, Some(Reason::PoolFull)),
            (98, Some(Reason::PoolFull)),
            (97, Some(Reason::PoolNearlyFull)),
            (98, Some(Reason::PoolNearlyFull)),
            (10, None),
        ] {
            let notices = fullness.look(&usage(100, 100 - used), None, &BTreeMap::new());
            assert_eq!(notices.first().map(|notice| notice.reason), told, "{used}");
        }
        assert!(fullness.look(&usage(0, 0), None, &BTreeMap::new()).is_empty(), "all is reserved");
        let huge = fullness.look(&usage(u128::MAX, u128::MAX / 20), None, &BTreeMap::new());
        assert_eq!(huge[0].reason, Reason::PoolNearlyFull);
    }

    #[test]
    fn racks() {
        let reach = Reach {
            pools: ["p".to_string()].into(),
            nodes: ["n2".to_string(), "n1".to_string()].into(),
            total: 100,
            free: 5,
        };
        let racks = BTreeMap::from([(("7".to_string(), Family::V4), reach)]);
        let notices = Fullness::default().look(&usage(1000, 900), Some("rack"), &racks);
        assert_eq!(notices.len(), 1);
        assert_eq!((notices[0].reason, notices[0].node.as_deref()), (Reason::RackNearlyFull, Some("n1")));
        for part in ["95 % of the IPv4", "2 nodes with rack=7", "rack == \"7\"", "--node n1"] {
            assert!(notices[0].text.contains(part), "{}", notices[0].text);
        }
    }

    #[test]
    fn leaks_are_told_by_pool() {
        let place = |node: &str| Place { pool: "p".to_string(), node: node.to_string() };
        let lost = Counts::from([(place("n1"), 2), (place("n2"), 1), (place("n3"), 0)]);
        let notices = leaks(&lost);
        assert_eq!(notices.len(), 1);
        assert!(notices[0].text.starts_with("3 addresses of IP pool p, on 2 nodes,"), "{}", notices[0].text);
    }
}
