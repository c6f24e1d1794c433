//! Events of Kubernetes: what `kubectl describe` shows of findings about an object.
//!
//! There is one Event of each object and reason, by a name of its own, and one that says that it is over;
//! when either is told again, its count is raised. So a finding that stays makes no heap of events, and one
//! that comes and goes is written once a minute at most.

use std::collections::BTreeMap;
use std::time::Duration;

use api::Timestamp;
use serde_json::{Value as Json, json};
use store::StoreError;
use store::kubernetes::{KubeStore, ObjectName, ObjectPatch, PatchKind};

use crate::node::finding::{Finding, Reason};

/// The namespace of events about objects that have none.
const NAMESPACE: &str = "default";
/// How soon a finding that has not changed is told again: the API server forgets an event after an hour.
const REPEAT: Duration = Duration::from_secs(30 * 60);
/// How soon a finding with another text is told.
const CHANGED: Duration = Duration::from_secs(60);

/// An object that has no namespace, as events name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// Group and version.
    pub api_version: String,
    /// The kind.
    pub kind: &'static str,
    /// The name.
    pub name: String,
    /// The UID; `None` where it is not known.
    pub uid: Option<String>,
}

impl Object {
    /// A Node. Its name stands for its UID, as with the kubelet's events.
    pub fn node(name: &str) -> Object {
        Object {
            api_version: "v1".to_string(),
            kind: "Node",
            name: name.to_string(),
            uid: Some(name.to_string()),
        }
    }

    fn reference(&self) -> Json {
        let mut reference = json!({"apiVersion": self.api_version, "kind": self.kind, "name": self.name});
        if let Some(uid) = &self.uid {
            reference["uid"] = uid.as_str().into();
        }
        reference
    }
}

/// What was told of each object, and when.
#[derive(Clone, Debug, Default)]
pub struct Events {
    told: BTreeMap<(Object, Reason), Told>,
}

/// What was told of an object and a reason last.
#[derive(Clone, Debug)]
struct Told {
    at: Duration,
    text: String,
    is_over: bool,
}

impl Events {
    /// The findings about an object that are to be told now, one of each reason. `now` is the time since some
    /// fixed moment.
    pub fn due(&self, about: &Object, findings: &[Finding], now: Duration) -> Vec<Finding> {
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
        let is_due = |finding: &Finding| match self.told.get(&(about.clone(), finding.reason)) {
            None => true,
            Some(told) => {
                let is_same = told.text == finding.text && !told.is_over;
                now.saturating_sub(told.at) >= if is_same { REPEAT } else { CHANGED }
            }
        };
        folded.filter(is_due).collect()
    }

    /// The reasons about an object that are to be told to be over now, each with what was told of it last.
    pub fn over(&self, about: &Object, findings: &[Finding], now: Duration) -> Vec<Finding> {
        let is_over = |((object, reason), told): &(&(Object, Reason), &Told)| {
            let is_there = findings.iter().any(|finding| finding.reason == *reason);
            object == about && !told.is_over && !is_there && now.saturating_sub(told.at) >= CHANGED
        };
        let over = self.told.iter().filter(is_over);
        over.map(|((_, reason), told)| Finding::new(*reason, told.text.clone())).collect()
    }

    /// The objects of which something was told that is not over.
    pub fn open(&self) -> impl Iterator<Item = &Object> {
        self.told.iter().filter(|(_, told)| !told.is_over).map(|((object, _), _)| object)
    }

    /// Tells the findings about an object that are due. One that cannot be told is due again next time.
    /// `instance` is who tells.
    ///
    /// # Errors
    /// The store's, of the first finding that could not be told.
    pub async fn tell(
        &mut self,
        store: &KubeStore,
        (about, instance): (&Object, &str),
        findings: &[Finding],
        clock: &impl store::Effects,
        within: Duration,
    ) -> Result<(), StoreError> {
        let now = clock.elapsed();
        let due = self.due(about, findings, now).into_iter().map(|finding| (finding, false));
        let over = self.over(about, findings, now).into_iter().map(|finding| (finding, true));
        for (finding, is_over) in due.chain(over) {
            write(store, (about, instance), &Line::of(&finding, is_over), clock.now(), within).await?;
            self.note(about, finding, is_over, now);
        }
        Ok(())
    }

