//! The last question before an address is freed: whether nobody uses it, asked live and not of what watches
//! have told. What cannot be asked is not freed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api::{Key, Kind};
use controllers::collect::{Due, is_node_there};
use controllers::judge::{Standing, Why, judge};
use controllers::witness::{Endpoints, Users};
use store::{AnyStore, Depth, Page, ReadSet, Scope, Slot, Store, StoreError, View};
#[cfg(feature = "kubernetes")]
use {
    api::Persistence,
    controllers::judge::pod_of,
    controllers::witness::{Pod, PodKey},
    futures_util::{StreamExt, TryStreamExt, stream},
    std::collections::HashMap,
    store::kubernetes::{KubeStore, ObjectName, PodEvent},
};

/// How many questions are under way at once.
#[cfg(feature = "kubernetes")]
const SIDE_BY_SIDE: usize = 16;
/// From how many pods on all pods are listed, instead of asking for each.
#[cfg(feature = "kubernetes")]
const MANY: usize = 500;
/// How many endpoints a page has.
const PAGE: usize = 1_000;

/// What was asked.
#[derive(Debug)]
pub struct Answers {
    /// What may be freed.
    pub free: Vec<Due>,
    /// What somebody uses after all, or may come to use, each with a word that says why.
    pub kept: Vec<(Due, &'static str)>,
}

/// Why nothing may be freed now.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfirmError {
    /// The data are locked.
    #[error("the datastore is locked: `calicoctl datastore migrate unlock` ends that")]
    Locked,
    /// The store gave no answer.
    #[error("who uses addresses cannot be asked: {0}")]
    Store(#[from] StoreError),
}

/// Asks who uses what is due.
///
/// # Errors
/// See [`ConfirmError`]: then nothing may be freed.
pub async fn confirm(
    store: &AnyStore,
    due: Vec<Due>,
    known: &Users,
    within: Duration,
) -> Result<Answers, ConfirmError> {
    let nodes: BTreeSet<&str> = due.iter().map(Due::node).collect();
    let keys = nodes.iter().map(|node| (Key::global(Kind::Node, *node), Depth::Key));
    let mut set = ReadSet { keys: keys.collect(), ..ReadSet::new() };
    let information = Key::global(Kind::ClusterInformation, "default");
    set = set.key(information.clone()).key(Key::IpamConfig);
    let view = store.read(&set, within).await?;
    if is_locked(&view, &information) {
        return Err(ConfirmError::Locked);
    }
    let users = users(store, &due, known, within).await?;
    #[cfg(feature = "kubernetes")]
    let machines = match store {
        AnyStore::Kubernetes(store) => machines(store, &due, &view, within).await?,
        _ => BTreeSet::new(),
    };
    #[cfg(not(feature = "kubernetes"))]
    let machines: BTreeSet<String> = BTreeSet::new();

    // Why an address stays; `None` where it may be freed.
    let why_kept = |due: &Due| {
        let is_there = is_node_there(&view, due.node());
        // What was due because its node is gone has its whole time where the node is there again.
        if due.is_for_gone_node && is_there {
            return Some("node_is_back");
        }
        match judge(&due.attribute, due.ip.addr, &users, is_there) {
            Standing::Leaked(Why::MachineStopped) if machines.contains(due.handle()) => Some("machine"),
            Standing::Leaked(_) => None,
            Standing::Tunnel => is_there.then_some("node_is_back"),
            Standing::InUse => Some("in_use"),
            Standing::Waiting => Some("pod_starts"),
            Standing::NotJudged => Some("unknown"),
        }
    };
    // All of a handle or nothing of it.
    let held: BTreeMap<String, &str> =
        due.iter().filter_map(|due| Some((due.handle().to_string(), why_kept(due)?))).collect();
    let (mut free, mut kept) = (Vec::new(), Vec::new());
    for due in due {
        match held.get(due.handle()) {
            Some(why) => kept.push((due, *why)),
            None => free.push(due),
        }
    }
    Ok(Answers { free, kept })
}

fn is_locked(view: &View, information: &Key) -> bool {
    let stored = view.resource(information).flatten();
    stored.and_then(|(info, _)| info.field(&["spec", "datastoreReady"])?.as_bool()) == Some(false)
}

/// Those who may use what is due, as they are now.
async fn users(store: &AnyStore, due: &[Due], known: &Users, within: Duration) -> Result<Users, StoreError> {
    match (store, known) {
        #[cfg(feature = "kubernetes")]
        (AnyStore::Kubernetes(store), _) => Ok(Users::Pods(pods(store, due, within).await?)),
        (store, Users::Endpoints(known)) => {
            let endpoints = endpoints(store, within).await?;
            Ok(Users::Endpoints(endpoints.with_networks_of(known)))
        }
        // Only Kubernetes tells of pods. Without witnesses nothing is free.
        (_, Users::Pods(_)) => Ok(Users::Endpoints(Endpoints::default())),
    }
}

/// All WorkloadEndpoints.
async fn endpoints(store: &AnyStore, within: Duration) -> Result<Endpoints, StoreError> {
    let scope = Scope::kind(Kind::WorkloadEndpoint);
    let (mut endpoints, mut after) = (Endpoints::default(), None);
    loop {
        let page = Page { after, limit: PAGE };
        let view = store.read(&ReadSet::new().page(scope.clone(), Depth::Full, page), within).await?;
        for (key, slot) in view.slots(&scope) {
            match slot.record().and_then(|record| record.resource()) {
                Some(endpoint) => endpoints.take(endpoint),
                None if !matches!(slot, Slot::Absent) => endpoints.take_unreadable(key),
                None => {}
            }
        }
        match view.page_end(&scope) {
            Some(last) => after = Some(last.clone()),
            None => return Ok(endpoints),
        }
    }
}

/// The pods that what is due names.
#[cfg(feature = "kubernetes")]
async fn pods(store: &KubeStore, due: &[Due], within: Duration) -> Result<HashMap<PodKey, Pod>, StoreError> {
    let wanted: BTreeSet<PodKey> = due.iter().filter_map(|due| pod_of(&due.attribute)).collect();
    let events = if wanted.len() >= MANY {
        store.pods(within).await?
    } else {
        let ask = |pod: &PodKey| {
            let PodKey { namespace, name } = pod.clone();
            async move { store.pod(&namespace, &name, within).await }
        };
        let answers = stream::iter(wanted.iter().map(ask)).buffer_unordered(SIDE_BY_SIDE);
        answers.try_filter_map(async |answer| Ok(answer)).try_collect().await?
    };
    let seen = events.into_iter().filter_map(|event| match event {
        PodEvent::InitApply(state) | PodEvent::Apply(state) => {
            Some((PodKey::new(state.namespace.as_str(), state.name.as_str()), Pod::from(&state)))
        }
        PodEvent::Unreadable(namespace, name, _) => Some((PodKey::new(namespace, name), Pod::Unreadable)),
        PodEvent::Init | PodEvent::InitDone | PodEvent::Delete(..) => None,
    });
    Ok(seen.filter(|(pod, _)| wanted.contains(pod)).collect())
}

/// The handles, of those that are due, whose virtual machines keep their addresses: a machine that runs does,
/// and one that does not, unless the configuration says otherwise.
#[cfg(feature = "kubernetes")]
async fn machines(
    store: &KubeStore,
    due: &[Due],
    view: &View,
    within: Duration,
) -> Result<BTreeSet<String>, StoreError> {
    let is_kept_when_stopped =
        view.ipam_config().is_none_or(|config| !matches!(config.persistence, Some(Persistence::Disabled)));
    let mut by_machine: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    let mut keeping = BTreeSet::new();
    for due in due.iter().filter(|due| due.why == Why::MachineStopped) {
        let field = |name: &str| due.attribute.owner.get(name).map(String::as_str);
        match (field("namespace"), field("vmi-name")) {
            (Some(namespace), Some(name)) => {
                by_machine.entry((namespace, name)).or_default().insert(due.handle());
            }
            // Nobody knows which machine it is.
            _ => drop(keeping.insert(due.handle().to_string())),
        }
    }
    for ((namespace, name), handles) in by_machine {
        let object = async |plural| {
            let api = "/apis/kubevirt.io/v1";
            let object = ObjectName { api, plural, namespace: Some(namespace), name };
            store.object(object, within).await.map(|object| object.is_some())
        };
        let runs = object("virtualmachineinstances").await?;
        if runs || (is_kept_when_stopped && object("virtualmachines").await?) {
            keeping.extend(handles.into_iter().map(str::to_string));
        }
    }
    Ok(keeping)
}
