//! The WorkloadEndpoint: the record that tells the rest of the cluster about a container.

use std::net::IpAddr;
use std::time::Duration;

use api::capability::Backend;
use api::crd::pod;
use api::{Cidr, Key, Kind, Metadata, Resource, Revision, Value};
use cni::CniError;
use cni::log::Level;
use serde_json::{Map, Value as Json, json};
use store::{Batch, Depth, Expect, Outcome, ReadSet, Refusal, Scope, Store, View};

use crate::floating::{Nat, leads_to_another};
use crate::request::{Request, WITHIN};
use crate::result::whole;

/// How often a deletion is tried when other clients change the record meanwhile.
const TRIES: u32 = 6;
/// The pause before a change is tried again.
const PAUSE: Duration = Duration::from_millis(100);

/// An endpoint and its revision.
pub type Stored = (Resource, Revision);

/// The addresses of an endpoint.
pub fn networks(endpoint: &Resource) -> Vec<IpAddr> {
    let listed = endpoint.field(&["spec", "ipNetworks"]).and_then(Json::as_array);
    let texts = listed.into_iter().flatten().filter_map(Json::as_str);
    texts.filter_map(|text| Cidr::parse_unmasked(text).ok()).map(|(_, addr)| addr).collect()
}

/// What an endpoint tells about its container.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The container's addresses.
    pub addresses: Vec<IpAddr>,
    /// The hardware address of the container's side.
    pub mac: String,
    /// The floating addresses that lead to the container.
    pub nats: Vec<Nat>,
}

/// The stored endpoint; `None` where there is none.
///
/// # Errors
/// Code 999 where the store gives no answer.
pub async fn stored(request: &Request<'_, impl Store>) -> Result<Option<Stored>, CniError> {
    let key = request.endpoint_key();
    let view = read(request, &ReadSet::new().key(key.clone())).await?;
    Ok(endpoint_in(&view, &key))
}

/// The endpoints of a pod or container.
#[derive(Clone, Debug, Default)]
pub struct Workload {
    /// The endpoint of the request's interface.
    pub exact: Option<Stored>,
    /// The endpoints of the workload's other interfaces.
    pub others: Vec<Stored>,
}

impl Workload {
    /// The endpoints of other interfaces of this container. (Endpoints of a pod's former containers are left
    /// out.)
    pub fn siblings(&self, container: &str) -> Vec<&Resource> {
        let others = self.others.iter().map(|(endpoint, _)| endpoint);
        others.filter(|other| other.text(&["spec", "containerID"]) == Some(container)).collect()
    }
}

/// The endpoints of the same pod or container, whatever their interfaces are called.
///
/// # Errors
/// Code 999 where the store gives no answer.
pub async fn of_workload(request: &Request<'_, impl Store>) -> Result<Workload, CniError> {
    // In Kubernetes a pod has only one endpoint.
    if request.site.backend == Backend::Kubernetes {
        return Ok(Workload { exact: stored(request).await?, others: Vec::new() });
    }
    let key = request.endpoint_key();
    let namespace = Some(request.names.namespace.clone());
    let scope = Scope::Resources { kind: Kind::WorkloadEndpoint, namespace };
    let view = read(request, &ReadSet::new().key(key.clone()).scope(scope.clone(), Depth::Key)).await?;
    let others = keys_of_others(request, &view, &scope);
    Ok(Workload { exact: endpoint_in(&view, &key), others: read_others(request, others).await? })
}

/// The endpoints of the same pod or container, without that of the request's interface, which may be
/// unreadable.
///
/// # Errors
/// Code 999 where the store gives no answer.
pub async fn of_others(request: &Request<'_, impl Store>) -> Result<Workload, CniError> {
    if request.site.backend == Backend::Kubernetes {
        return Ok(Workload::default());
    }
    let namespace = Some(request.names.namespace.clone());
    let scope = Scope::Resources { kind: Kind::WorkloadEndpoint, namespace };
    let view = read(request, &ReadSet::new().scope(scope.clone(), Depth::Key)).await?;
    let others = keys_of_others(request, &view, &scope);
    Ok(Workload { exact: None, others: read_others(request, others).await? })
}

