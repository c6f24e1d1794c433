//! The last question before an address is freed: whether nobody uses it, asked live and not of what watches
//! have told. What cannot be asked is not freed.

use std::collections::BTreeSet;
#[cfg(feature = "kubernetes")]
use std::collections::HashMap;
use std::time::Duration;

use api::{BlockCidr, HandleId, Key, Kind};
use controllers::collect::Due;
use controllers::confirm::Asked;
use controllers::witness::{Endpoints, Users};
use store::{AnyStore, Depth, Page, ReadSet, Scope, Slot, Store, StoreError, View};
#[cfg(feature = "kubernetes")]
use {
    api::Persistence,
    controllers::judge::{Why, machine_of, pod_of},
    controllers::witness::{Pod, PodKey},
    futures_util::{StreamExt, TryStreamExt, stream},
    std::collections::BTreeMap,
    store::kubernetes::{KubeStore, ObjectName},
};

/// How many questions are under way at once.
#[cfg(feature = "kubernetes")]
const SIDE_BY_SIDE: usize = 16;
/// How long one question about a virtual machine may take.
#[cfg(feature = "kubernetes")]
const MACHINE_WITHIN: Duration = Duration::from_secs(5);
/// How many endpoints a page has.
const PAGE: usize = 1_000;

/// What was asked.
#[derive(Debug)]
pub struct Answers {
    /// What may be freed.
    pub free: Vec<Due>,
    /// What somebody uses after all, or may come to use, each with a word that says why.
    pub kept: Vec<(Due, &'static str)>,
    /// What was read for it: the allocator's configuration, and the nodes.
    pub view: View,
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

/// Asks who uses what is due. `doubtful` are the blocks that cannot be read: they may hold another address of
/// a handle that is due, and it may be in use.
///
/// # Errors
/// See [`ConfirmError`]: then nothing may be freed.
pub async fn confirm(
    store: &AnyStore,
    due: Vec<Due>,
    known: &Users,
    doubtful: &[BlockCidr],
    within: Duration,
) -> Result<Answers, ConfirmError> {
    let nodes: BTreeSet<&str> = due.iter().map(Due::node).filter(|node| !node.is_empty()).collect();
    let keys = nodes.iter().map(|node| (Key::global(Kind::Node, *node), Depth::Key));
    let mut set = ReadSet { keys: keys.collect(), ..ReadSet::new() };
    set = set.key(information()).key(Key::IpamConfig);
    if !doubtful.is_empty() {
        set = set.keys(due.iter().filter_map(|due| HandleId::new(due.handle())).map(Key::Handle));
    }
    let view = store.read(&set, within).await?;
    may_write(&view)?;
    let users = users(store, &due, known, within).await?;
    #[cfg(feature = "kubernetes")]
    let machines = match store {
        AnyStore::Kubernetes(store) => machines(store, &due, &view).await,
        _ => BTreeSet::new(),
    };
    #[cfg(not(feature = "kubernetes"))]
    let machines: BTreeSet<String> = BTreeSet::new();

    let asked = Asked { view: &view, users: &users, machines: &machines, doubtful };
    let (free, kept) = asked.part(due);
    Ok(Answers { free, kept, view })
}

/// The record that says whether the data are locked.
pub fn information() -> Key {
    Key::global(Kind::ClusterInformation, "default")
}

/// Looks at [`information`] in a view that has read it.
///
/// # Errors
/// Where the data are locked, or nobody knows.
pub fn may_write(view: &View) -> Result<(), ConfirmError> {
    if let Some(unreadable) = view.unreadable(&information()) {
        return Err(ConfirmError::Store(unreadable.error.clone().into()));
    }
    let stored = view.resource(&information()).flatten();
    let is_ready = stored.and_then(|(info, _)| info.field(&["spec", "datastoreReady"])?.as_bool());
    if is_ready == Some(false) { Err(ConfirmError::Locked) } else { Ok(()) }
}

/// Those who may use what is due, as they are now.
async fn users(store: &AnyStore, due: &[Due], known: &Users, within: Duration) -> Result<Users, StoreError> {
    #[cfg(not(feature = "kubernetes"))]
    let _ = due;
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
    let ask = |pod: &PodKey| {
        let pod = pod.clone();
        async move {
            let answer = store.pod(&pod.namespace, &pod.name, within).await?;
            let seen = answer.map(|pod| pod.map_or(Pod::Unreadable, |state| Pod::from(&state)));
            Ok(seen.map(|seen| (pod, seen)))
        }
    };
    let answers = stream::iter(wanted.iter().map(ask)).buffer_unordered(SIDE_BY_SIDE);
    answers.try_filter_map(async |answer| Ok(answer)).try_collect().await
}

/// The handles, of those that are due, whose virtual machines keep their addresses: a machine that runs does,
/// and one that does not, unless the configuration says otherwise.
#[cfg(feature = "kubernetes")]
async fn machines(store: &KubeStore, due: &[Due], view: &View) -> BTreeSet<String> {
    let is_kept_when_stopped =
        view.ipam_config().is_none_or(|config| !matches!(config.persistence, Some(Persistence::Disabled)));
    let mut by_machine: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    let mut keeping = BTreeSet::new();
    for due in due.iter().filter(|due| due.why == Why::MachineStopped) {
        // Until its machine was asked for, and where nobody knows which machine it is.
        keeping.insert(due.handle().to_string());
        if let Some(machine) = machine_of(&due.attribute) {
            by_machine.entry(machine).or_default().insert(due.handle());
        }
    }
    let ask = |(machine, handles): (&(&str, &str), &BTreeSet<&str>)| {
        let handles: Vec<String> = handles.iter().map(|handle| handle.to_string()).collect();
        let (namespace, name) = (machine.0.to_string(), machine.1.to_string());
        async move {
            let exists = async |plural| {
                let api = "/apis/kubevirt.io/v1";
                let object = ObjectName { api, plural, namespace: Some(&namespace), name: &name };
                store.object(object, MACHINE_WITHIN).await.map(|object| object.is_some())
            };
            let is_kept = match exists("virtualmachineinstances").await? {
                false if is_kept_when_stopped => exists("virtualmachines").await?,
                runs => runs,
            };
            Ok::<_, StoreError>(if is_kept { Vec::new() } else { handles })
        }
    };
    let mut answers = stream::iter(by_machine.iter().map(ask)).buffer_unordered(SIDE_BY_SIDE);
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(given_up) => keeping.retain(|handle| !given_up.contains(handle)),
            // The others' addresses do not wait for that.
            Err(error) => {
                tracing::warn!("virtual machines cannot be asked for, and keep their addresses: {error}");
                break;
            }
        }
    }
    keeping
}
