//! The process's work: it stands by until it leads, and works as long as it does.

use std::time::Duration;

use api::{Cidr, Kind};
use controllers::figures::{Counts, Facts, Figures, MOST_OF_NODES, NO_POOL, Place, UNKNOWN_NODE, figures};
use controllers::judge::node_of;
use routes::{Known, Snapshot};
use store::{Effects, View};

use super::cluster::Cluster;
use super::collecting::Collecting;
use super::work::{Wishes, work as pass_until};
use super::{Failure, Frame};

/// How often the process shows that it lives.
const BEAT: Duration = Duration::from_secs(20);
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
async fn lead(frame: &mut Frame, reclaimed: &mut Counts) {
    let Frame { store, settings, effects, metrics, health, .. } = &*frame;
    let (store, effects, metrics, health) = (store.clone(), effects.clone(), metrics.clone(), health.clone());
    let (settings, mut stop, leading) = (settings.clone(), frame.stop.clone(), frame.lead.leading());
    let mut collecting = Collecting::new(store.clone(), effects.clone());
    collecting.leading = Some(leading.clone());
    collecting.reclaimed = std::mem::take(reclaimed);
    let wishes = || {
        let settings = settings.borrow();
        Wishes { collects: settings.collects, grace: settings.leak_grace, period: settings.reconciler_period }
    };
    let ends = async {
        loop {
            tokio::select! {
                _ = stop.changed() => return,
                is_leader = frame.lead.changed() => if !is_leader {
                    tracing::warn!("this process leads no more");
                    return;
                }
            }
        }
    };
    let mut next_figures = Duration::ZERO;
    let passed = async |cluster: &Cluster, collecting: &Collecting<_>| {
        let at = effects.elapsed();
        health.beat(at);
        #[cfg(feature = "kubernetes")]
        if let store::AnyStore::Kubernetes(kube) = &*store {
            let keeper = super::pools::Keeper {
                store: kube,
                leading: &leading,
                effects: &effects,
                within: super::WITHIN,
            };
            if let Err(error) = keeper.pass(&cluster.view).await {
                tracing::warn!("pools are not looked after: {error}");
            }
        }
        let at = effects.elapsed();
        if at >= next_figures {
            let Figures { families, left_out } = told(cluster, &collecting.reclaimed);
            metrics.show(families);
            if left_out > 0 {
                tracing::debug!(left_out, "there are too many series that name a node");
            }
            let cost = effects.elapsed().saturating_sub(at);
            next_figures = effects.elapsed() + FIGURES.0.max(cost * FIGURES.1);
        }
        next_figures
    };
    pass_until(&store, &effects, &mut collecting, wishes, ends, passed).await;
    *reclaimed = collecting.reclaimed;
}

/// The figures of what is known.
fn told(cluster: &Cluster, reclamations: &Counts) -> Figures {
    let mut candidates = Counts::new();
    for (block, attribute) in cluster.collector.candidates() {
        let node = node_of(attribute).unwrap_or(UNKNOWN_NODE).to_string();
        let pool = pool_of(&cluster.view, &block.cidr());
        *candidates.entry(Place { pool, node }).or_default() += 1;
    }
    let mut pools = Snapshot::new(Known::ByBlocks);
    for (_, slot) in cluster.view.slots(&store::Scope::kind(Kind::IPPool)) {
        slot.record().into_iter().for_each(|record| {
            pools.take(record);
        });
    }
    let rack_label = routes::rack::label(&pools).ok().flatten();
    figures(Facts {
        view: &cluster.view,
        candidates: &candidates,
        reclamations,
        rack_label: rack_label.as_deref(),
        most_of_nodes: MOST_OF_NODES,
    })
}

/// The name of the pool in which a network begins.
pub(super) fn pool_of(view: &View, network: &Cidr) -> String {
    let holds = |text: &str| Cidr::parse_unmasked(text).is_ok_and(|(cidr, _)| cidr.contains(network.first()));
    let mut pools = view.resources(Kind::IPPool).map(|(pool, _)| pool);
    let pool = pools.find(|pool| pool.text(&["spec", "cidr"]).is_some_and(holds));
    pool.map_or(NO_POOL, |pool| pool.name()).to_string()
}