/// Refuses floating addresses that lead to another workload already. In Kubernetes nothing is refused: there
/// an endpoint holds only what its own pod says.
///
/// # Errors
/// Code 999, with annotation and address; or code 999 where the store gives no answer.
pub async fn refuse_leading_to_others(
    request: &Request<'_, impl Store>,
    floating: &[IpAddr],
) -> Result<(), CniError> {
    if floating.is_empty() || request.site.backend == Backend::Kubernetes {
        return Ok(());
    }
    let scope = Scope::kind(Kind::WorkloadEndpoint);
    let look = request.store.look(&ReadSet::new().scope(scope, Depth::Full), WITHIN).await;
    let view = look.map_err(CniError::internal)?;
    let endpoints = view.resources(Kind::WorkloadEndpoint).map(|(endpoint, _)| endpoint);
    let Some((addr, key)) = leads_to_another(&request.names, floating, endpoints) else { return Ok(()) };
    // The error appears in the pod's events, where a tenant reads it. The tenant must not learn of other
    // pods, so their names go only to the log.
    let line = format!("{addr}, which annotation floatingIPs names, leads to {key} already");
    request.log.say(Level::Error, line);
    Err(CniError::internal(format!(
        "annotation cni.projectcalico.org/floatingIPs names {addr}, which leads to another workload already: choose another address, or let that workload give it up first (the plugin's log says which it is)"
    )))
}

fn keys_of_others(request: &Request<'_, impl Store>, view: &View, scope: &Scope) -> Vec<Key> {
    let own = request.endpoint_key();
    let keys = view.slots(scope).map(|(key, _)| key);
    keys.filter(|key| **key != own && request.names.is_of_workload(key)).cloned().collect()
}

async fn read_others(request: &Request<'_, impl Store>, keys: Vec<Key>) -> Result<Vec<Stored>, CniError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let view = read(request, &ReadSet::new().keys(keys.clone())).await?;
    Ok(keys.iter().filter_map(|key| endpoint_in(&view, key)).collect())
}

/// Reads records, each of which must be readable.
///
/// # Errors
/// Code 999 where the store gives no answer, or a record cannot be read.
pub async fn read(request: &Request<'_, impl Store>, set: &ReadSet) -> Result<View, CniError> {
    let read = request.store.look(set, WITHIN).await;
    read.and_then(|view| view.insist(set)).map_err(CniError::internal)
}

fn endpoint_in(view: &View, key: &Key) -> Option<Stored> {
    view.resource(key).flatten().map(|(resource, revision)| (resource.clone(), revision.clone()))
}

/// The endpoint of a pod, made from the pod's object in Kubernetes.
///
/// # Errors
/// Code 999 where the pod has no node, or uses its host's network.
pub fn of_pod(request: &Request<'_, impl Store>, described: &Json) -> Result<Stored, CniError> {
    let prefix = request.ask.environment.interface_prefix();
    let decoded = pod::decode(&prefix, &described.to_string()).map_err(CniError::internal)?;
    let Some(object) = decoded else {
        return Err(CniError::internal(format!(
            "the pod {}/{} has no network of its own: it is not scheduled to a node, or uses its host's",
            request.names.namespace, request.names.ids.pod
        )));
    };
    match object.value {
        Value::Resource(endpoint) => Ok((endpoint, object.revision)),
        _ => Err(CniError::internal("a pod is described as something else than an endpoint")),
    }
}

/// The endpoint of a workload without an object in Kubernetes: a container, or a pod for which Kubernetes is
/// not asked.
pub fn plain(request: &Request<'_, impl Store>) -> Resource {
    let (namespace, labels) = (Some(request.names.namespace.clone()), request.ask.labels.clone());
    let metadata = Metadata { namespace, labels, ..Metadata::default() };
    let mut body = Map::new();
    body.insert("spec".to_string(), json!({"profiles": [request.ask.conf.name()]}));
    Resource::new(Kind::WorkloadEndpoint, metadata, body)
}

