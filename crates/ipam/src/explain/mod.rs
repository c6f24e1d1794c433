//! Explains a request for an address: what becomes of each pool, which address would be next, what would be
//! written, and what would help where there is none.
//!
//! The answer is the planner's own: the request is run as ever, on a store that keeps its writes to itself.
//! Remedies are tried before they are proposed, on a copy of what was read.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api::{BlockCidr, Family, Key, Kind, Revision, Use};
use store::{Depth, DryRun, Effects, Foreseen, ReadSet, Scope, Store, View};

use crate::plan::AutoAssign;
use crate::plan::auto_assign::AutoAssignError;
use crate::run::{RunError, run};
use crate::usage;
use crate::verdict::{BlockVerdict, Verdict, Verdicts};

pub mod commands;
mod judged;
pub mod nodes;
pub mod refusal;

mod remedy;
mod standing;
mod step;
mod trial;

pub use judged::{Decider, JudgedPool};
pub use standing::Standing;
pub use step::PoolChange;

use trial::{Outcome, Trial};

/// A question about a request.
#[derive(Clone, Debug)]
pub struct Question {
    /// The request. It wants one address of one family.
    pub request: AutoAssign,
    /// The namespace for which the request is, where its labels are known.
    pub namespace: Option<String>,
    /// The annotation that names the request's pools; `None` where the request itself names them, or nobody.
    pub annotation: Option<String>,
    /// Whether nodes and namespaces are Kubernetes' own, so that kubectl labels them.
    pub is_on_kubernetes: bool,
}

impl Question {
    /// The family of the address that the request wants.
    pub fn family(&self) -> Family {
        if self.request.v6 > 0 { Family::V6 } else { Family::V4 }
    }

    fn reads(&self) -> ReadSet {
        // A service's request has no node.
        let node = (self.request.intended_use != Use::LoadBalancer).then(|| self.node());
        reads().keys(node)
    }

    fn node(&self) -> Key {
        Key::global(Kind::Node, self.request.host.as_str())
    }
}

/// Everything on which allocation rests, but for the nodes.
pub fn reads() -> ReadSet {
    usage::reads().key(Key::IpamConfig).scope(Scope::Affinities { owner: None, family: None }, Depth::Full)
}

/// The address that the next request would get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// The address.
    pub address: std::net::IpAddr,
    /// Its block.
    pub block: BlockCidr,
    /// How the request comes by the block.
    pub source: BlockSource,
    /// The name of the pool.
    pub pool: String,
    /// The store's revision at which this was found; the block's, where the store has none.
    pub revision: Option<Revision>,
}

/// How a request comes by the block of its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockSource {
    /// The block is the node's.
    Own,
    /// The node claims the block.
    Claimed,
    /// The block is another's.
    Borrowed,
}

impl BlockSource {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            BlockSource::Own => "own",
            BlockSource::Claimed => "claimed",
            BlockSource::Borrowed => "borrowed",
        }
    }
}

/// The explanation of a request.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The family of the address.
    pub family: Family,
    /// The node's labels; `None` where there is no such node.
    pub node_labels: Option<BTreeMap<String, String>>,
    /// All pools, in the order of their names.
    pub pools: Vec<JudgedPool>,
    /// The address that would be next.
    pub next: Option<Next>,
    /// Why there is none, in the words of the request's error.
    pub refusal: Option<String>,
    /// What decided about the pools that are taken from, or would be.
    pub decided_by: Vec<Decider>,
    /// What would be written.
    pub writes: Vec<Foreseen>,
    /// Commands after which the request gets an address; `None` where it gets one already, or where no
    /// command helps.
    pub remedy: Option<String>,
    /// The labels that nodes must have for the pools' node selectors, each with the values that help; without
    /// values where others help, too.
    pub labels_asked: BTreeMap<String, BTreeSet<String>>,
    /// What else the user should know.
    pub warnings: Vec<String>,
}

/// Explains a request. Nothing is written.
///
/// # Errors
/// When the store cannot be read. That the request gets no address is no error.
pub async fn explain<S: Store, E: Effects>(
    store: &S,
    effects: &E,
    question: &Question,
    within: Duration,
) -> Result<Explanation, RunError<AutoAssignError>> {
    let view = store.read(&question.reads(), within).await.map_err(RunError::Store)?;
    let verdicts = Verdicts::default();
    let dry = DryRun::over(store);
    let planner = question.request.clone().planner_for(&verdicts);
    let outcome = match run(&dry, effects, planner, within).await {
        Ok(answer) => Outcome::of(answer, question.family(), verdicts.take()),
        Err(RunError::Plan(error)) => Outcome::failed(error, verdicts.take()),
        Err(error) => return Err(error),
    };
    let mut trial = Trial::new(view, question.clone(), effects.now(), effects.seed());
    let remedy = if outcome.is_whole() { None } else { remedy::find(&trial, &outcome) };
    let refusal = outcome.refusal();
    let (next, writes) = match outcome.is_whole() {
        true => (next(&trial.view, &outcome, &dry.read_at()), dry.foreseen()),
        false => (None, Vec::new()),
    };
    let node_labels = trial.node_labels().cloned();
    let outcome = match &outcome.error {
        // Without the node there is no verdict on any pool. So they are judged for a node without labels.
        Some(AutoAssignError::NoNode(_)) => {
            trial.suppose_node();
            trial.run()
        }
        _ => outcome,
    };
    let taken = next.as_ref().map(|next| next.pool.as_str());
    let pools = judged::judge(&trial, &outcome, taken);
    Ok(Explanation {
        family: question.family(),
        node_labels,
        decided_by: judged::decided_by(&trial, &pools),
        labels_asked: judged::labels_asked(&trial.view, question.family()),
        warnings: judged::warnings(&trial, &pools),
        pools,
        next,
        refusal,
        writes,
        remedy,
    })
}

fn next(view: &View, outcome: &Outcome, read_at: &Option<Revision>) -> Option<Next> {
    let address = outcome.assigned.addresses.first()?.addr;
    let (block, source) = outcome.verdicts.iter().rev().find_map(|verdict| match verdict {
        Verdict::Block { block, verdict } if block.ordinal(address).is_some() => {
            let source = match verdict {
                BlockVerdict::Taken(_) => BlockSource::Own,
                BlockVerdict::Claimed(_) => BlockSource::Claimed,
                BlockVerdict::Borrowed(_) => BlockSource::Borrowed,
                _ => return None,
            };
            Some((*block, source))
        }
        _ => None,
    })?;
    let pool = usage::pool_of(view, &block.cidr())?.name.clone();
    let stored = || view.block(block).flatten().map(|(_, revision)| revision.clone());
    Some(Next { address, block, source, pool, revision: read_at.clone().or_else(stored) })
}
