//! Events of the Kubernetes Node: what `kubectl describe node` shows of findings.
//!
//! There is one Event of each reason, by a name of its own, and one that says that it is over; when either is
//! told again, its count is raised. So a finding that stays makes no heap of events, and one that comes and
//! goes is written once a minute at most.

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
    told: BTreeMap<Reason, Told>,
}

/// What was told of a reason last.
#[derive(Clone, Debug)]
struct Told {
    at: Duration,
    text: String,
    is_over: bool,
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
            Some(told) => {
                let is_same = told.text == finding.text && !told.is_over;
                now.saturating_sub(told.at) >= if is_same { REPEAT } else { CHANGED }
            }
        };
        folded.filter(is_due).collect()
    }

    /// The reasons that are to be told to be over now, each with what was told of it last.
    pub fn over(&self, findings: &[Finding], now: Duration) -> Vec<Finding> {
        let is_over = |(reason, told): &(&Reason, &Told)| {
            let is_there = findings.iter().any(|finding| finding.reason == **reason);
            !told.is_over && !is_there && now.saturating_sub(told.at) >= CHANGED
        };
        let over = self.told.iter().filter(is_over);
        over.map(|(reason, told)| Finding::new(*reason, told.text.clone())).collect()
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
        let now = clock.elapsed();
        for (finding, is_over) in self
            .due(findings, now)
            .into_iter()
            .map(|finding| (finding, false))
            .chain(self.over(findings, now).into_iter().map(|finding| (finding, true)))
        {
            write(store, node, &Line::of(&finding, is_over), clock.now(), within).await?;
            self.told.insert(finding.reason, Told { at: now, text: finding.text, is_over });
        }
        Ok(())
    }
}

/// What an event says.
struct Line {
    kind: &'static str,
    reason: String,
    message: String,
}

impl Line {
    fn of(finding: &Finding, is_over: bool) -> Line {
        let (word, text) = (finding.reason.word(), finding.text.as_str());
        match is_over {
            false => Line { kind: "Warning", reason: word.to_string(), message: text.to_string() },
            true => Line {
                kind: "Normal",
                reason: format!("{word}IsOver"),
                message: outside::cut_short(&format!("no longer: {text}")),
            },
        }
    }
}

/// The name of the event of a reason. Names of nodes may be as long as names of events.
fn name(node: &str, reason: &str) -> String {
    let node = &node[..node.len().min(180)];
    format!("{}.rackpoold.{}", node.trim_end_matches(['.', '-']), reason.to_lowercase())
}

/// The event, as it is told for the first time. The Node's name stands for its UID, as with the kubelet's.
fn fresh(node: &str, line: &Line, now: &str) -> Json {
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name(node, &line.reason), "namespace": NAMESPACE},
        "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": node, "uid": node},
        "type": line.kind,
        "reason": line.reason,
        "message": line.message,
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
    line: &Line,
    now: Timestamp,
    within: Duration,
) -> Result<(), StoreError> {
    let (text, now) = (name(node, &line.reason), api::time::rfc3339(now));
    let name = ObjectName::event(NAMESPACE, &text);
    // The API server may forget the event between two requests.
    for _ in 0..2 {
        let Some(stored) = store.object(name, within).await? else {
            if store.create_object(name, &fresh(node, line, &now), within).await? {
                return Ok(());
            }
            continue;
        };
        let count = stored["count"].as_u64().unwrap_or(1) + 1;
        let patch = json!({"count": count, "lastTimestamp": now, "message": line.message});
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
            let told = Told { at: minutes(0), text: finding.text, is_over: false };
            events.told.insert(finding.reason, told);
        }
        assert_eq!(events.due(&findings, minutes(29)), []);
        assert_eq!(events.due(&findings, minutes(30)).len(), 2);
        let changed = [Finding::new(a, "other")];
        assert_eq!(events.due(&changed, Duration::from_secs(59)), []);
        assert_eq!(events.due(&changed, minutes(1)), changed);

        // What is no longer found is told to be over once; what comes back is told again, a minute later.
        assert_eq!(events.over(&changed, Duration::from_secs(59)), []);
        assert_eq!(events.over(&findings, minutes(1)), []);
        assert_eq!(events.over(&changed, minutes(1)), [Finding::new(b, "z")]);
        let told = Told { at: minutes(1), text: "z".to_string(), is_over: true };
        events.told.insert(b, told);
        assert_eq!(events.over(&changed, minutes(9)), []);
        let back = [Finding::new(b, "z")];
        assert_eq!(events.due(&back, Duration::from_secs(119)), []);
        assert_eq!(events.due(&back, minutes(2)), back);
    }

    #[test]
    fn the_name_of_an_event() {
        assert_eq!(name("n1", Reason::IPIP_MISSING.word()), "n1.rackpoold.ipipmissing");
        let long = format!("{}.{}", "a".repeat(179), "b".repeat(60));
        let name = name(&long, "TunnelAddressMissingIsOver");
        assert_eq!(api::crd::why_no_name(&name), None, "{name}");
    }
}
