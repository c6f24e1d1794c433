//! The WorkloadEndpoint: what the rest of the cluster knows of the container.

use std::time::Duration;

use api::capability::Backend;
use api::crd::pod;
use api::{Kind, Metadata, Resource, Revision, Timestamp, Value};
use cni::CniError;
use resources::Client;
use serde_json::{Map, Value as Json, json};
use setup::Clock;
use store::{Batch, Expect, Outcome, ReadSet, Refusal, Store};

use crate::request::{Request, WITHIN};
use crate::result::whole;

/// How often a change that others overtake is tried.
const TRIES: u32 = 6;

/// An endpoint and its revision.
pub type Stored = (Resource, Revision);

/// What a container has that its endpoint tells.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The addresses.
    pub addresses: Vec<std::net::IpAddr>,
    /// The hardware address of the container's side.
    pub mac: String,
    /// Addresses from outside that lead to it.
    pub floating: Vec<String>,
}

/// The endpoint that is stored; `None` where there is none.
///
/// # Errors
/// Code 999: the store does not say.
pub fn stored(request: &Request<'_>) -> Result<Option<Stored>, CniError> {
    let key = request.endpoint_key();
    let set = ReadSet::new().key(key.clone());
    let store = request.store.server();
    let read = request.store.insist(WITHIN, |within| store.read(&set, within));
    let view = request.wait_for(read).map_err(CniError::internal)?;
    Ok(view.resource(&key).flatten().map(|(resource, revision)| (resource.clone(), revision.clone())))
}

/// The endpoint of a pod, as Kubernetes describes the pod.
///
/// # Errors
/// Code 999: the pod has no node, or is on its host's network.
pub fn of_pod(request: &Request<'_>, described: &Json) -> Result<Stored, CniError> {
    let prefix = request.environment.interface_prefix();
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

/// The endpoint of what nobody describes: a container, or a pod that Kubernetes is not asked for.
pub fn plain(request: &Request<'_>) -> Resource {
    let metadata = Metadata { namespace: Some(request.names.namespace.clone()), ..Metadata::default() };
    let mut body = Map::new();
    body.insert("spec".to_string(), json!({"profiles": [request.conf.name()]}));
    Resource::new(Kind::WorkloadEndpoint, metadata, body)
}

/// The endpoint with the names and facts of this request.
pub fn with_facts(request: &Request<'_>, endpoint: &Resource, facts: &Facts) -> Resource {
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
    let inside = |v4: bool| facts.addresses.iter().find(|addr| addr.is_ipv4() == v4);
    let pair = |outside: &String| {
        let inside = inside(!outside.contains(':'))?;
        Some(json!({"internalIP": inside.to_string(), "externalIP": outside}))
    };
    facts.floating.iter().filter_map(pair).collect()
}

/// Stores the endpoint. `revision` is that of the pod, in Kubernetes, where the endpoint is a part of the pod's own record.
///
/// # Errors
/// Code 999: the store refuses it, or cannot be reached.
pub fn store(request: &Request<'_>, endpoint: &Resource, revision: Option<Revision>) -> Result<(), CniError> {
    if request.backend != Backend::Kubernetes {
        let effects = Real(request.clock);
        let client = Client::new(request.store.server(), &effects, request.backend, WITHIN);
        return request.wait_for(client.apply(endpoint)).map(|_| ()).map_err(CniError::internal);
    }
    let mut batch = Batch::new();
    let expect = revision.map_or(Expect::Absent, Expect::Revision);
    batch.put(request.endpoint_key(), expect, Value::Resource(endpoint.clone()));
    commit(request, &batch).and_then(|done| match done {
        Done::Applied => Ok(()),
        Done::Overtaken => Err(CniError::internal(format!(
            "the pod {}/{} is gone, or is another one of the same name",
            request.names.namespace, request.names.ids.pod
        ))),
    })
}

/// Deletes the endpoint of this request's container. One that another container of the same pod has by now is left alone.
///
/// # Errors
/// Code 999: the store cannot be reached, or others changed the endpoint again and again.
pub fn delete(request: &Request<'_>) -> Result<Deleted, CniError> {
    for _ in 0..TRIES {
        let Some((endpoint, revision)) = stored(request)? else { return Ok(Deleted::WasGone) };
        if is_of_another(&endpoint, &request.names.container) {
            return Ok(Deleted::IsAnothers);
        }
        let mut batch = Batch::new();
        batch.delete(request.endpoint_key(), Expect::Revision(revision));
        if let Done::Applied = commit(request, &batch)? {
            return Ok(Deleted::Now);
        }
        request.wait_for(tokio::time::sleep(Duration::from_millis(20)));
    }
    Err(CniError::internal("error deleting endpoint: endpoint was modified before it could be deleted"))
}

/// What came of a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It is deleted.
    Now,
    /// There was none.
    WasGone,
    /// It is that of another container: the pod has a new one.
    IsAnothers,
}

/// Whether the endpoint is that of another container.
pub fn is_of_another(endpoint: &Resource, container: &str) -> bool {
    endpoint.text(&["spec", "containerID"]).is_some_and(|theirs| theirs != container)
}

enum Done {
    Applied,
    /// Somebody changed the record meanwhile.
    Overtaken,
}

fn commit(request: &Request<'_>, batch: &Batch) -> Result<Done, CniError> {
    let report = request.wait_for(request.store.commit(batch, WITHIN)).map_err(CniError::internal)?;
    match report.outcomes.first() {
        Some(Outcome::Applied(_)) => Ok(Done::Applied),
        Some(Outcome::Refused(Refusal::Conflict(_))) => Ok(Done::Overtaken),
        Some(Outcome::Refused(refusal)) => Err(CniError::internal(refusal)),
        Some(Outcome::Unknown(reason)) => {
            Err(CniError::internal(format!("it is not known whether the endpoint was changed: {reason}")))
        }
        _ => Err(CniError::internal("the endpoint was not changed")),
    }
}

/// The real clock and real randomness, as the libraries ask for them.
#[derive(Clone, Copy, Debug)]
pub struct Real(pub Clock);

impl ipam::Effects for Real {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn seed(&self) -> u64 {
        self.0.seed()
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(time)
    }
}

impl resources::Effects for Real {
    fn uuid(&self) -> String {
        self.0.uuid()
    }
}
