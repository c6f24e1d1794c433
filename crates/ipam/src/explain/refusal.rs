//! What a pod's owner and the node's log are told of a request that got no address.
//!
//! A pod's owner reads the events of the pod. So his text names the pools of the pod, and nothing of others:
//! neither the holders of addresses, nor selectors and labels. It is the same text at each attempt, so that
//! the events are counted and not repeated: no time and no count that changes is in it.

use api::{Family, Pool};
use store::View;

use super::Question;
use super::judged;
use super::trial::{Outcome, Trial};
use crate::plan::AutoAssigned;
use crate::plan::auto_assign::AutoAssignError;
use crate::pools::{self, Asker, PoolsError};
use crate::verdict::{PoolVerdict, Verdict, Verdicts};

/// How many pools the text names at most.
const NAMED: usize = 3;

/// What to tell of a request that got no address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// The text for the owner of the pod.
    pub for_owner: String,
    /// The lines for the log of the node.
    pub for_log: Vec<String>,
}

/// What to tell of a request that got `answer`. The view must hold what the planner reads first. `explain` is
/// the command that says more; `most` is how many bytes the owner's text may have.
pub fn refusal(
    view: &View,
    question: &Question,
    answer: &AutoAssigned,
    explain: &str,
    most: usize,
) -> Refusal {
    let family = question.family();
    let verdicts = Verdicts::default();
    // No time and no chance plays a part in the choice of pools.
    let trial = Trial::new(view.clone(), question.clone(), api::Timestamp::UNIX_EPOCH, 0);
    let asker = Asker {
        host: &question.request.host,
        node_labels: trial.node_labels(),
        namespace_labels: question.request.namespace_labels.as_ref(),
        intended_use: question.request.intended_use,
        host_reserved: question.request.host_reserved.as_ref(),
    };
    let requested = match family {
        Family::V4 => &question.request.v4_pools,
        Family::V6 => &question.request.v6_pools,
    };
    let has_node = trial.node_labels().is_some();
    if has_node {
        let _ = pools::choose(view, family, requested, asker, &&verdicts);
    }
    let outcome = Outcome::of(answer.clone(), family, verdicts.take());
    let what = cause(&trial, &outcome);
    let judged = if has_node { judged::judge(&trial, &outcome, None) } else { Vec::new() };
    let left_out = judged.iter().filter(|pool| !pool.standing.is_chosen());
    let for_log =
        left_out.map(|pool| format!("pool {}: {}: {}", pool.name, pool.standing.word(), pool.reason));
    let end = format!("; {explain}");
    let room = most.saturating_sub(end.len());
    Refusal { for_owner: format!("{}{end}", short(&what, room)), for_log: for_log.collect() }
}

