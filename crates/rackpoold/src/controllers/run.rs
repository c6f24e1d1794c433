//! The process's work: it stands by until it leads, and works as long as it does.

use std::time::Duration;

use api::{Attribute, BlockCidr};
use controllers::collect::is_node_there;
use controllers::figures::{self, Counts, Place, UNKNOWN_NODE};
use controllers::judge::node_of;
use store::{Effects, StoreError};

use super::cluster::Cluster;
use super::collecting::Collecting;
use super::report::{Counted, Report};
use super::work::{Wishes, work as work_until};
use super::{Failure, Frame};

/// How often the process shows that it lives.
const BEAT: Duration = Duration::from_secs(20);
/// How soon a leader notices that it leads no more. It asks before it writes, too.
const GLANCE: Duration = Duration::from_secs(1);
/// How long an address must have been without an owner to be called lost.
const LOST: Duration = Duration::from_secs(60 * 60);
/// How often figures are made at most, and how many times what it costs to make them lies between.
const FIGURES: (Duration, u32) = (Duration::from_secs(1), 20);

/// Works until the process is told to end.
pub(super) async fn work(frame: &mut Frame) -> Result<(), Failure> {
    let mut reclaimed = Counts::new();
    // A process that stands by is ready to take over.
    frame.health.is_ready_now();
    while !*frame.stop.borrow() {
        let is_leader = frame.lead.is_leader();
        frame.metrics.leader.set(i64::from(is_leader));
        frame.health.beat(frame.effects.elapsed());
        if is_leader {
            tracing::info!("this process leads, and works");
            lead(frame, &mut reclaimed).await;
            continue;
        }
        let mut stop = frame.stop.clone();
        tokio::select! {
            _ = stop.changed() => {}
            _ = frame.lead.changed() => {}
            () = tokio::time::sleep(BEAT) => {}
        }
    }
    Ok(())
}

/// Works as the leader. Everything is listed anew: what was known before may be old.
async fn lead(frame: &Frame, reclaimed: &mut Counts) {
    let leading = frame.lead.leading();
    let mut collecting = Collecting::new(frame.store.clone(), frame.effects.clone());
    collecting.leading = Some(leading.clone());
    collecting.metrics = Some(frame.metrics.clone());
    collecting.health = Some(frame.health.clone());
    collecting.reclaimed = std::mem::take(reclaimed);
    let wishes = || {
        let settings = frame.settings.borrow();
        Wishes { collects: settings.collects, grace: settings.leak_grace, period: settings.reconciler_period }
    };
    let mut stop = frame.stop.clone();
    let ends = async {
        loop {
            tokio::select! {
                _ = stop.changed() => return,
                () = tokio::time::sleep(GLANCE) => if !leading.is_leader() {
                    return tracing::warn!("this process leads no more");
                }
            }
        }
    };
    let (mut report, mut next) = (Report::default(), Duration::ZERO);
    let passed = async |cluster: &Cluster, collecting: &Collecting<_>| {
        let begun = frame.effects.elapsed();
        frame.health.beat(begun);
        #[cfg(feature = "kubernetes")]
        if let store::AnyStore::Kubernetes(store) = &*frame.store {
            let (leading, effects) = (&leading, &frame.effects);
            let keeper = super::pools::Keeper { store, leading, effects, within: super::WITHIN };
            if let Err(error) = keeper.pass(&cluster.view).await {
                tracing::warn!("pools are not looked after: {error}");
            }
        }
        let begun = frame.effects.elapsed();
        if begun >= next {
            if let Err(error) = told(&mut report, frame, cluster, &collecting.reclaimed).await {
                tracing::warn!("what is amiss cannot be told as events: {error}");
            }
            let ended = frame.effects.elapsed();
            next = ended + FIGURES.0.max((ended - begun) * FIGURES.1);
        }
        next
    };
    let work = work_until(&frame.store, &frame.effects, &mut collecting, wishes, ends, passed);
    // Ends with the work alone.
    let beside = async {
        #[cfg(feature = "kubernetes")]
        if let Some(kubernetes) = &frame.kubernetes {
            let (store, effects, leading) = (&*frame.store, &frame.effects, &leading);
            super::orphans::Orphans { store, kubernetes, effects, leading }.follow().await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = work => {}
        () = beside => {}
    }
    Report::end(frame);
    *reclaimed = collecting.reclaimed;
}

/// Tells how things are.
async fn told(
    report: &mut Report,
    frame: &Frame,
    cluster: &Cluster,
    reclaimed: &Counts,
) -> Result<(), StoreError> {
    let pools = figures::pools(&cluster.view);
    let count = |found: &mut dyn Iterator<Item = (BlockCidr, &Attribute)>| {
        let mut counts = Counts::new();
        for (block, attribute) in found {
            let node = node_of(attribute).unwrap_or(UNKNOWN_NODE).to_string();
            let pool = figures::pool_of(&pools, block).to_string();
            *counts.entry(Place { pool, node }).or_default() += 1;
        }
        counts
    };
    let candidates = count(&mut cluster.collector.candidates());
    let lost = count(&mut cluster.collector.lost(LOST, frame.effects.elapsed()));
    // Calico's forget what they gave back of a node with the node.
    let is_there = |place: &Place| place.node == UNKNOWN_NODE || is_node_there(&cluster.view, &place.node);
    let reclamations = reclaimed.iter().filter(|(place, _)| is_there(place));
    let reclamations = reclamations.map(|(place, count)| (place.clone(), *count)).collect();
    let counted = Counted { candidates: &candidates, reclamations: &reclamations, lost: &lost };
    report.pass(frame, &cluster.view, counted).await
}
