//! The claim on Kubernetes: a Lease, written as client-go's leader election writes it.

use std::time::Duration;

use api::Timestamp;
use serde_json::{Value as Json, json};
use setup::Clock;
use store::StoreError;
use store::kubernetes::{KubeStore, ObjectName, Replaced};

use super::LEASE;

/// The Lease.
pub const NAME: &str = "rackpool-controllers";

/// A claim by a Lease.
#[derive(Debug)]
pub struct Claim {
    store: KubeStore,
    identity: String,
    namespace: String,
    /// The Lease as this process wrote it last, while it is this process's.
    ours: Option<Json>,
    seen: Option<Seen>,
    number: u64,
}

/// A state of another's Lease.
#[derive(Debug, PartialEq)]
struct Seen {
    revision: String,
    /// When this process saw that state first, on its own clock.
    since: Duration,
}

impl Claim {
    /// No claim yet.
    pub fn new(store: KubeStore, identity: &str, namespace: String) -> Claim {
        let identity = identity.to_string();
        Claim { store, identity, namespace, ours: None, seen: None, number: 0 }
    }

    fn name(&self) -> ObjectName<'_> {
        ObjectName::lease(&self.namespace, NAME)
    }

    /// Takes the Lease, where it is free or its time is over, or renews it. Gives the number of the claim.
    pub async fn assert(&mut self, clock: &Clock, within: Duration) -> Result<Option<u64>, StoreError> {
        if let Some(ours) = &self.ours {
            let mut next = ours.clone();
            next["spec"]["renewTime"] = micro_time(clock.now()).into();
            match self.store.replace_object(self.name(), false, &next, within).await? {
                Replaced::Done(stored) => {
                    self.ours = Some(*stored);
                    return Ok(Some(self.number));
                }
                // Somebody wrote it, or the answer to this process's own last renewal was lost.
                Replaced::Changed | Replaced::Absent => {}
            }
        }
        let Some(stored) = self.store.object(self.name(), within).await? else {
            self.ours = None;
            let fresh =
                self.held(json!({"metadata": {"name": NAME, "namespace": self.namespace}}), clock.now());
            self.store.create_object(self.name(), &fresh, within).await?;
            return match self.store.object(self.name(), within).await? {
                Some(stored) if self.is_ours(&stored) => Ok(Some(self.begin(stored))),
                _ => Ok(None),
            };
        };
        // No other process has this one's name. The answer to the last renewal may be lost, and that was some
        // time ago: only a write from now counts.
        let is_ours = self.is_ours(&stored);
        let is_known = is_ours && self.ours.is_some();
        if !is_ours {
            self.ours = None;
            if !self.is_over(&stored, clock.elapsed()) {
                return Ok(None);
            }
        }
        let next = self.held(stored, clock.now());
        match self.store.replace_object(self.name(), false, &next, within).await? {
            Replaced::Done(stored) if is_known => {
                self.ours = Some(*stored);
                Ok(Some(self.number))
            }
            Replaced::Done(stored) => Ok(Some(self.begin(*stored))),
            Replaced::Changed | Replaced::Absent => Ok(None),
        }
    }

    fn is_ours(&self, lease: &Json) -> bool {
        lease["spec"]["holderIdentity"] == self.identity.as_str()
    }

    fn begin(&mut self, lease: Json) -> u64 {
        self.ours = Some(lease);
        self.seen = None;
        self.number += 1;
        self.number
    }

    /// Whether a Lease may be taken: nobody has it, or it was not renewed for its time, by this process's own
    /// clock.
    fn is_over(&mut self, lease: &Json, now: Duration) -> bool {
        if lease["spec"]["holderIdentity"].as_str().unwrap_or_default().is_empty() {
            return true;
        }
        let revision = lease["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_string();
        let seconds = lease["spec"]["leaseDurationSeconds"].as_u64().unwrap_or_default();
        let lasts = Duration::from_secs(seconds.max(u64::from(LEASE)));
        match &self.seen {
            Some(seen) if seen.revision == revision => now.saturating_sub(seen.since) >= lasts,
            _ => {
                self.seen = Some(Seen { revision, since: now });
                false
            }
        }
    }

    /// A Lease with this process as its holder.
    fn held(&self, mut lease: Json, now: Timestamp) -> Json {
        let now = micro_time(now);
        let transitions = lease["spec"]["leaseTransitions"].as_u64();
        lease["apiVersion"] = "coordination.k8s.io/v1".into();
        lease["kind"] = "Lease".into();
        lease["spec"] = json!({
            "holderIdentity": self.identity,
            "leaseDurationSeconds": LEASE,
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": transitions.map_or(0, |before| before + 1),
        });
        lease
    }

    /// Leaves the Lease without a holder.
    pub async fn give_up(&mut self, clock: &Clock, within: Duration) -> Result<(), StoreError> {
        let Some(mut lease) = self.ours.take() else { return Ok(()) };
        let spec = &mut lease["spec"];
        (spec["holderIdentity"], spec["leaseDurationSeconds"]) = ("".into(), 1.into());
        spec["renewTime"] = micro_time(clock.now()).into();
        self.store.replace_object(self.name(), false, &lease, within).await.map(|_| ())
    }
}

/// A time as Kubernetes' `MicroTime` is written.
fn micro_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}
