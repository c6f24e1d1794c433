//! Events of the Kubernetes Node: what `kubectl describe node` shows of findings.
//!
//! There is one Event of each reason, by a name of its own; when a finding is told again, its count is
//! raised. So a finding that stays makes no heap of events, and one that comes and goes is written a few
//! times an hour at most.

use std::collections::BTreeMap;
use std::time::Duration;

use api::Timestamp;
use serde_json::{Value as Json, json};
use store::StoreError;
use store::kubernetes::{KubeStore, ObjectName, ObjectPatch, PatchKind};

use super::finding::{Finding, Reason};

/// The namespace of events about objects that have none.
const NAMESPACE: &str = "default";
/// How soon a finding that has not changed is told again: the API server forgets an event after an hour.
const REPEAT: Duration = Duration::from_secs(30 * 60);
/// How soon a finding with another text is told.
const CHANGED: Duration = Duration::from_secs(60);

/// What was told, and when.
#[derive(Clone, Debug, Default)]
pub struct Events {
    told: BTreeMap<Reason, (Duration, String)>,
}

impl Events {
    /// The findings that are to be told now, one of each reason. `now` is the time since some fixed moment.
    pub fn due(&self, findings: &[Finding], now: Duration) -> Vec<Finding> {
        let mut by_reason: BTreeMap<Reason, Vec<&str>> = BTreeMap::new();
        for finding in findings {
            let texts = by_reason.entry(finding.reason).or_default();
            if !texts.contains(&finding.text.as_str()) {
                texts.push(&finding.text);
            }
        }
        let folded = by_reason.into_iter().map(|(reason, mut texts)| {
            texts.sort_unstable();
            Finding::new(reason, outside::cut_short(&texts.join("; ")))
        });
        let is_due = |finding: &Finding| match self.told.get(&finding.reason) {
            None => true,
            Some((at, text)) => {
                let pause = if *text == finding.text { REPEAT } else { CHANGED };
                now.saturating_sub(*at) >= pause
            }
        };
        folded.filter(is_due).collect()
    }

    /// Tells the findings that are due. One that cannot be told is due again next time.
    ///
    /// # Errors
    /// The store's, of the first finding that could not be told.
    pub async fn tell(
        &mut self,
        store: &KubeStore,
        node: &str,
        findings: &[Finding],
        clock: &impl store::Effects,
        within: Duration,
    ) -> Result<(), StoreError> {
        for finding in self.due(findings, clock.elapsed()) {
            write(store, node, &finding, clock.now(), within).await?;
            self.told.insert(finding.reason, (clock.elapsed(), finding.text));
        }
        Ok(())
    }
}

/// The name of the event of a reason. Names of nodes may be as long as names of events.
fn name(node: &str, reason: Reason) -> String {
    let node = &node[..node.len().min(180)];
    format!("{}.rackpoold.{}", node.trim_end_matches(['.', '-']), reason.word().to_lowercase())
}

/// The event, as it is told for the first time. The Node's name stands for its UID, as with the kubelet's.
fn fresh(node: &str, finding: &Finding, now: &str) -> Json {
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name(node, finding.reason), "namespace": NAMESPACE},
        "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": node, "uid": node},
        "type": "Warning",
        "reason": finding.reason.word(),
        "message": finding.text,
        "source": {"component": "rackpoold", "host": node},
        "reportingComponent": "rackpoold",
        "reportingInstance": node,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    })
}

async fn write(
    store: &KubeStore,
    node: &str,
    finding: &Finding,
    now: Timestamp,
    within: Duration,
) -> Result<(), StoreError> {
    let (text, now) = (name(node, finding.reason), api::time::rfc3339(now));
    let name = ObjectName::event(NAMESPACE, &text);
    // The API server may forget the event between two requests.
    for _ in 0..2 {
        let Some(stored) = store.object(name, within).await? else {
            if store.create_object(name, &fresh(node, finding, &now), within).await? {
                return Ok(());
            }
            continue;
        };
        let count = stored["count"].as_u64().unwrap_or(1) + 1;
        let patch = json!({"count": count, "lastTimestamp": now, "message": finding.text});
        let change = ObjectPatch { name, status: false, kind: PatchKind::Merge, patch: &patch };
        if store.patch_object(change, within).await?.is_some() {
            return Ok(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due() {
        let (a, b) = (Reason::IPIP_MISSING, Reason::LOOPBACK_MISSING);
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        let findings =
            [Finding::new(a, "y"), Finding::new(b, "z"), Finding::new(a, "x"), Finding::new(a, "y")];
        let mut events = Events::default();
        let due = events.due(&findings, minutes(0));
        assert_eq!(due, [Finding::new(a, "x; y"), Finding::new(b, "z")]);
        for finding in due {
            events.told.insert(finding.reason, (minutes(0), finding.text));
        }
        assert_eq!(events.due(&findings, minutes(29)), []);
        assert_eq!(events.due(&findings, minutes(30)).len(), 2);
        let changed = [Finding::new(a, "other")];
        assert_eq!(events.due(&changed, Duration::from_secs(59)), []);
        assert_eq!(events.due(&changed, minutes(1)), changed);
    }

    #[test]
    fn the_name_of_an_event() {
        assert_eq!(name("n1", Reason::IPIP_MISSING), "n1.rackpoold.ipipmissing");
        let long = format!("{}.{}", "a".repeat(179), "b".repeat(60));
        let name = name(&long, Reason::TUNNEL_ADDRESS_MISSING);
        assert_eq!(api::crd::why_no_name(&name), None, "{name}");
    }
}