/// The endpoint with this request's names and facts.
pub fn with_facts(request: &Request<'_, impl Store>, endpoint: &Resource, facts: &Facts) -> Resource {
    let names = &request.names;
    let changed = endpoint.with(|metadata, body| {
        metadata.name.clone_from(&names.endpoint);
        let spec = body.entry("spec").or_insert_with(|| json!({}));
        spec["orchestrator"] = names.ids.orchestrator.as_str().into();
        spec["node"] = names.ids.node.as_str().into();
        spec["endpoint"] = names.ids.endpoint.as_str().into();
        if names.is_pod() {
            spec["pod"] = names.ids.pod.as_str().into();
        }
        spec["containerID"] = names.container.as_str().into();
        spec["interfaceName"] = names.host_interface.as_str().into();
        spec["mac"] = facts.mac.as_str().into();
        spec["ipNetworks"] = facts.addresses.iter().map(whole).collect::<Vec<_>>().into();
        spec["ipNATs"] = nats(facts).into();
    });
    changed.canonical()
}

fn nats(facts: &Facts) -> Vec<Json> {
    let pair =
        |nat: &Nat| json!({"internalIP": nat.inside.to_string(), "externalIP": nat.outside.to_string()});
    facts.nats.iter().map(pair).collect()
}

/// Stores the endpoint. `revision` is the pod's, where the endpoint is stored in Kubernetes as a part of the
/// pod. If the store does not say whether the endpoint was stored, it is stored again, which does no harm.
///
/// # Errors
/// Code 999 where the store refuses the endpoint, or cannot be reached.
pub async fn store(
    request: &Request<'_, impl Store>,
    endpoint: &Resource,
    revision: Option<&Revision>,
) -> Result<(), CniError> {
    let end = request.site.clock.elapsed() + WITHIN;
    loop {
        let done = match request.site.backend {
            Backend::Kubernetes => {
                let mut batch = Batch::new();
                let expect = revision.cloned().map_or(Expect::Absent, Expect::Revision);
                batch.put(request.endpoint_key(), expect, Value::Resource(endpoint.clone()));
                commit(request, &batch).await?
            }
            _ => apply(request, endpoint).await?,
        };
        match done {
            Done::Applied => return Ok(()),
            Done::Overtaken => {
                return Err(CniError::internal(format!(
                    "the pod {}/{} is gone, or is another one of the same name",
                    request.names.namespace, request.names.ids.pod
                )));
            }
            Done::InDoubt(_) if request.site.clock.elapsed() + PAUSE < end => {
                tokio::time::sleep(PAUSE).await;
            }
            Done::InDoubt(reason) => {
                return Err(CniError::internal(format!(
                    "it is not known whether WorkloadEndpoint {} was stored: {reason}",
                    request.names.endpoint
                )));
            }
        }
    }
}

async fn apply(request: &Request<'_, impl Store>, endpoint: &Resource) -> Result<Done, CniError> {
    match Box::pin(request.client().apply(endpoint)).await {
        Ok(_) => Ok(Done::Applied),
        Err(resources::Error::InDoubt { reason, .. }) => Ok(Done::InDoubt(reason)),
        Err(resources::Error::Store(error)) if error.is_transient() => Ok(Done::InDoubt(error.to_string())),
        Err(error) => Err(CniError::internal(error)),
    }
}

