//! What the Kubernetes Node says of this agent's work: whether pods' packets find their way, and what is
//! amiss. The patches are pure; [`publish`] sends one where the Node says something else.

#[cfg(feature = "kubernetes")]
use std::time::Duration;

use api::Timestamp;
use serde_json::{Value as Json, json};
#[cfg(feature = "kubernetes")]
use store::StoreError;
#[cfg(feature = "kubernetes")]
use store::kubernetes::{KubeStore, ObjectName, ObjectPatch, PatchKind};

use super::finding::Finding;

/// The condition by which Kubernetes knows whether a node's pods have a network. While it is `True`, the
/// node's taint keeps new pods away.
pub const NETWORK_UNAVAILABLE: &str = "NetworkUnavailable";
/// The condition that tells what is amiss: `True` with the reason of the finding, or `False`.
pub const PROBLEM: &str = "RackpoolProblem";
/// The reason of [`PROBLEM`] where nothing is amiss.
pub const NOTHING_FOUND: &str = "NothingFound";
/// The reason of [`PROBLEM`] where several kinds of things are.
pub const SEVERAL: &str = "SeveralFindings";

/// A condition of a Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The type.
    pub kind: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// A word in CamelCase; stable.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
}

impl Condition {
    /// The node's routes, tunnels and filter are there: pods may come.
    pub fn network_is_up() -> Condition {
        Condition {
            kind: NETWORK_UNAVAILABLE,
            holds: false,
            reason: "RackpoolIsUp".to_string(),
            message: "rackpoold has set up this node's routes".to_string(),
        }
    }

    /// The node's network is taken back on purpose: no pods may come. It is not for a restart or an upgrade,
    /// during which pods keep their network.
    pub fn network_is_drained() -> Condition {
        Condition {
            kind: NETWORK_UNAVAILABLE,
            holds: true,
            reason: "RackpoolIsDrained".to_string(),
            message: "rackpoold has been told to take back this node's network".to_string(),
        }
    }

    /// What is amiss.
    pub fn problem(findings: &[Finding]) -> Condition {
        let mut findings: Vec<&Finding> = findings.iter().collect();
        findings.sort();
        findings.dedup();
        let is_one_kind = findings.windows(2).all(|pair| pair[0].reason == pair[1].reason);
        let reason = match findings.first() {
            None => NOTHING_FOUND,
            Some(first) if is_one_kind => first.reason.word(),
            Some(_) => SEVERAL,
        };
        let texts: Vec<&str> = findings.iter().map(|finding| finding.text.as_str()).collect();
        let message = match texts.is_empty() {
            true => "rackpoold has found nothing amiss on this node".to_string(),
            false => outside::cut_short(&texts.join("; ")),
        };
        Condition { kind: PROBLEM, holds: !findings.is_empty(), reason: reason.to_string(), message }
    }

    fn status(&self) -> &'static str {
        if self.holds { "True" } else { "False" }
    }
}

/// The strategic merge patch of a Node's status that makes it say these conditions; `None` where it does.
/// Other conditions, the kubelet's above all, are not in it. A condition's time of transition changes with
/// its status alone.
pub fn conditions_patch(node: &Json, wanted: &[Condition], now: Timestamp) -> Option<Json> {
    let stored = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let now = api::time::rfc3339(now);
    let change = |condition: &Condition| {
        let old = stored.iter().find(|old| old["type"] == condition.kind);
        let has = |field: &str, value: &str| old.is_some_and(|old| old[field] == value);
        let is_same = has("status", condition.status())
            && has("reason", &condition.reason)
            && has("message", &condition.message);
        if is_same {
            return None;
        }
        let mut new = json!({
            "type": condition.kind,
            "status": condition.status(),
            "reason": condition.reason,
            "message": condition.message,
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        });
        if let Some(old) =
            old.filter(|old| old["status"] == condition.status() && old["lastTransitionTime"].is_string())
        {
            new["lastTransitionTime"] = old["lastTransitionTime"].clone();
        }
        Some(new)
    };
    let changes: Vec<Json> = wanted.iter().filter_map(change).collect();
    (!changes.is_empty()).then(|| json!({"status": {"conditions": changes}}))
}