/// Why there is no address, in words that name only the request's own pools.
fn cause(trial: &Trial, outcome: &Outcome) -> String {
    let question = &trial.question;
    let (host, family) = (&question.request.host, question.family());
    let of_whom = match &question.namespace {
        Some(namespace) => format!("node {host} and namespace {namespace}"),
        None => format!("node {host}"),
    };
    let enabled = pools::enabled(&trial.view, family).count();
    let all = pools::all(&trial.view).filter(|pool| pool.family() == family).count();
    let own = own_pools(trial, outcome);
    let limit = outcome.assigned.messages.iter().find_map(|message| match message {
        Verdict::BlockLimit(limit) => Some(*limit),
        _ => None,
    });
    match (&outcome.error, limit) {
        (Some(AutoAssignError::NoNode(_)), _) => {
            format!(
                "no node has the name {host}: the nodename of the network configuration must be the name of a node"
            )
        }
        (Some(AutoAssignError::Pools(PoolsError::NoneQualified)), _) if all == 0 => {
            format!("there is no {family} pool: create one")
        }
        (Some(AutoAssignError::Pools(PoolsError::NoneQualified)), _) if enabled == 0 => {
            format!("none of {all} {family} pools is enabled: create or enable one")
        }
        (Some(AutoAssignError::Pools(PoolsError::NotThere(cidr))), _) => {
            let find = |is_meant: &dyn Fn(&Pool) -> bool| pools::all(&trial.view).find(|pool| is_meant(pool));
            match (find(&|pool| pool.cidr == *cidr), find(&|pool| pool.cidr.covers(cidr))) {
                (Some(pool), _) => {
                    format!("the pool {} {cidr}, which is asked for, {}", pool.name, not_enabled(pool))
                }
                (None, Some(pool)) => format!(
                    "{cidr}, which is asked for, is a part of the pool {} {}: ask for the whole pool",
                    pool.name, pool.cidr
                ),
                (None, None) => format!("no pool has the network {cidr}, which is asked for"),
            }
        }
        (Some(AutoAssignError::Pools(PoolsError::NoneForUse(wanted))), _) => {
            format!("the {family} pools for {of_whom} do not allow the use {}", wanted.name())
        }
        (Some(AutoAssignError::Pools(_)), _) => {
            format!(
                "none of {enabled} enabled {family} pools is for {of_whom}: label the node, or create a pool for it"
            )
        }
        (Some(AutoAssignError::BlockLimit), Some(limit)) => {
            format!(
                "node {host} has as many blocks as it may, {limit}, and they are full; its pools: {own}; raise the limit"
            )
        }
        (Some(AutoAssignError::NoAutoAllocate), _) => {
            format!(
                "the blocks of node {host} are full, and it may claim no others (autoAllocateBlocks); its pools: {own}"
            )
        }
        (Some(_), _) => format!("pools for {of_whom}: {own}"),
        (None, _) => {
            let messages = &outcome.assigned.messages;
            match messages.contains(&Verdict::StrictAffinity) {
                true => format!(
                    "the blocks of node {host} are full, no other is free, and affinity is strict; its pools: {own}; add a pool"
                ),
                false => format!("no address is free in the pools for {of_whom}: {own}; add a pool"),
            }
        }
    }
}

/// Why no pool gives an address that was asked for by name; `None` where an enabled pool contains it. The
/// view must hold the pools.
pub fn without_pool(view: &View, addr: std::net::IpAddr) -> Option<String> {
    let mut around = pools::all(view).filter(|pool| pool.cidr.contains(addr)).peekable();
    let Some(first) = around.peek().copied() else {
        return Some(format!("no pool contains {addr}, which is asked for"));
    };
    if around.any(|pool| pool.is_enabled()) {
        return None;
    }
    Some(format!(
        "{addr}, which is asked for, is in the pool {} {}, which {}",
        first.name,
        first.cidr,
        not_enabled(first)
    ))
}

/// What keeps a pool from giving addresses.
fn not_enabled(pool: &Pool) -> &'static str {
    match pool {
        Pool { disabled: true, .. } => "is disabled",
        Pool { deleting: true, .. } => "is being deleted",
        _ => "is not enabled: its status says that it cannot be allocated from",
    }
}

/// The pools of the request, with their sizes.
fn own_pools(trial: &Trial, outcome: &Outcome) -> String {
    let is_chosen = |pool: &Pool| {
        outcome.verdicts.iter().any(|verdict| match verdict {
            Verdict::Pool { name, verdict: PoolVerdict::Chosen } => *name == pool.name,
            _ => false,
        })
    };
    let own: Vec<_> = pools::all(&trial.view).filter(|pool| is_chosen(pool)).collect();
    let named = own
        .iter()
        .take(NAMED)
        .map(|pool| format!("{} {} ({} addresses)", pool.name, pool.cidr, pool.cidr.size()));
    let more = match own.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    named.collect::<Vec<_>>().join(", ") + &more
}

/// The text, cut to that many bytes.
pub fn short(text: &str, most: usize) -> String {
    const DOTS: &str = "...";
    if text.len() <= most {
        return text.to_string();
    }
    let end = most.saturating_sub(DOTS.len());
    let end = (0..=end).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}{DOTS}", &text[..end])
}