/// Deletes the endpoint of this request's container; `found` is the endpoint as it was just read. If the
/// endpoint belongs to another container of the pod by now, it stays.
///
/// # Errors
/// Code 999 where the store cannot be reached, or other clients change the endpoint again and again.
pub async fn delete(request: &Request<'_, impl Store>, mut found: Look) -> Result<Deleted, CniError> {
    for _ in 0..TRIES {
        let (endpoint, revision) = match found {
            Look::Found(stored) => *stored,
            Look::Nothing => return Ok(Deleted::WasGone),
            Look::Unreadable => return Ok(Deleted::IsUnreadable),
        };
        if is_of_another(&endpoint, &request.names.container) {
            return Ok(Deleted::IsAnothers);
        }
        let mut batch = Batch::new();
        batch.delete(request.endpoint_key(), Expect::Revision(revision));
        match commit(request, &batch).await? {
            Done::Applied => return Ok(Deleted::Now),
            // The next look shows what has become of the endpoint.
            Done::Overtaken | Done::InDoubt(_) => tokio::time::sleep(PAUSE).await,
        }
        found = look(request).await?;
    }
    Err(CniError::internal("error deleting endpoint: endpoint was modified before it could be deleted"))
}

/// Deletes the endpoint after a failure, if it is this container's: an earlier ADD stored it, or this one did
/// and got no answer.
///
/// # Errors
/// As [`delete`].
pub async fn take_back(request: &Request<'_, impl Store>) -> Result<(), CniError> {
    let is_ours = |(endpoint, _): &Stored| {
        endpoint.text(&["spec", "containerID"]) == Some(request.names.container.as_str())
    };
    if let Some(found) = stored(request).await?.filter(is_ours) {
        delete(request, Look::Found(Box::new(found))).await?;
    }
    Ok(())
}

/// The outcome of a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It is deleted.
    Now,
    /// There was no endpoint.
    WasGone,
    /// The endpoint belongs to another container: the pod has a new one. It stays.
    IsAnothers,
    /// The endpoint cannot be read, so nobody knows to which container it belongs. It stays, and the log
    /// names it.
    IsUnreadable,
}

/// What is stored as the endpoint of this request's interface.
pub enum Look {
    /// No record.
    Nothing,
    /// The endpoint.
    Found(Box<Stored>),
    /// A record that cannot be read.
    Unreadable,
}

impl Look {
    /// The endpoint, if there is one and it can be read.
    pub fn stored(&self) -> Option<&Stored> {
        match self {
            Look::Found(stored) => Some(stored),
            Look::Nothing | Look::Unreadable => None,
        }
    }
}

/// Looks for the endpoint. If it cannot be read, the log says so.
///
/// # Errors
/// Code 999 where the store gives no answer.
pub async fn look(request: &Request<'_, impl Store>) -> Result<Look, CniError> {
    let key = request.endpoint_key();
    let set = ReadSet::new().key(key.clone());
    let view = request.store.look(&set, WITHIN).await.map_err(CniError::internal)?;
    Ok(match (endpoint_in(&view, &key), view.unreadable(&key)) {
        (Some(stored), _) => Look::Found(Box::new(stored)),
        (None, Some(_)) => Look::Unreadable,
        (None, None) => Look::Nothing,
    })
}

/// Whether the endpoint is that of another container.
pub fn is_of_another(endpoint: &Resource, container: &str) -> bool {
    endpoint.text(&["spec", "containerID"]).is_some_and(|theirs| theirs != container)
}

enum Done {
    Applied,
    /// Another client changed the record meanwhile.
    Overtaken,
    /// The change may have been made or not; holds the store's reason.
    InDoubt(String),
}

async fn commit(request: &Request<'_, impl Store>, batch: &Batch) -> Result<Done, CniError> {
    let report = match request.store.commit(batch, WITHIN).await {
        Ok(report) => report,
        Err(error) if error.is_transient() => return Ok(Done::InDoubt(error.to_string())),
        Err(error) => return Err(CniError::internal(error)),
    };
    match report.outcomes.first() {
        Some(Outcome::Applied(_)) => Ok(Done::Applied),
        Some(Outcome::Refused(Refusal::Conflict(_))) => Ok(Done::Overtaken),
        Some(Outcome::Refused(refusal)) => Err(CniError::internal(refusal)),
        Some(Outcome::Unknown(reason)) => Ok(Done::InDoubt(reason.clone())),
        _ => Err(CniError::internal("the endpoint was not changed")),
    }
}
