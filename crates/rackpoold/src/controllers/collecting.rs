//! The passes of the collection: what is due is confirmed, and given back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use api::{BlockCidr, HandleId, Key, Kind, Revision};
use controllers::collect::{Due, MOST};
use controllers::figures::{self, Counts, Place};
use controllers::sweep::{Sweep, Task, of_node};
use controllers::witness::Users;
use futures_util::{StreamExt, stream};
use ipam::plan::{HandleRelease, ReleaseByHandle};
use ipam::{ReleaseIp, ReleaseIps, run, run_from};
use store::{AnyStore, Batch, Depth, Effects, Expect, Page, ReadSet, Scope, Slot, Store, StoreError, View};

use super::cluster::Cluster;
use super::confirm::{Answers, ConfirmError, confirm, information, may_write};
use super::health::Health;
use super::lead::Leading;
use super::metrics::Metrics;
use super::work::Wishes;

/// How many requests are under way at once.
const SIDE_BY_SIDE: usize = 16;
/// How many handles a page has.
const PAGE: usize = 5_000;
/// How long a call to the store may take.
const WITHIN: Duration = Duration::from_secs(60);

/// Gives back what nobody uses.
#[derive(Debug)]
pub struct Collecting<E> {
    store: Arc<AnyStore>,
    effects: E,
    sweep: Sweep,
    /// How many addresses were given back since the process began.
    pub reclaimed: Counts,
    /// Whether this process still leads, where several could: it is asked before anything is written. (What a
    /// process writes that was paused just then is refused or harmless: handle and sequence number are
    /// compared.)
    pub leading: Option<Leading>,
    /// The figures, where there are any.
    pub metrics: Option<Metrics>,
    /// Is told of each step: to give much back takes longer than a pass may be silent.
    pub health: Option<Health>,
}

impl<E: Effects + Clone> Collecting<E> {
    /// Nothing was given back yet.
    pub fn new(store: Arc<AnyStore>, effects: E) -> Collecting<E> {
        Collecting {
            store,
            effects,
            sweep: Sweep::default(),
            reclaimed: Counts::new(),
            leading: None,
            metrics: None,
            health: None,
        }
    }

    /// Gives back what is due. Gives whether all of it could be done; what could not is due again.
    pub async fn collect(&mut self, cluster: &mut Cluster, wishes: Wishes) -> bool {
        let (at, grace) = (self.effects.elapsed(), wishes.grace);
        cluster.judge(at);
        if !wishes.collects {
            return true;
        }
        let is_done = self.collect_due(cluster, grace, at).await;
        if let Some(metrics) = &self.metrics {
            metrics.collections.observe((self.effects.elapsed().saturating_sub(at)).as_secs_f64());
        }
        is_done
    }

    async fn collect_due(&mut self, cluster: &mut Cluster, grace: Option<Duration>, at: Duration) -> bool {
        loop {
            self.beat();
            let due = cluster.collector.due(&cluster.view, &cluster.users, grace, at);
            let is_last = due.len() < MOST / 2;
            if !due.is_empty() && !self.give_back(cluster, due).await {
                return false;
            }
            if is_last {
                return true;
            }
        }
    }

    async fn give_back(&mut self, cluster: &mut Cluster, due: Vec<Due>) -> bool {
        let blocks = cluster.view.slots(&Scope::Blocks { family: None });
        let doubtful: Vec<BlockCidr> = blocks
            .filter_map(|(key, slot)| match (key, slot) {
                (Key::Block(block), Slot::Unreadable(_)) => Some(*block),
                _ => None,
            })
            .collect();
        let answer = confirm(&self.store, due, &cluster.users, &doubtful, WITHIN).await;
        let Answers { free, kept, view } = match answer {
            Ok(answers) => answers,
            Err(error @ ConfirmError::Locked) => {
                tracing::info!("addresses that leaked stay: {error}");
                return false;
            }
            Err(error) => {
                tracing::warn!("addresses that leaked stay: {error}");
                return false;
            }
        };
        let at = self.effects.elapsed();
        for (due, why) in &kept {
            if let Some(metrics) = &self.metrics {
                metrics.refusals.with_label_values(&[*why]).inc();
            }
            tracing::info!(address = %due.ip.addr, handle = due.handle(), "it was thought to have leaked, and is in use");
            cluster.collector.kept(due, at);
        }
        let nodes: BTreeSet<String> =
            free.iter().filter(|due| due.is_for_gone_node).map(|due| due.node().to_string()).collect();
        let is_done = self.release(cluster, free, view).await;
        for node in nodes {
            self.carry_out(Task::Node(of_node(node))).await;
        }
        is_done
    }

