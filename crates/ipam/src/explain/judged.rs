//! Judges every pool for a request: the planner's verdict as a word, with a reason and figures.

use std::collections::{BTreeMap, BTreeSet};

use api::{Cidr, Family, Kind, Pool, Resource};
use selector::{Labels, Selector, Unmet};
use serde_json::Value as Json;
use store::View;

use super::standing::Standing;
use super::trial::{Outcome, Trial};
use crate::plan::auto_assign::AutoAssignError;
use crate::pools;
use crate::usage::{self, Usage};
use crate::verdict::{PoolVerdict, Verdict};

/// A pool, and what becomes of it in a request.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgedPool {
    /// The name.
    pub name: String,
    /// The network, where it can be read.
    pub cidr: Option<Cidr>,
    /// What becomes of the pool.
    pub standing: Standing,
    /// Why, in words.
    pub reason: String,
    /// The counts of its addresses, where the pool can be read.
    pub usage: Option<Usage>,
}

/// A thing that decides about pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decider {
    /// The request names its pools.
    Request,
    /// An annotation names the request's pools.
    Annotation,
    /// A node selector.
    NodeSelector,
    /// A namespace selector.
    NamespaceSelector,
}

impl Decider {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Decider::Request => "request",
            Decider::Annotation => "annotation",
            Decider::NodeSelector => "node-selector",
            Decider::NamespaceSelector => "namespace-selector",
        }
    }
}

/// All pools of a view, judged by what became of the request. `taken` is the pool of the next address.
pub(super) fn judge(trial: &Trial, outcome: &Outcome, taken: Option<&str>) -> Vec<JudgedPool> {
    let usages: BTreeMap<String, Usage> = usage::pools(&trial.view)
        .pools
        .into_iter()
        .map(|pool| (pool.pool.name.clone(), pool.usage))
        .collect();
    let verdicts: BTreeMap<&str, &PoolVerdict> = outcome
        .verdicts
        .iter()
        .filter_map(|verdict| match verdict {
            Verdict::Pool { name, verdict } => Some((name.as_str(), verdict)),
            _ => None,
        })
        .collect();
    let resources = trial.view.resources(Kind::IPPool).map(|(resource, _)| resource);
    resources
        .map(|resource| {
            let pool = resource.as_pool().ok();
            let usage = usages.get(resource.name()).copied();
            let judge = Judge { trial, outcome, resource };
            let (standing, reason) = match (pool, verdicts.get(resource.name())) {
                (Some(pool), verdict) => judge.pool(pool, verdict.copied(), usage.unwrap_or_default(), taken),
                (None, _) => (Standing::Unreadable, judge.unreadable()),
            };
            let cidr = pool.map(|pool| pool.cidr);
            JudgedPool { name: resource.name().to_string(), cidr, standing, reason, usage }
        })
        .collect()
}

struct Judge<'a> {
    trial: &'a Trial,
    outcome: &'a Outcome,
    resource: &'a Resource,
}