/// Sees to it that a Kubernetes Node says these conditions. Tells whether it was written.
///
/// # Errors
/// The store's. Calling again is safe.
#[cfg(feature = "kubernetes")]
pub async fn publish(
    store: &KubeStore,
    node: &str,
    wanted: &[Condition],
    now: Timestamp,
    within: Duration,
) -> Result<bool, StoreError> {
    let name = ObjectName::node(node);
    // Without a Node there is nobody to tell. Its record's write says so.
    let Some(object) = store.object(name, within).await? else { return Ok(false) };
    let Some(patch) = conditions_patch(&object, wanted, now) else { return Ok(false) };
    let change = ObjectPatch { name, status: true, kind: PatchKind::Strategic, patch: &patch };
    let is_written = store.patch_object(change, within).await?.is_some();
    let changed = patch["status"]["conditions"].as_array().into_iter().flatten();
    for condition in changed.filter(|_| is_written) {
        let word = |field: &str| condition[field].as_str().unwrap_or_default();
        let (kind, status, reason) = (word("type"), word("status"), word("reason"));
        tracing::info!(node, kind, status, reason, "wrote the Node's condition");
    }
    Ok(is_written)
}

/// Has a Kubernetes Node say that its network is taken back: no new pods come. Where another agent has said
/// that the network is there, it stays so. Tells whether the Node was written.
///
/// # Errors
/// The store's. Calling again is safe.
#[cfg(feature = "kubernetes")]
pub async fn leave(
    store: &KubeStore,
    node: &str,
    now: Timestamp,
    within: Duration,
) -> Result<bool, StoreError> {
    let object = store.object(ObjectName::node(node), within).await?.unwrap_or_default();
    let mut conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    let up = Condition::network_is_up();
    let is_ours = conditions.any(|one| one["type"] == up.kind && one["reason"] == up.reason);
    match is_ours {
        true => publish(store, node, &[Condition::network_is_drained()], now, within).await,
        false => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Reason;
    use super::*;

    fn at(minute: u32) -> Timestamp {
        format!("2026-01-01T00:{minute:02}:00Z").parse().unwrap()
    }

    fn node(conditions: &Json) -> Json {
        json!({"status": {"conditions": conditions}})
    }

    #[test]
    fn only_what_differs_is_written() {
        let up = Condition::network_is_up();
        let patch = conditions_patch(&json!({}), std::slice::from_ref(&up), at(1)).unwrap();
        let written = &patch["status"]["conditions"];
        assert_eq!(written[0]["lastTransitionTime"], "2026-01-01T00:01:00Z");
        assert_eq!(conditions_patch(&node(written), std::slice::from_ref(&up), at(2)), None);

        // Calico said the same in other words: the reason becomes ours, and nothing has changed over.
        let mut calicos = written.clone();
        calicos[0]["reason"] = "CalicoIsUp".into();
        let patch = conditions_patch(&node(&calicos), &[up, Condition::problem(&[])], at(3)).unwrap();
        let conditions = patch["status"]["conditions"].as_array().unwrap();
        assert_eq!(conditions.len(), 2);
        assert_eq!(conditions[0]["reason"], "RackpoolIsUp");
        assert_eq!(conditions[0]["lastTransitionTime"], "2026-01-01T00:01:00Z");
        assert_eq!(conditions[0]["lastHeartbeatTime"], "2026-01-01T00:03:00Z");

        let patch = conditions_patch(&node(written), &[Condition::network_is_drained()], at(4)).unwrap();
        assert_eq!(patch["status"]["conditions"][0]["lastTransitionTime"], "2026-01-01T00:04:00Z");
    }

    #[test]
    fn problems_are_folded() {
        let (a, b) = (Reason::IPIP_MISSING, Reason::POOL_WITHOUT_ROOM);
        let told = |findings: &[(Reason, &str)]| {
            let findings: Vec<Finding> =
                findings.iter().map(|(reason, text)| Finding::new(*reason, *text)).collect();
            let Condition { holds, reason, message, .. } = Condition::problem(&findings);
            (holds, reason, message)
        };
        let expected = |holds, reason: &str, message: &str| (holds, reason.to_string(), message.to_string());
        assert_eq!(
            told(&[]),
            expected(false, NOTHING_FOUND, "rackpoold has found nothing amiss on this node")
        );
        assert_eq!(told(&[(a, "y"), (a, "x"), (a, "y")]), expected(true, "IpipMissing", "x; y"));
        assert_eq!(told(&[(b, "z"), (a, "x")]), told(&[(a, "x"), (b, "z")]));
        assert_eq!(told(&[(b, "z"), (a, "x")]).1, SEVERAL);
        assert!(told(&[(a, &"long".repeat(5000))]).2.len() < 1100);
    }
}
