//! The work of the leader: it listens, and passes over what is due.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use store::{AnyStore, Effects};

use super::cluster::Cluster;
use super::collecting::Collecting;
use super::feed::Feed;

/// How long to wait for more changes after one, so that a burst is one pass.
const GATHER: Duration = Duration::from_millis(100);
/// How soon what failed is tried again; doubled each time up to [`LATEST`].
const SOONEST: Duration = Duration::from_secs(1);
/// How late what failed is tried again.
const LATEST: Duration = Duration::from_secs(30);
/// How often everything is looked at, at the least.
const SELDOM: Duration = Duration::from_secs(5 * 60);
/// How often handles are listed, and how long one must have stood without an address.
const HANDLES: Duration = Duration::from_secs(30 * 60);
/// How soon after the beginning handles are listed for the first time.
const FIRST_HANDLES: Duration = Duration::from_secs(60);
/// How long something that is certainly wrong must have been so, where there is no grace period.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// How often everything is looked at: so that what leaked is seen twice within its grace.
fn period(grace: Option<Duration>) -> Duration {
    grace.map_or(SELDOM, |grace| (grace / 2).clamp(Duration::from_secs(1), SELDOM))
}

/// Works until `stop` is ready. `grace` is asked for at each pass.
pub async fn work<E: Effects + Clone>(
    store: &Arc<AnyStore>,
    effects: &E,
    collecting: &mut Collecting<E>,
    grace: impl Fn() -> Option<Duration>,
    stop: impl Future<Output = ()>,
    mut passed: impl FnMut(&Cluster, &Collecting<E>),
) {
    let mut cluster = Cluster::new(store);
    let mut feed = Feed::begin(store, cluster.scopes());
    let begun = effects.elapsed();
    let (mut last_sweep, mut next_handles) = (begun, begun + FIRST_HANDLES);
    let (mut retry, mut pause) = (None, SOONEST);
    // Up to which moment what was due has been looked at.
    let mut looked = begun;
    tokio::pin!(stop);
    loop {
        let grace_now = grace();
        let sweep = last_sweep + period(grace_now);
        let next = [retry.or(cluster.collector.next_due(grace_now, looked)), Some(sweep), Some(next_handles)];
        let next = next.into_iter().flatten().min().unwrap_or(sweep);
        let wait = next.saturating_sub(effects.elapsed());
        tokio::select! {
            () = &mut stop => return,
            told = feed.next() => {
                cluster.take(told);
                effects.sleep(GATHER).await;
                while let Some(told) = feed.ready() {
                    cluster.take(told);
                }
            }
            () = effects.sleep(wait), if cluster.is_complete() => {}
        }
        if !cluster.is_complete() {
            continue;
        }
        let now = effects.elapsed();
        if sweep <= now {
            collecting.sweep(&mut cluster, grace_now, grace_now.unwrap_or(PATIENCE)).await;
            last_sweep = effects.elapsed();
        }
        if retry.is_none_or(|at| at <= now) {
            looked = effects.elapsed();
            match collecting.collect(&mut cluster, grace_now).await {
                true => (retry, pause) = (None, SOONEST),
                false => {
                    retry = Some(effects.elapsed() + pause);
                    pause = (pause * 2).min(LATEST);
                }
            }
        }
        if next_handles <= now {
            collecting.sweep_handles(&cluster, grace_now.unwrap_or(PATIENCE).max(HANDLES)).await;
            next_handles = effects.elapsed() + HANDLES;
        }
        passed(&cluster, collecting);
    }
}
