//! Finds commands that help a request that gets no address. Nothing is proposed that was not tried.

use std::collections::{BTreeMap, VecDeque};

use api::{Cidr, Family, Kind, Pool, Use, cidr};
use selector::LabelChanges;
use serde_json::{Map, Value as Json, json};
use store::View;

use super::step::{PoolChange, Step};
use super::trial::{Outcome, Trial};
use crate::config;
use crate::plan::auto_assign::AutoAssignError;
use crate::pools::{self, PoolsError};
use crate::verdict::{PoolVerdict, Verdict};

/// How many trials are made at most.
const TRIALS: usize = 40;
/// How many existing pools are tried for a request that has none; a new pool is tried after them.
const POOLS: usize = 12;
/// The rank from which a step overwrites labels.
const OVERWRITTEN: usize = 1_000;
/// How many steps a remedy has at most.
const STEPS: usize = 3;
/// How many networks are looked at for a new pool in one range.
const NETWORKS: usize = 4096;

/// The shortest remedy, as one command line: of several, the one that changes least.
pub(super) fn find(trial: &Trial, outcome: &Outcome) -> Option<String> {
    let mut trials = 0;
    let mut open = VecDeque::from([(Vec::<String>::new(), trial.clone(), outcome.clone())]);
    while let Some((commands, trial, outcome)) = open.pop_front() {
        for step in steps(&trial, &outcome) {
            if trials == TRIALS {
                return None;
            }
            trials += 1;
            let commands: Vec<String> = commands.iter().cloned().chain([step.command(&trial)]).collect();
            let mut next = trial.clone();
            step.suppose(&mut next);
            let outcome = next.run();
            if outcome.is_whole() {
                return Some(commands.join(" && "));
            }
            if commands.len() < STEPS {
                open.push_back((commands, next, outcome));
            }
        }
    }
    None
}

/// The steps that may help, the one that changes least first.
fn steps(trial: &Trial, outcome: &Outcome) -> Vec<Step> {
    let messages = &outcome.assigned.messages;
    match &outcome.error {
        // Kubernetes has a node when its kubelet has registered it.
        Some(AutoAssignError::NoNode(_)) if trial.question.is_on_kubernetes => Vec::new(),
        Some(AutoAssignError::NoNode(name)) => vec![Step::Node(name.clone())],
        Some(AutoAssignError::BlockLimit) => {
            let limits = messages.iter().filter_map(|message| match message {
                Verdict::BlockLimit(limit) => Some(Step::BlockLimit(i64::from(*limit) + 1)),
                _ => None,
            });
            limits.collect()
        }
        Some(AutoAssignError::NoAutoAllocate) => vec![Step::AutoAllocate(config::of(&trial.view))],
        Some(AutoAssignError::Pools(PoolsError::NotThere(cidr))) => for_named(trial, cidr),
        Some(AutoAssignError::Pools(_)) => for_pools(trial, outcome),
        Some(_) => Vec::new(),
        None => {
            let is_strict = messages.contains(&Verdict::StrictAffinity);
            let borrow = is_strict.then_some(Step::Borrow);
            borrow.into_iter().chain(one_more_pool(trial, outcome)).collect()
        }
    }
}

/// For a request that names a pool which is not there or not enabled.
fn for_named(trial: &Trial, named: &Cidr) -> Vec<Step> {
    match pools::all(&trial.view).find(|pool| pool.cidr == *named) {
        Some(pool) => PoolChange::enabling(pool).map(Step::PatchPool).into_iter().collect(),
        None if is_free(&trial.view, named) => {
            let spec = Map::from_iter([("cidr".to_string(), named.to_string().into())]);
            vec![Step::CreatePool { name: fresh_name(&trial.view, "pool"), spec }]
        }
        None => Vec::new(),
    }
}