    /// Whether this process may write.
    fn leads(&self) -> bool {
        self.leading.as_ref().is_none_or(Leading::is_leader)
    }

    /// Shows that the work goes on.
    fn beat(&self) {
        self.health.iter().for_each(|health| health.beat(self.effects.elapsed()));
    }

    /// Whether the data are not locked. Asks the store.
    async fn may_write(&self) -> bool {
        let asked = self.store.read(&ReadSet::new().key(information()), WITHIN).await;
        let answer = asked.map_err(ConfirmError::from).and_then(|view| may_write(&view));
        match answer {
            Ok(()) => return true,
            Err(error @ ConfirmError::Locked) => tracing::info!("what is left over stays: {error}"),
            Err(error) => tracing::warn!("what is left over stays: {error}"),
        }
        false
    }

    /// Releases addresses, a request for each block. Gives whether all were released, or had been. Each
    /// begins with what `asked` has just read.
    async fn release(&mut self, cluster: &mut Cluster, free: Vec<Due>, mut asked: View) -> bool {
        // The watch has told the pools, which say how large blocks are: no request has to list them.
        let pools = Scope::kind(Kind::IPPool);
        let known = cluster.view.slots(&pools).map(|(key, slot)| (key.clone(), slot.clone()));
        known.for_each(|(key, slot)| asked.insert(key, slot));
        asked.complete(pools, Depth::Full);
        let mut by_block: BTreeMap<BlockCidr, Vec<ReleaseIp>> = BTreeMap::new();
        for due in &free {
            by_block.entry(due.block).or_default().push(due.ip.clone());
        }
        if !self.leads() {
            return false;
        }
        let (store, effects) = (&*self.store, &self.effects);
        let one = |ips: Vec<ReleaseIp>| {
            let (request, view) = (ReleaseIps::new(ips).each_alone(), asked.clone());
            async move { run_from(store, effects, request.planner(), view, WITHIN).await }
        };
        let mut answers = stream::iter(by_block.into_values().take_while(|_| self.leads()).map(one))
            .buffer_unordered(SIDE_BY_SIDE);
        let (mut released, mut is_done) = (BTreeSet::new(), true);
        while let Some(answer) = answers.next().await {
            self.beat();
            match answer {
                Ok(answer) => {
                    released.extend(answer.released);
                    if let Some(error) = answer.error {
                        tracing::warn!("addresses that leaked stay: {error}");
                        is_done = false;
                    }
                }
                Err(error) => {
                    tracing::warn!("addresses that leaked stay: {error}");
                    is_done = false;
                }
            }
        }
        drop(answers);
        let (at, pools) = (self.effects.elapsed(), figures::pools(&cluster.view));
        for due in &free {
            if is_done {
                // The watch tells soon that it is gone.
                cluster.collector.kept(due, at);
            }
            if released.contains(&due.ip.addr) {
                let pool = figures::pool_of(&pools, due.block).to_string();
                let node = due.node().to_string();
                tracing::info!(
                    address = %due.ip.addr,
                    handle = due.handle(),
                    node,
                    namespace = due.attribute.owner.get("namespace"),
                    pod = due.attribute.owner.get("pod"),
                    "released an address that leaked: {}",
                    due.why
                );
                *self.reclaimed.entry(Place { pool, node }).or_default() += 1;
            }
        }
        is_done
    }

    /// Does what else is left over.
    pub async fn sweep(&mut self, cluster: &mut Cluster, wishes: Wishes) {
        if !wishes.collects || !self.may_write().await {
            return;
        }
        let (grace, patience) = (wishes.grace, wishes.patience());
        let (at, now) = (self.effects.elapsed(), self.effects.now());
        cluster.collector.all_changed(&cluster.view);
        let mut tasks = self.sweep.look(&cluster.view, grace, patience, at, now);
        if let Users::Endpoints(endpoints) = &cluster.users {
            tasks.extend(self.sweep.look_at_endpoints(endpoints.nodes(), &cluster.view, patience, at));
        }
        for task in tasks {
            self.carry_out(task).await;
        }
    }

