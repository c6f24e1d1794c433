//! The agent's loop: it listens to the store and to the kernel, and sees to it that what is there is what is
//! wanted. Nothing is asked for again and again: a change is told, and only what failed is tried again.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use api::Key;
use filter::kube_proxy::KubeProxy;
use filter::{Connections, Exclusions, Nft, Rules, Settings};
use host::{Changes, HostError, Kernel};
use ipnet::IpNet;
use routes::{Known, List};
use store::strangers::{StrangerKind, Strangers};
use store::{AnyStore, Effects, ReadSet, Store, StoreError};

use super::detect::Both;
use super::feed::Feed;
use super::files::Files;
use super::finding::Finding;
use super::introduce::Wishes;
use super::plain_host::PlainHost;
use super::plan::Shape;
use super::record::NodeRecord;
use super::token_file::{self, TokenFile};
use super::told::Told;
use super::tunnels::Tunnels;
use super::world::{World, known_by};

/// How long to wait for more changes after one, so that a burst is one pass.
const GATHER: Duration = Duration::from_millis(10);
/// How soon what failed is tried again; doubled each time up to [`LATEST`].
const SOONEST: Duration = Duration::from_secs(1);
/// How late what failed is tried again.
const LATEST: Duration = Duration::from_secs(30);
/// How often it is asked how packets are translated, of which no watch tells.
const CONFIGURATION: Duration = Duration::from_secs(60);
/// How often it is looked whether the node still has the addresses of its tunnels: somebody may have released
/// one by hand.
const TUNNELS: Duration = Duration::from_secs(5 * 60);

/// What an agent is told at its start.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the records do not say about racks and routers.
    pub shape: Shape,
    /// What the Node is to say, and how its addresses are found.
    pub wishes: Wishes,
}

/// Why the agent stopped.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The kernel cannot be listened to.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Changes of the packet filter cannot be listened to.
    #[error("cannot listen to changes of the packet filter: {0}; the capability NET_ADMIN is needed")]
    Filter(std::io::Error),
}

/// What has to be looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// The host's interfaces and addresses.
    pub(super) addresses: bool,
    /// Routes and tunnels.
    pub(super) routes: bool,
    /// Whether the table in the packet filter is still ours.
    pub(super) table: bool,
    /// The chains of others in the packet filter.
    pub(super) chains: bool,
    /// The pods of this host.
    pub(super) pods: bool,
}

impl Due {
    pub(super) const ALL: Due = Due { addresses: true, routes: true, table: true, chains: true, pods: true };

    fn is_nothing(self) -> bool {
        self == Due::default()
    }

    /// Whether anything is due but to look at pods: they come and go, and change no route of ours.
    pub(super) fn is_more_than_pods(self) -> bool {
        Due { pods: false, ..self } != Due::default()
    }
}

/// The agent of a node.
pub struct Agent<'a, E> {
    pub(super) record: NodeRecord<'a, E>,
    pub(super) options: Options,
    pub(super) settings: Settings,
    pub(super) kernel: Kernel,
    pub(super) nft: Nft,
    pub(super) world: World,
    pub(super) known: Known,
    /// Whether the records have just been listed.
    pub(super) list: List,
    pub(super) tunnels: Tunnels,
    pub(super) addresses: Both<Option<IpNet>>,
    /// Whether the Node has said all that it is to say.
    pub(super) is_known: bool,
    /// What is amiss about the node's addresses.
    pub(super) about_addresses: Vec<Finding>,
    pub(super) rules: Option<Rules>,
    /// What drops packets of pods in chains of others.
    pub(super) dropping: Vec<Finding>,
    pub(super) pods: BTreeSet<IpAddr>,
    /// Those that the records have elsewhere: their routes are left to the pods.
    pub(super) left_to_pods: BTreeSet<IpAddr>,
    pub(super) connections: Option<Connections>,
    pub(super) told: Told,
    pub(super) files: Files<'a>,
    pub(super) plain: PlainHost,
    /// The kube-proxies of this host.
    pub(super) proxies: Vec<KubeProxy>,
    /// Whether all was as it must be once.
    pub(super) is_synced: bool,
    /// What was found before the loop began, and stays.
    pub(super) standing: Vec<Finding>,
    store: Arc<AnyStore>,
}