/// For a request that has no pool: what brings it each of the pools, and at last a new one.
fn for_pools(trial: &Trial, outcome: &Outcome) -> Vec<Step> {
    let mut ranked: Vec<(usize, Step)> = Vec::new();
    for verdict in &outcome.verdicts {
        let Verdict::Pool { name, verdict } = verdict else { continue };
        let Some(pool) = pools::all(&trial.view).find(|pool| pool.name == *name) else { continue };
        ranked.extend(for_pool(trial, pool, verdict));
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.truncate(POOLS);
    let request = &trial.question.request;
    let named: Vec<&Cidr> = request.v4_pools.iter().chain(&request.v6_pools).collect();
    let last: Vec<Step> = match named.is_empty() {
        true => first_pool(trial).into_iter().collect(),
        false => named.into_iter().flat_map(|cidr| for_named(trial, cidr)).collect(),
    };
    let step = |(_, step): (usize, Step)| step;
    let (ranked, overwriting): (Vec<_>, Vec<_>) =
        ranked.into_iter().partition(|(rank, _)| *rank < OVERWRITTEN);
    let ranked = ranked.into_iter().map(step);
    ranked.chain(last).chain(overwriting.into_iter().map(step)).collect()
}

/// What would bring a pool to the request, with how much it changes.
fn for_pool(trial: &Trial, pool: &Pool, verdict: &PoolVerdict) -> Option<(usize, Step)> {
    let patch = |field, value| Step::PatchPool(PoolChange::new(pool, field, value));
    let everybody = || Json::from("all()");
    Some(match verdict {
        PoolVerdict::OtherNodes(_) => {
            let changes = pool.node_selector.as_ref().ok()?.changes_for(&trial.node_labels());
            let changes = changes.filter(are_labels)?;
            (rank(&changes, trial.node_labels(), 10), Step::LabelNode(changes))
        }
        PoolVerdict::Disabled => {
            let selects = pools::selects_node(pool, &trial.node_labels()) == Some(true);
            (if selects { 15 } else { 55 }, Step::PatchPool(PoolChange::enabling(pool)?))
        }
        PoolVerdict::OtherNamespaces(_) if trial.question.is_on_kubernetes => {
            trial.question.namespace.as_ref()?;
            let labels = &trial.question.request.namespace_labels;
            let changes = pool.namespace_selector.as_ref().ok()?.changes_for(labels).filter(are_labels);
            let changes = changes?;
            (rank(&changes, labels.as_ref(), 12), Step::LabelNamespace(changes))
        }
        PoolVerdict::OtherNamespaces(_) => (40, patch("namespaceSelector", everybody())),
        PoolVerdict::Manual => (30, patch("assignmentMode", "Automatic".into())),
        PoolVerdict::OtherUses(wanted) => (30, Step::PatchPool(PoolChange::allowing(pool, *wanted)?)),
        PoolVerdict::OddSelector(_) => match &pool.node_selector {
            Err(_) => (50, patch("nodeSelector", everybody())),
            Ok(_) => (50, patch("namespaceSelector", everybody())),
        },
        PoolVerdict::Chosen
        | PoolVerdict::Unreadable(_)
        | PoolVerdict::Terminating
        | PoolVerdict::Unallocatable
        | PoolVerdict::NotNamed
        | PoolVerdict::SmallBlocks => return None,
    })
}

/// How much a change of labels changes: a label that is there tells a fact, and is overwritten last of all.
fn rank(changes: &LabelChanges, labels: Option<&BTreeMap<String, String>>, each: usize) -> usize {
    let is_there = |label: &str| labels.is_some_and(|labels| labels.contains_key(label));
    let overwritten = changes.keys().filter(|label| is_there(label)).count();
    each * changes.len() + OVERWRITTEN * overwritten
}

/// Whether all of these can be labels of an object: a selector may name others.
fn are_labels(changes: &LabelChanges) -> bool {
    let fits = |text: &str| {
        let is_outer = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        text.len() <= 63
            && is_outer(text.chars().next())
            && is_outer(text.chars().next_back())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    changes.iter().all(|(label, value)| {
        let name = label.rsplit('/').next().unwrap_or_default();
        fits(name) && value.as_deref().is_none_or(|value| value.is_empty() || fits(value))
    })
}

/// A pool as the full one, of the next network that is free; only for requests that name no pools.
fn one_more_pool(trial: &Trial, outcome: &Outcome) -> Option<Step> {
    let request = &trial.question.request;
    if !request.v4_pools.is_empty() || !request.v6_pools.is_empty() {
        return None;
    }
    let full = outcome.verdicts.iter().find_map(|verdict| match verdict {
        Verdict::Pool { name, verdict: PoolVerdict::Chosen } => Some(name),
        _ => None,
    })?;
    let resources = || trial.view.resources(Kind::IPPool).map(|(resource, _)| resource);
    let full = resources().find(|resource| resource.name() == full)?;
    let network = free_network(&trial.view, full.as_pool().ok()?.cidr)?;
    let mut spec = full.field(&["spec"])?.as_object()?.clone();
    spec.insert("cidr".into(), network.to_string().into());
    Some(Step::CreatePool { name: fresh_name(&trial.view, full.name()), spec })
}

/// A pool for every node, where there is none for this one.
fn first_pool(trial: &Trial) -> Option<Step> {
    let like = match trial.question.family() {
        Family::V4 => "192.168.0.0/16",
        Family::V6 => "fd00::/112",
    };
    let network = free_network(&trial.view, like.parse().ok()?)?;
    let mut spec = Map::from_iter([("cidr".to_string(), network.to_string().into())]);
    if trial.question.request.intended_use == Use::LoadBalancer {
        spec.insert("allowedUses".into(), json!(["LoadBalancer"]));
    }
    Some(Step::CreatePool { name: fresh_name(&trial.view, "pool"), spec })
}

/// A name that no pool has: `like`, or `like` with a number.
fn fresh_name(view: &View, like: &str) -> String {
    let is_taken = |name: &str| view.resources(Kind::IPPool).any(|(pool, _)| pool.name() == name);
    let mut names = std::iter::once(like.to_string()).chain((2..).map(|n: u32| format!("{like}-{n}")));
    names.find(|name| !is_taken(name)).unwrap_or_default()
}

/// Whether a network overlaps no pool, and no block that a pool has left.
fn is_free(view: &View, network: &Cidr) -> bool {
    let blocks = store::Scope::Blocks { family: Some(network.family()) };
    let has_blocks = view.slots(&blocks).any(|(key, slot)| match key {
        api::Key::Block(block) => *slot != store::Slot::Absent && network.overlaps(&block.cidr()),
        _ => false,
    });
    !has_blocks && pools::all(view).all(|pool| !pool.cidr.overlaps(network))
}

/// A free network of the size of `like`, or smaller where the range is: of the private range that holds
/// `like`, after it; or of another private range.
fn free_network(view: &View, like: Cidr) -> Option<Cidr> {
    let ranges: &[&str] = match like.family() {
        Family::V4 => &["192.168.0.0/16", "172.16.0.0/12", "10.0.0.0/8"],
        Family::V6 => &["fd00::/8"],
    };
    let mut ranges: Vec<Cidr> = ranges.iter().filter_map(|text| text.parse().ok()).collect();
    ranges.sort_by_key(|range| !range.covers(&like));
    ranges.iter().find_map(|range| {
        let prefix = like.prefix().max(range.prefix());
        let first = if range.covers(&like) { like.first() } else { range.first() };
        let step = 1u128.checked_shl(u32::from(like.family().bits() - prefix))?;
        let last = cidr::number(range.last());
        let in_range = (0..NETWORKS as u128)
            .map(|n| cidr::number(first).saturating_add(n.saturating_mul(step)))
            .take_while(|number| *number <= last)
            .filter_map(|number| Cidr::of(cidr::offset(first, number - cidr::number(first)), prefix));
        let from_the_start = (0..NETWORKS as u128)
            .filter_map(|n| Cidr::of(cidr::offset(range.first(), n.saturating_mul(step)), prefix))
            .take_while(|network| range.covers(network));
        in_range.chain(from_the_start).find(|network| range.covers(network) && is_free(view, network))
    })
}
