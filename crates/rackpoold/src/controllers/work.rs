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
/// How often handles are listed, and how long one must have stood without an address.
const HANDLES: Duration = Duration::from_secs(30 * 60);
/// How soon after the beginning handles are listed for the first time.
const FIRST_HANDLES: Duration = Duration::from_secs(60);
/// How long something that is certainly wrong must have been so, where there is no grace period.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// How long a pass waits for nothing at most: so often the process shows that it lives.
const LONGEST: Duration = Duration::from_secs(20);

/// What is asked of the work. It may change between two passes.
#[derive(Clone, Copy, Debug)]
pub struct Wishes {
    /// Whether anything is given back.
    pub collects: bool,
    /// How long an address of a living node must have had no owner; `None` where such addresses stay.
    pub grace: Option<Duration>,
    /// How often everything is looked at, at the least.
    pub period: Duration,
}

impl Wishes {
    /// How often everything is looked at: so that what leaked is seen twice within its grace.
    fn period(&self) -> Duration {
        let seldom = self.period.max(Duration::from_secs(1));
        self.grace.map_or(seldom, |grace| (grace / 2).clamp(Duration::from_secs(1), seldom))
    }

    /// How long something that is certainly wrong must have been so.
    pub fn patience(&self) -> Duration {
        self.grace.unwrap_or(PATIENCE)
    }
}

/// Works until `stop` is ready. `wishes` is asked at each pass. `passed` is called after each, and gives when
/// it is to be called again at the latest.
pub async fn work<E: Effects + Clone>(
    store: &Arc<AnyStore>,
    effects: &E,
    collecting: &mut Collecting<E>,
    wishes: impl Fn() -> Wishes,
    stop: impl Future<Output = ()>,
    mut passed: impl AsyncFnMut(&Cluster, &Collecting<E>) -> Duration,
) {
    let mut cluster = Cluster::new(store);
    let mut feed = Feed::begin(store, cluster.scopes());
    let begun = effects.elapsed();
    let mut times = Times {
        swept: begun,
        handles: begun + FIRST_HANDLES,
        retry: None,
        pause: SOONEST,
        looked: begun,
        called: begun,
    };
    tokio::pin!(stop);
    loop {
        let next = times.next(&cluster, wishes());
        let wait = next.saturating_sub(effects.elapsed()).min(LONGEST);
        tokio::select! {
            () = &mut stop => return,
            told = feed.next() => {
                cluster.take(told);
                effects.sleep(GATHER).await;
                while let Some(told) = feed.ready() {
                    cluster.take(told);
                }
            }
            () = effects.sleep(wait) => {}
        }
        if cluster.is_complete() {
            times.pass(effects, collecting, &mut cluster, wishes()).await;
            times.called = passed(&cluster, collecting).await;
        }
    }
}

/// When something is to be done.
struct Times {
    /// When everything was looked at.
    swept: Duration,
    /// When handles are to be listed.
    handles: Duration,
    /// When what failed is to be tried again, and how long to wait after that.
    retry: Option<Duration>,
    pause: Duration,
    /// Up to which moment what was due has been looked at.
    looked: Duration,
    /// When the caller wants to be called again.
    called: Duration,
}

impl Times {
    fn next(&self, cluster: &Cluster, wishes: Wishes) -> Duration {
        let due = self.due(cluster, wishes).into_iter().chain(self.retry).filter(|_| wishes.collects);
        let others = [self.swept + wishes.period(), self.handles, self.called.max(self.looked + SOONEST)];
        others.into_iter().chain(due).min().unwrap_or_default()
    }

    /// When something is due that was not due yet when it was last looked. What failed then does not keep it
    /// waiting.
    fn due(&self, cluster: &Cluster, wishes: Wishes) -> Option<Duration> {
        cluster.collector.next_due(wishes.grace, self.looked)
    }

    /// Whether something has become due since it was last looked.
    fn is_due(&self, cluster: &mut Cluster, wishes: Wishes, now: Duration) -> bool {
        cluster.judge(now);
        self.due(cluster, wishes).is_some_and(|at| at <= now)
    }

    async fn pass<E: Effects + Clone>(
        &mut self,
        effects: &E,
        collecting: &mut Collecting<E>,
        cluster: &mut Cluster,
        wishes: Wishes,
    ) {
        let now = effects.elapsed();
        if self.swept + wishes.period() <= now {
            collecting.sweep(cluster, wishes).await;
            self.swept = effects.elapsed();
        }
        if self.retry.is_none_or(|at| at <= now) || self.is_due(cluster, wishes, now) {
            self.looked = effects.elapsed();
            match collecting.collect(cluster, wishes).await {
                true => (self.retry, self.pause) = (None, SOONEST),
                false => {
                    self.retry = Some(effects.elapsed() + self.pause);
                    self.pause = (self.pause * 2).min(LATEST);
                }
            }
        }
        if self.handles <= now {
            if wishes.collects {
                collecting.sweep_handles(cluster, wishes.patience().max(HANDLES)).await;
            }
            self.handles = effects.elapsed() + HANDLES;
        }
    }
}
