//! What the agent tells of its findings: in the log when they change; on Kubernetes by conditions and events
//! of the Node.

use store::{Effects, StoreError};

use super::finding::Finding;
use super::record::NodeRecord;

/// What was told last.
#[derive(Debug, Default)]
pub struct Told {
    findings: Vec<Finding>,
    #[cfg(feature = "kubernetes")]
    events: crate::events::Events,
}

impl Told {
    /// Tells what is new. `is_synced` is whether pods may come.
    ///
    /// # Errors
    /// The store's. Calling again is safe.
    pub async fn tell<E: Effects>(
        &mut self,
        record: &NodeRecord<'_, E>,
        is_synced: bool,
        findings: &[Finding],
    ) -> Result<(), StoreError> {
        let mut findings = findings.to_vec();
        findings.sort();
        findings.dedup();
        for finding in findings.iter().filter(|finding| !self.findings.contains(finding)) {
            tracing::warn!(reason = finding.reason.word(), "{}", finding.text);
        }
        for finding in self.findings.iter().filter(|finding| !findings.contains(finding)) {
            tracing::info!(reason = finding.reason.word(), "no longer: {}", finding.text);
        }
        self.findings.clone_from(&findings);
        #[cfg(feature = "kubernetes")]
        if let store::AnyStore::Kubernetes(store) = record.store {
            use super::condition::{Condition, publish};
            let up = is_synced.then(Condition::network_is_up);
            let conditions: Vec<Condition> = up.into_iter().chain([Condition::problem(&findings)]).collect();
            let now = record.effects.now();
            publish(store, record.name, &conditions, now, record.within).await?;
            let about = crate::events::Object::node(record.name);
            self.events.tell(store, (&about, record.name), &findings, record.effects, record.within).await?;
        }
        #[cfg(not(feature = "kubernetes"))]
        let _ = (record, is_synced);
        Ok(())
    }
}