    fn note(&mut self, about: &Object, finding: Finding, is_over: bool, now: Duration) {
        // What is over and was told long ago is told again in any case; and of an object that is gone nobody
        // tells any more.
        let long = |told: &Told| if told.is_over { REPEAT } else { 2 * REPEAT };
        self.told.retain(|_, told| now.saturating_sub(told.at) < long(told));
        self.told.insert((about.clone(), finding.reason), Told { at: now, text: finding.text, is_over });
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

/// The name of the event of an object and a reason. Names of objects may be as long as names of events.
fn name(object: &str, reason: &str) -> String {
    let object: String = object.chars().take(180).collect();
    format!("{}.rackpoold.{}", object.trim_end_matches(['.', '-']), reason.to_lowercase())
}

/// The event, as it is told for the first time.
fn fresh((about, instance): (&Object, &str), line: &Line, now: &str) -> Json {
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name(&about.name, &line.reason), "namespace": NAMESPACE},
        "involvedObject": about.reference(),
        "type": line.kind,
        "reason": line.reason,
        "message": line.message,
        "source": {"component": "rackpoold", "host": instance},
        "reportingComponent": "rackpoold",
        "reportingInstance": instance,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    })
}

async fn write(
    store: &KubeStore,
    about: (&Object, &str),
    line: &Line,
    now: Timestamp,
    within: Duration,
) -> Result<(), StoreError> {
    let (text, now) = (name(&about.0.name, &line.reason), api::time::rfc3339(now));
    let name = ObjectName::event(NAMESPACE, &text);
    // The API server may forget the event between two requests.
    for _ in 0..2 {
        let Some(stored) = store.object(name, within).await? else {
            if store.create_object(name, &fresh(about, line, &now), within).await? {
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
    fn long_names_are_cut_between_characters() {
        assert_eq!(name("n1", "IpipMissing"), "n1.rackpoold.ipipmissing");
        let long = format!("{}é{}", "n".repeat(179), "m".repeat(70));
        assert_eq!(name(&long, "X"), format!("{}é.rackpoold.x", "n".repeat(179)));
    }

    #[test]
    fn what_is_due() {
        let (a, b) = (Reason::IPIP_MISSING, Reason::LOOPBACK_MISSING);
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        let findings =
            [Finding::new(a, "y"), Finding::new(b, "z"), Finding::new(a, "x"), Finding::new(a, "y")];
        let (node, other) = (Object::node("n1"), Object::node("n2"));
        let mut events = Events::default();
        let due = events.due(&node, &findings, minutes(0));
        assert_eq!(due, [Finding::new(a, "x; y"), Finding::new(b, "z")]);
        due.into_iter().for_each(|finding| events.note(&node, finding, false, minutes(0)));
        assert_eq!(events.due(&node, &findings, minutes(29)), []);
        assert_eq!(events.due(&node, &findings, minutes(30)).len(), 2);
        assert_eq!(events.due(&other, &findings, minutes(1)).len(), 2);
        let changed = [Finding::new(a, "other")];
        assert_eq!(events.due(&node, &changed, Duration::from_secs(59)), []);
        assert_eq!(events.due(&node, &changed, minutes(1)), changed);

        // What is no longer found is told to be over once; what comes back is told again, a minute later.
        assert_eq!(events.over(&node, &changed, Duration::from_secs(59)), []);
        assert_eq!(events.over(&node, &findings, minutes(1)), []);
        assert_eq!(events.over(&other, &changed, minutes(1)), []);
        assert_eq!(events.over(&node, &changed, minutes(1)), [Finding::new(b, "z")]);
        events.note(&node, Finding::new(b, "z"), true, minutes(1));
        assert_eq!(events.over(&node, &changed, minutes(9)), []);
        let back = [Finding::new(b, "z")];
        assert_eq!(events.due(&node, &back, Duration::from_secs(119)), []);
        assert_eq!(events.due(&node, &back, minutes(2)), back);
        events.note(&other, Finding::new(a, "x"), false, minutes(70));
        assert_eq!(events.told.len(), 1, "what was told long ago is not kept");
    }

    #[test]
    fn the_name_of_an_event() {
        assert_eq!(name("n1", Reason::IPIP_MISSING.word()), "n1.rackpoold.ipipmissing");
        let long = format!("{}.{}", "a".repeat(179), "b".repeat(60));
        let name = name(&long, "TunnelAddressMissingIsOver");
        assert_eq!(api::crd::why_no_name(&name), None, "{name}");
    }
}