impl<'a, E: Effects> Agent<'a, E> {
    /// An agent that has not begun. `standing` are findings that stay.
    ///
    /// # Errors
    /// Where the kernel cannot be asked.
    pub fn new(
        store: &Arc<AnyStore>,
        record: NodeRecord<'a, E>,
        options: Options,
        files: Files<'a>,
        standing: Vec<Finding>,
    ) -> Result<Agent<'a, E>, AgentError> {
        let connections = Connections::open();
        if let Err(error) = &connections {
            tracing::warn!(
                "{error}: connections of pods that are gone are kept until they end by themselves"
            );
        }
        Ok(Agent {
            world: World::new(record.name, Known::ByBlocks),
            record,
            options,
            settings: Settings::default(),
            kernel: Kernel::open()?,
            nft: Nft::default(),
            known: Known::ByBlocks,
            list: List::Kept,
            tunnels: Tunnels::default(),
            addresses: Both::default(),
            is_known: false,
            about_addresses: Vec::new(),
            rules: None,
            dropping: Vec::new(),
            pods: BTreeSet::new(),
            left_to_pods: BTreeSet::new(),
            connections: connections.ok(),
            told: Told::default(),
            files,
            plain: PlainHost::default(),
            proxies: Vec::new(),
            is_synced: false,
            standing,
            store: store.clone(),
        })
    }

    /// Works until `stop` ends. What is in the kernel stays there.
    ///
    /// # Errors
    /// See [`AgentError`]. Everything else that fails is tried again.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result<(), AgentError> {
        let mut changes = Changes::subscribe()?.without(&self.kernel);
        let mut filter = filter::Changes::open().map_err(AgentError::Filter)?;
        self.known = self.ask_known().await.unwrap_or(Known::ByBlocks);
        self.ask_settings().await;
        let mut feed = self.follow_anew();
        let mut stop = std::pin::pin!(stop);
        let mut due = Due::ALL;
        let mut pause = SOONEST;
        let mut again: Option<Duration> = None;
        let mut ask = self.record.effects.elapsed() + CONFIGURATION;
        let mut token = TokenFile::of_store(&self.store);
        let mut look = self.record.effects.elapsed() + TUNNELS;
        let mut room: Option<Duration> = None;
        loop {
            let now = self.record.effects.elapsed();
            let next = [again, self.files.due(), self.plain.due, room, Some(look)].into_iter().flatten();
            let next = next.fold(ask, Duration::min);
            let next = next.saturating_sub(now);
            tokio::select! {
                () = &mut stop => return Ok(()),
                (scope, event) = feed.next() => due.routes |= self.world.take(&scope, event),
                changed = changes.next() => {
                    due.addresses |= changed.interfaces || changed.default_route || changed.is_incomplete;
                    due.routes |= changed.may_matter_to_routes();
                    due.pods |= changed.pods || changed.is_incomplete;
                }
                touched = filter.next() => match touched {
                    Ok(touched) => {
                        due.table |= touched.is_ours;
                        due.chains |= touched.is_beside;
                    }
                    Err(error) => return Err(AgentError::Filter(error)),
                },
                () = token_file::touched(&mut token) => {
                    if token.as_mut().is_some_and(TokenFile::is_new) {
                        tracing::info!("the agent has a new token, so the plugins get a new one, too");
                        self.files.renew_at(self.record.effects.elapsed());
                    }
                }
                () = self.record.effects.sleep(next) => {
                    if again.is_some_and(|at| at <= self.record.effects.elapsed()) {
                        (due, again) = (Due::ALL, None);
                    }
                }
            }
            self.record.effects.sleep(GATHER).await;
            while let Some((scope, event)) = feed.ready() {
                due.routes |= self.world.take(&scope, event);
            }
            feed.follow(self.world.scopes());
            if ask <= self.record.effects.elapsed() {
                ask = self.record.effects.elapsed() + CONFIGURATION;
                let needed_kubelets = self.needs_kubelets();
                if self.ask_settings().await {
                    due = Due::ALL;
                    if self.needs_kubelets() != needed_kubelets {
                        feed = self.list_anew();
                    }
                }
                due.chains |= self.look_for_proxies();
            }
            if let Some(known) = self.world.wants() {
                self.known = known;
                feed = self.follow_anew();
            }
            let now = self.record.effects.elapsed();
            if look <= now {
                look = now + TUNNELS;
                self.tunnels.doubt();
                due.routes = true;
            }
            due.routes |= room.is_some_and(|at| at <= now);
            self.on_time().await;
            if due.is_nothing() {
                continue;
            }
            let pass = self.pass(due).await;
            due = Due::default();
            let soon = self.record.effects.elapsed() + SOONEST;
            room = self.tunnels.due().map(|at| at.max(soon));
            if pass.needs_fresh_list {
                tracing::info!("lists all records anew");
                feed = self.list_anew();
            }
            (again, pause) = match pass.failed {
                true => (Some(self.record.effects.elapsed() + pause), (pause * 2).min(LATEST)),
                false => (None, SOONEST),
            };
        }
    }

    /// Looks which kube-proxies run here. Gives whether they are others than before.
    pub(super) fn look_for_proxies(&mut self) -> bool {
        let found = filter::kube_proxy::found(Path::new("/proc"));
        let are_others = found != self.proxies;
        self.proxies = found;
        are_others
    }

    /// Does what is due by the time.
    async fn on_time(&mut self) {
        let is_due = |at: Option<Duration>| at.is_some_and(|at| at <= self.record.effects.elapsed());
        let (renews, looks) = (is_due(self.files.due()), is_due(self.plain.due));
        if renews {
            // A failure is logged, and sets the time of the next try.
            let _ = self.files.renew(self.record.store, self.record.effects, self.record.within).await;
        }
        if looks {
            match self.kernel.interfaces().await {
                Ok(interfaces) => self.plain.look(&self.record, &interfaces).await,
                Err(error) => tracing::warn!("{error}"),
            }
        }
    }

    /// Whether affinity is strict; `None` where the store gives no answer.
    async fn ask_known(&self) -> Option<Known> {
        let set = ReadSet::new().key(Key::IpamConfig);
        match self.store.read(&set, self.record.within).await {
            Ok(view) => Some(known_by(view.ipam_config().as_ref())),
            Err(error) => {
                tracing::warn!("it is not known whether affinity is strict: {error}");
                None
            }
        }
    }

    /// Reads what Felix would be told: the port of VXLAN, how packets are translated. Gives whether it has
    /// changed. Where the store gives no answer, what was known counts on.
    async fn ask_settings(&mut self) -> bool {
        match felix_settings(&self.store, self.record.name, self.record.within).await {
            Ok((settings, unusable)) => {
                let is_new = settings != self.settings;
                self.settings = settings;
                for unusable in unusable.iter().filter(|_| is_new) {
                    tracing::warn!("{unusable}");
                }
                is_new
            }
            Err(error) => {
                tracing::warn!(
                    "FelixConfigurations cannot be read, and what was known of them counts on: {error}"
                );
                false
            }
        }
    }

    /// Begins with nothing known.
    fn follow_anew(&mut self) -> Feed {
        tracing::info!(
            "follows {}",
            match self.known {
                Known::ByBlocks => "nodes, pools and all blocks, as addresses may be borrowed",
                Known::ByAffinities => "nodes, pools, affinities and its own blocks, as affinity is strict",
            }
        );
        self.world = World::new(self.record.name, self.known);
        self.list = List::Kept;
        self.feed()
    }

    /// Lists everything again. What was known holds until the lists are complete, and then they are believed.
    fn list_anew(&mut self) -> Feed {
        self.world.expect_anew();
        self.list = List::Fresh;
        self.feed()
    }

    fn feed(&self) -> Feed {
        let mut feed = Feed::new(&self.store, !self.needs_kubelets());
        feed.follow(self.world.scopes());
        feed
    }

    /// Whether anything rests on what kubelets report of Nodes: the addresses of hosts without an agent, to
    /// which no packet is to be translated. All else rests on labels, and on what agents have made known.
    fn needs_kubelets(&self) -> bool {
        self.settings.exclusions == Exclusions::PoolsAndNodes
    }
}

/// What the FelixConfigurations say: `default`, and then the node's own.
pub(super) async fn felix_settings(
    store: &AnyStore,
    node: &str,
    within: Duration,
) -> Result<(Settings, Vec<filter::settings::Unusable>), StoreError> {
    const FELIX: StrangerKind = StrangerKind { group: "projectcalico.org", plural: "felixconfigurations" };
    let all = store.strangers(FELIX, within).await?;
    let (mut settings, mut unusable) = (Settings::default(), Vec::new());
    for name in ["default", &format!("node.{node}")] {
        for configuration in all.iter().filter(|one| one["metadata"]["name"] == *name) {
            unusable.extend(settings.take(configuration));
        }
    }
    Ok((settings, unusable))
}
