//! Tells what is nearly full, overlaps or leaks: in the log when it changes; on Kubernetes by events of pool
//! and node, too.

use std::collections::BTreeSet;
use std::time::Duration;

use controllers::fullness::Notice;
use store::{AnyStore, Effects, StoreError, View};

/// What was told last.
#[derive(Debug, Default)]
pub struct Told {
    notices: BTreeSet<Notice>,
    #[cfg(feature = "kubernetes")]
    events: crate::events::Events,
}

impl Told {
    /// Tells what is new. `view` holds the pools; `identity` is the name of this process.
    ///
    /// # Errors
    /// The store's, of the first event that could not be written; it is tried again next time.
    pub async fn tell(
        &mut self,
        store: &AnyStore,
        view: &View,
        notices: Vec<Notice>,
        (effects, identity): (&impl Effects, &str),
        within: Duration,
    ) -> Result<(), StoreError> {
        let notices: BTreeSet<Notice> = notices.into_iter().collect();
        for notice in notices.difference(&self.notices) {
            tracing::warn!(reason = notice.reason.word(), "{}", notice.text);
        }
        let is_about = |notice: &Notice| (notice.subject.clone(), notice.reason);
        let left: BTreeSet<_> = notices.iter().map(is_about).collect();
        for notice in self.notices.iter().filter(|notice| !left.contains(&is_about(notice))) {
            tracing::info!(reason = notice.reason.word(), subject = ?notice.subject, "no longer");
        }
        self.notices = notices;
        #[cfg(feature = "kubernetes")]
        if let AnyStore::Kubernetes(store) = store {
            let group = store.group(within).await?;
            let mut by_object = kubernetes::by_object(group, view, &self.notices);
            // Of what is fine again, it is told that it is over.
            for object in self.events.open() {
                by_object.entry(object.clone()).or_default();
            }
            for (object, findings) in by_object {
                self.events.tell(store, (&object, identity), &findings, effects, within).await?;
            }
        }
        let _ = (store, view, effects, identity, within);
        Ok(())
    }
}

#[cfg(feature = "kubernetes")]
mod kubernetes {
    use std::collections::{BTreeMap, BTreeSet};

    use api::crd::Group;
    use api::{Key, Kind};
    use controllers::fullness::{Notice, Subject};
    use store::View;

    use crate::events::Object;
    use crate::node::finding::{Finding, Reason};

    /// The notices, as findings about pools and nodes.
    pub fn by_object(
        group: Group,
        view: &View,
        notices: &BTreeSet<Notice>,
    ) -> BTreeMap<Object, Vec<Finding>> {
        let mut by_object: BTreeMap<Object, Vec<Finding>> = BTreeMap::new();
        for notice in notices {
            let object = match (&notice.subject, &notice.node) {
                (Subject::Pool(name), _) => pool(group, view, name),
                (Subject::Rack(..), Some(node)) => Some(Object::node(node)),
                (Subject::Rack(..), None) => None,
            };
            let finding = Finding::new(Reason::new(notice.reason.word()), notice.text.clone());
            if let Some(object) = object {
                by_object.entry(object).or_default().push(finding);
            }
        }
        by_object
    }

    /// A pool that exists. In the group crd.projectcalico.org/v1 records have another UID than their objects.
    fn pool(group: Group, view: &View, name: &str) -> Option<Object> {
        let (pool, _) = view.resource(&Key::global(Kind::IPPool, name))??;
        Some(Object {
            api_version: group.api_version().to_string(),
            kind: "IPPool",
            name: name.to_string(),
            uid: pool.metadata().uid.clone().filter(|_| group == Group::V3),
        })
    }
}