impl Judge<'_> {
    fn unreadable(&self) -> String {
        match self.resource.as_pool() {
            Err(error) => format!("it cannot be read: {error}"),
            Ok(_) => String::new(),
        }
    }

    fn pool(
        &self,
        pool: &Pool,
        verdict: Option<&PoolVerdict>,
        usage: Usage,
        taken: Option<&str>,
    ) -> (Standing, String) {
        let plain = |standing, verdict: &PoolVerdict| (standing, verdict.to_string());
        match verdict {
            _ if pool.family() != self.trial.question.family() => {
                (Standing::OtherFamily, format!("its addresses are {}", pool.family()))
            }
            Some(PoolVerdict::Chosen) => self.chosen(pool, usage, taken),
            // The request ended before it judged this pool.
            None => (Standing::Eligible, free(usage)),
            Some(v @ PoolVerdict::Unreadable(_)) => plain(Standing::Unreadable, v),
            Some(v @ PoolVerdict::Disabled) => plain(Standing::Disabled, v),
            Some(v @ PoolVerdict::Terminating) => plain(Standing::Terminating, v),
            Some(PoolVerdict::Unallocatable) => self.unallocatable(),
            Some(v @ PoolVerdict::NotNamed) => match &self.trial.question.annotation {
                Some(annotation) => {
                    (Standing::AnnotationNamesOthers, format!("{annotation} names other pools"))
                }
                None => plain(Standing::NotNamed, v),
            },
            Some(v @ PoolVerdict::Manual) => plain(Standing::Manual, v),
            Some(PoolVerdict::OtherNodes(text)) => {
                let why = unmet(&pool.node_selector, &self.trial.node_labels(), "the node");
                (Standing::NodeSelector, left_out("nodeSelector", text, "the node", &why))
            }
            Some(PoolVerdict::OtherNamespaces(text)) => {
                let labels = &self.trial.question.request.namespace_labels;
                let why = unmet(&pool.namespace_selector, labels, "the namespace");
                (Standing::NamespaceSelector, left_out("namespaceSelector", text, "the namespace", &why))
            }
            Some(PoolVerdict::OddSelector(odd)) => {
                (Standing::BadSelector, format!("it selects nobody: {odd}"))
            }
            Some(v @ PoolVerdict::SmallBlocks) => plain(Standing::SmallBlocks, v),
            Some(PoolVerdict::OtherUses(wanted)) => {
                let uses = pool.allowed_uses.join(", ");
                (Standing::OtherUse, format!("its allowedUses are {uses}, not {}", wanted.name()))
            }
        }
    }

    /// Why a pool is not allocatable, as its status tells.
    fn unallocatable(&self) -> (Standing, String) {
        let conditions = self.resource.field(&["status", "conditions"]).and_then(Json::as_array);
        let found = conditions.into_iter().flatten().find(|condition| condition["type"] == "Allocatable");
        let text = |field: &str| found.and_then(|c| c[field].as_str()).unwrap_or_default().to_string();
        let standing = match text("reason").as_str() {
            "CIDROverlap" => Standing::Overlap,
            "Terminating" => Standing::Terminating,
            "PoolDisabled" => Standing::Disabled,
            _ => Standing::NotAllocatable,
        };
        let told = [text("reason"), text("message")];
        let told: Vec<&str> = told.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
        (standing, format!("its status says that it is not allocatable: {}", told.join(": ")))
    }

    fn chosen(&self, pool: &Pool, usage: Usage, taken: Option<&str>) -> (Standing, String) {
        if taken == Some(pool.name.as_str()) {
            return (Standing::Taken, format!("{}{}", self.selected(pool), free(usage)));
        }
        if usage.free == 0 {
            return match usage.reserved == usage.total {
                true => {
                    (Standing::AllReserved, format!("IPReservations cover all its {} addresses", usage.total))
                }
                false => (Standing::Exhausted, exhausted(usage)),
            };
        }
        if self.outcome.is_whole() {
            return (Standing::Eligible, format!("{}{}", self.selected(pool), free(usage)));
        }
        let host = &self.trial.question.request.host;
        let messages = &self.outcome.assigned.messages;
        let limit = messages.iter().find_map(|message| match message {
            Verdict::BlockLimit(limit) => Some(*limit),
            _ => None,
        });
        match (&self.outcome.error, limit) {
            (Some(AutoAssignError::BlockLimit), limit) => {
                let limit = limit.unwrap_or_default();
                let text = format!("{host} owns {limit} blocks, as many as it may, and all are full");
                (Standing::BlockLimit, format!("{text}; {}", free(usage)))
            }
            (Some(AutoAssignError::NoAutoAllocate), _) => {
                let text = "the node's blocks are full, and autoAllocateBlocks is false";
                (Standing::NoAutoAllocate, format!("{text}; {}", free(usage)))
            }
            _ if messages.contains(&Verdict::StrictAffinity) => {
                let text = "the free addresses are in other nodes' blocks, and affinity is strict";
                (Standing::StrictAffinity, format!("{text}; {}", free(usage)))
            }
            _ if messages.iter().any(|message| matches!(message, Verdict::NeverBorrowed(_))) => {
                let text =
                    "the free addresses are in other nodes' blocks, and such an address is never borrowed";
                (Standing::NeverBorrowed, format!("{text}; {}", free(usage)))
            }
            _ if messages.is_empty() => (Standing::Eligible, free(usage)),
            _ => (Standing::NoUsableBlock, format!("{}, in blocks that cannot be used", free(usage))),
        }
    }

    /// By what the pool is the request's.
    fn selected(&self, pool: &Pool) -> String {
        if is_named(self.trial, pool) {
            return match &self.trial.question.annotation {
                Some(annotation) => format!("{annotation} names it; "),
                None => "the request names it; ".to_string(),
            };
        }
        let both = [("nodeSelector", &pool.node_selector), ("namespaceSelector", &pool.namespace_selector)];
        let telling = both.into_iter().filter_map(|(field, selector)| Some((field, selector.as_ref().ok()?)));
        telling
            .filter(|(_, selector)| !selector.is_all())
            .map(|(field, selector)| format!("its {field} is {selector}; "))
            .collect()
    }
}

fn is_named(trial: &Trial, pool: &Pool) -> bool {
    let request = &trial.question.request;
    request.v4_pools.iter().chain(&request.v6_pools).any(|cidr| *cidr == pool.cidr)
}

