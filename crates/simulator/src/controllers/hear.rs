//! What a leader hears: watches that lag behind, tell things again, and begin anew.

use std::collections::BTreeMap;

use api::Revision;
use controllers::witness::Users;
use store::{Depth, Event, ReadSet, Scope, Slot};

use super::Controllers;
use crate::give_way;
use crate::log::NOBODY;
use crate::world::World;

/// Up to where a leader has heard.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// By scope, the number of changes.
    records: BTreeMap<Scope, i64>,
    /// The number of changes of pods; `None` before they were told in full.
    pods: Option<usize>,
}

impl Controllers {
    /// Takes what watches tell. At the end, when nobody else acts, they tell everything.
    pub(super) async fn hear(&mut self, world: &World) {
        let is_calm = world.caller.who == NOBODY;
        for scope in controllers::scopes() {
            give_way().await;
            let is_first = !self.heard.records.contains_key(&scope);
            if is_first || world.caller.in_thousand(100) {
                self.begin(world, scope);
                continue;
            }
            let heard = self.heard.records.get(&scope).copied().unwrap_or_default();
            // A watch may tell again what it has told.
            let again = if world.caller.in_thousand(100) { heard - 3 } else { heard };
            let changes = world.caller.cluster.changes(&scope, again);
            let most = match is_calm || changes.is_empty() || world.caller.in_thousand(500) {
                true => changes.len(),
                false => world.caller.below(changes.len() as u64) as usize,
            };
            let mut last = heard;
            for (at, event) in changes.iter().take(most) {
                self.take(&scope, event);
                last = last.max(*at);
            }
            self.heard.records.insert(scope, last);
        }
        self.hear_pods(world, is_calm);
    }

    /// The connection was lost, or there was none yet: the watch begins with the present state.
    fn begin(&mut self, world: &World, scope: Scope) {
        let cluster = &world.caller.cluster;
        let revision = cluster.revision();
        let view = cluster.read(&ReadSet::new().scope(scope.clone(), Depth::Full));
        self.take(&scope, &Event::Init);
        for (_, slot) in view.slots(&scope) {
            if let Slot::Full(record) = slot {
                self.take(&scope, &Event::InitApply(record.clone()));
            }
        }
        self.take(&scope, &Event::InitDone(Revision::from(revision)));
        self.heard.records.insert(scope, revision);
        self.collector.all_changed(&self.view);
    }

    fn take(&mut self, scope: &Scope, event: &Event) {
        self.view.fold(scope, event);
        self.collector.take(event);
    }

    fn hear_pods(&mut self, world: &World, is_calm: bool) {
        let book = world.book();
        let Users::Pods(known) = &mut self.users else { return };
        let Some(heard) = self.heard.pods else {
            known.extend(book.pods.all().map(|(key, pod)| (key.clone(), pod.clone())));
            self.heard.pods = Some(book.pods.changes(0).1);
            return self.collector.all_changed(&self.view);
        };
        let (changes, all) = book.pods.changes(heard);
        // A watch that lags tells fewer changes; what it tells of a pod may be newer than the change.
        let most = match is_calm || changes.is_empty() || world.caller.in_thousand(500) {
            true => changes.len(),
            false => world.caller.below(changes.len() as u64) as usize,
        };
        for key in &changes[..most] {
            match book.pods.get(key) {
                Some(pod) => known.insert(key.clone(), pod.clone()),
                None => known.remove(key),
            };
            self.collector.pod_changed(key);
        }
        self.heard.pods = Some(all - (changes.len() - most));
    }
}