    /// Looks for handles without addresses, and for what a crash left flagged for deletion.
    pub async fn sweep_handles(&mut self, cluster: &Cluster, patience: Duration) {
        if !self.leads() || !self.may_write().await {
            return;
        }
        #[cfg(feature = "kubernetes")]
        if let AnyStore::Kubernetes(store) = &*self.store {
            match store.bury(WITHIN).await {
                Ok(0) => {}
                Ok(count) => tracing::info!(count, "removed objects whose deletion had been interrupted"),
                Err(error) => tracing::warn!("objects whose deletion was interrupted stay: {error}"),
            }
        }
        let handles = match self.handles().await {
            Ok(handles) => handles,
            Err(error) => return tracing::warn!("handles without addresses stay: {error}"),
        };
        let at = self.effects.elapsed();
        let bare = self.sweep.look_at_handles(handles, &cluster.view, patience, at);
        let (store, effects) = (&*self.store, &self.effects);
        let one = |id: HandleId| async move {
            // The view may be old: an address that the handle holds after all stays, and is counted.
            let release = ReleaseByHandle::new(Vec::new(), None).only(id.clone(), []);
            (id, run(store, effects, release.planner(), WITHIN).await)
        };
        let mut answers = stream::iter(bare.into_iter().map(one)).buffer_unordered(SIDE_BY_SIDE);
        while let Some((id, answer)) = answers.next().await {
            self.beat();
            let handle = id.as_str();
            match answer.as_deref() {
                Ok([HandleRelease::Released(_)]) => {
                    tracing::info!(handle, "removed a handle without addresses")
                }
                Ok([HandleRelease::Partly(_, error)]) => {
                    tracing::warn!(handle, "a handle without addresses stays: {error}");
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(handle, "a handle without addresses stays: {error}"),
            }
        }
    }

    async fn handles(&self) -> Result<Vec<(HandleId, Revision)>, StoreError> {
        let (mut handles, mut after) = (Vec::new(), None);
        loop {
            let page = Page { after, limit: PAGE };
            let set = ReadSet::new().page(Scope::Handles, Depth::Key, page);
            let view = self.store.read(&set, WITHIN).await?;
            self.beat();
            handles.extend(view.slots(&Scope::Handles).filter_map(|(key, slot)| match key {
                Key::Handle(id) => Some((id.clone(), slot.revision()?.clone())),
                _ => None,
            }));
            match view.page_end(&Scope::Handles) {
                Some(last) => after = Some(last.clone()),
                None => return Ok(handles),
            }
        }
    }

    async fn carry_out(&self, task: Task) {
        self.beat();
        if !self.leads() {
            return;
        }
        let (store, effects) = (&*self.store, &self.effects);
        let failed = |error: &dyn std::fmt::Display| tracing::warn!("what is left over stays: {error}");
        match task {
            Task::Cooldowns(request) => match run(store, effects, request.planner(), WITHIN).await {
                Ok(done) => {
                    if !done.freed.is_empty() || !done.deleted.is_empty() {
                        tracing::info!(freed = ?done.freed, deleted = ?done.deleted, "ended cooldowns");
                    }
                }
                Err(error) => failed(&error),
            },
            Task::Idle(request) => {
                let node = request.host.clone();
                match run(store, effects, request.planner(), WITHIN).await {
                    Ok(done) if done.released.is_empty() => {}
                    Ok(done) => tracing::info!(node, blocks = ?done.released, "gave back idle blocks"),
                    Err(error) => failed(&error),
                }
            }
            Task::Affinity(request) | Task::Node(request) => {
                let which = format!("{:?}", request.which);
                match run(store, effects, request.planner(), WITHIN).await {
                    Ok(done) if done.released.is_empty() => {}
                    Ok(done) => tracing::info!(which, blocks = ?done.released, "gave back affinities"),
                    Err(error) => failed(&error),
                }
            }
            Task::Endpoints(node) => {
                if let Err(error) = self.delete_endpoints(&node).await {
                    failed(&error);
                }
            }
        }
    }

    /// Deletes the WorkloadEndpoints of a node, if it is still gone.
    async fn delete_endpoints(&self, node: &str) -> Result<(), StoreError> {
        let scope = Scope::kind(Kind::WorkloadEndpoint);
        let is_there = Key::global(Kind::Node, node);
        let set = ReadSet::new().key(is_there.clone()).scope(scope.clone(), Depth::Full);
        let view = self.store.read(&set, WITHIN).await?;
        if controllers::collect::is_node_there(&view, node) {
            return Ok(());
        }
        for (endpoint, revision) in view.resources(Kind::WorkloadEndpoint) {
            let orchestrator = endpoint.text(&["spec", "orchestrator"]);
            if endpoint.text(&["spec", "node"]) != Some(node) || !matches!(orchestrator, Some("cni" | "k8s"))
            {
                continue;
            }
            let mut batch = Batch::new();
            batch.delete(endpoint.key(), Expect::Revision(revision.clone()));
            if self.store.commit(&batch, WITHIN).await?.is_applied() {
                tracing::info!(
                    node,
                    endpoint = endpoint.name(),
                    "deleted an endpoint of a node that is gone"
                );
            }
        }
        Ok(())
    }
}