fn free(usage: Usage) -> String {
    format!("{} of {} addresses are free", usage.free, usage.total)
}

fn exhausted(usage: Usage) -> String {
    let mut text = format!("none of {} addresses is free: {} are in use", usage.total, usage.in_use);
    if usage.cooling > 0 {
        text.push_str(&format!(" ({} of them cooling down)", usage.cooling));
    }
    if usage.reserved > 0 {
        text.push_str(&format!(", {} are reserved", usage.reserved));
    }
    text
}

/// Why a selector leaves somebody out. A selector of one term is not told twice.
fn left_out(field: &str, selector: &str, whom: &str, why: &str) -> String {
    match why.strip_prefix(selector).is_some_and(|rest| rest.starts_with(": ")) {
        true => format!("its {field} leaves {whom} out: {why}"),
        false => format!("its {field} {selector} leaves {whom} out: {why}"),
    }
}

/// The terms that fail, each with the label's value: `rack == "0": the node has rack = "1"`.
fn unmet<E>(selector: &Result<Selector, E>, labels: &impl Labels, whose: &str) -> String {
    let terms = selector.as_ref().map(|selector| selector.unmet(labels)).unwrap_or_default();
    let told = terms.iter().map(|Unmet { term, label, found }| match (label, found) {
        (None, _) => format!("{term}: {whose} satisfies what it negates"),
        (Some(label), None) => format!("{term}: {whose} has no label {label}"),
        (Some(label), Some(found)) => format!("{term}: {whose} has {label} = {found:?}"),
    });
    told.collect::<Vec<_>>().join("; ")
}

/// What decided which pools are taken from.
pub(super) fn decided_by(trial: &Trial, pools: &[JudgedPool]) -> Vec<Decider> {
    let request = &trial.question.request;
    if !request.v4_pools.is_empty() || !request.v6_pools.is_empty() {
        return vec![if trial.question.annotation.is_some() {
            Decider::Annotation
        } else {
            Decider::Request
        }];
    }
    let mut decided = BTreeSet::new();
    for judged in pools {
        match judged.standing {
            Standing::NodeSelector => decided.insert(Decider::NodeSelector),
            Standing::NamespaceSelector => decided.insert(Decider::NamespaceSelector),
            _ => false,
        };
    }
    let chosen =
        |pool: &Pool| pools.iter().any(|judged| judged.name == pool.name && judged.standing.is_chosen());
    for pool in pools::all(&trial.view).filter(|pool| chosen(pool)) {
        let narrows =
            |selector: &Result<Selector, _>| selector.as_ref().is_ok_and(|s: &Selector| !s.is_all());
        decided.extend(narrows(&pool.node_selector).then_some(Decider::NodeSelector));
        decided.extend(narrows(&pool.namespace_selector).then_some(Decider::NamespaceSelector));
    }
    decided.into_iter().collect()
}

/// The labels that the enabled pools' node selectors test, each with the values that the selectors name.
pub(super) fn labels_asked(view: &View, family: Family) -> BTreeMap<String, BTreeSet<String>> {
    let mut asked: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for selector in pools::enabled(view, family).filter_map(|pool| pool.node_selector.as_ref().ok()) {
        let restrictions = selector.restrictions();
        for label in selector.label_names() {
            let values = restrictions.get(label).and_then(|restriction| restriction.values.as_ref());
            let values = values.into_iter().flatten().map(ToString::to_string);
            asked.entry(label.to_string()).or_default().extend(values);
        }
    }
    asked
}

/// What else the user should know.
pub(super) fn warnings(trial: &Trial, pools: &[JudgedPool]) -> Vec<String> {
    let mut warnings = Vec::new();
    let request = &trial.question.request;
    let standing = |name: &str| pools.iter().find(|judged| judged.name == name).map(|judged| judged.standing);
    for pool in pools::enabled(&trial.view, trial.question.family()) {
        let standing = standing(&pool.name);
        let leaves_out = pools::selects_node(pool, &trial.node_labels()) != Some(true);
        if is_named(trial, pool) && leaves_out {
            warnings.push(format!(
                "pool {} is named, so it is used although its nodeSelector leaves {} out: its addresses need routes of their own",
                pool.name, request.host
            ));
        }
        if standing == Some(Standing::NamespaceSelector) && request.namespace_labels.is_none() {
            warnings.push(format!(
                "the labels of namespaces are not known here, so the namespaceSelector of pool {} sees none",
                pool.name
            ));
        }
        if standing == Some(Standing::Taken) && pool.block_size == pool.family().bits() {
            warnings.push(format!(
                "the blocks of pool {} are single addresses: the search for a new one starts at a random place, so another address may be next",
                pool.name
            ));
        }
    }
    warnings
}
