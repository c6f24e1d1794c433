//! What keeps the agent from starting: what the cluster uses, and would lose with an agent that does not
//! carry it out.

use std::collections::BTreeSet;
use std::time::Duration;

use resources::loss::{Feature, Losses, losses};
use store::StoreError;
use store::strangers::Strangers;

/// Why the agent does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PreflightError {
    /// The cluster would lose something, or nobody knows whether it would.
    #[error(
        "rackpoold node does not start, for this cluster would lose:\n{losses}`calicoctl datastore preflight -o json` names every object. To start all the same: rackpoold node --accept-loss={accept}"
    )]
    Lost {
        /// What would be lost and was not accepted.
        losses: Losses,
        /// The words with which the agent would start.
        accept: String,
    },
    /// The store gives no answer.
    #[error("cannot tell what this cluster would lose: {0}")]
    Store(#[from] StoreError),
}

/// Refuses to go on where the cluster would lose more than what was accepted. Gives what was accepted and is
/// lost, for the log.
///
/// # Errors
/// See [`PreflightError`].
pub async fn preflight(
    store: &impl Strangers,
    accepted: &BTreeSet<Feature>,
    within: Duration,
) -> Result<Losses, PreflightError> {
    judge(losses(store, within).await?, accepted)
}

fn judge(all: Losses, accepted: &BTreeSet<Feature>) -> Result<Losses, PreflightError> {
    let refused = all.clone().beyond(accepted);
    if refused.is_empty() {
        return Ok(all);
    }
    // What was accepted already has to be said again.
    let features = refused.features().union(accepted).map(|feature| feature.word()).collect::<Vec<_>>();
    Err(PreflightError::Lost { losses: refused, accept: features.join(",") })
}

#[cfg(test)]
mod tests {
    use resources::loss::{Loss, Unknown};

    use super::*;

    #[test]
    fn only_what_was_accepted_is_lost() {
        let all = Losses {
            found: vec![Loss { feature: Feature::Policy, objects: vec!["p".to_string()] }],
            unknown: vec![Unknown {
                feature: Feature::Bgp,
                what: "peers".to_string(),
                reason: "forbidden".to_string(),
            }],
        };
        let accept = |features: &[Feature]| judge(all.clone(), &features.iter().copied().collect());
        assert_eq!(accept(&[Feature::Bgp, Feature::Policy, Feature::Ebpf]).unwrap(), all);
        let refused = accept(&[Feature::Policy]).unwrap_err().to_string();
        assert!(refused.contains("bgp: nobody knows, for peers cannot be listed: forbidden\n"), "{refused}");
        assert!(!refused.contains("policy:") && refused.ends_with("--accept-loss=policy,bgp"), "{refused}");
        assert!(accept(&[]).unwrap_err().to_string().ends_with("--accept-loss=policy,bgp"));
        assert_eq!(judge(Losses::default(), &BTreeSet::new()).unwrap(), Losses::default());
    }
}
