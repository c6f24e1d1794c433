//! Kubernetes' own objects, which are no records: pods, namespaces, virtual machines.

use api::crd::why_no_name;
use http::Method;
use serde::Deserialize;
use serde_json::Value as Json;
use tokio::time::Instant;

use super::connection::{CONTROLLERS, MERGE_PATCH, Question, STRATEGIC_PATCH, Server};
use super::fault::{FaultClass, RequestFault};
use super::pages::{Paged, Pages};
use crate::error::StoreError;

/// The group of pods and namespaces.
const CORE: &str = "/api/v1";

/// The name of an object of Kubernetes' own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectName<'a> {
    /// The group and version as paths spell them, such as `/api/v1` or `/apis/kubevirt.io/v1`.
    pub api: &'a str,
    /// The kind as paths spell it, such as `pods`.
    pub plural: &'a str,
    /// The namespace, where the kind has one.
    pub namespace: Option<&'a str>,
    /// The object's name in its namespace.
    pub name: &'a str,
}

impl<'a> ObjectName<'a> {
    /// The name of a pod.
    pub fn pod(namespace: &'a str, name: &'a str) -> ObjectName<'a> {
        ObjectName { api: CORE, plural: "pods", namespace: Some(namespace), name }
    }

    /// The name of a namespace.
    pub fn namespace(name: &'a str) -> ObjectName<'a> {
        ObjectName { api: CORE, plural: "namespaces", namespace: None, name }
    }

    /// The name of a Kubernetes Node.
    pub fn node(name: &'a str) -> ObjectName<'a> {
        ObjectName { api: CORE, plural: "nodes", namespace: None, name }
    }

    /// The name of an event.
    pub fn event(namespace: &'a str, name: &'a str) -> ObjectName<'a> {
        ObjectName { api: CORE, plural: "events", namespace: Some(namespace), name }
    }

    /// The name of a lease, by which one of several processes is known as the one that works.
    pub fn lease(namespace: &'a str, name: &'a str) -> ObjectName<'a> {
        ObjectName { api: "/apis/coordination.k8s.io/v1", plural: "leases", namespace: Some(namespace), name }
    }

    /// The name of a workload of that plural, such as `daemonsets`.
    pub fn workload(namespace: &'a str, plural: &'a str, name: &'a str) -> ObjectName<'a> {
        ObjectName { api: "/apis/apps/v1", plural, namespace: Some(namespace), name }
    }

    /// The path; `None` where no object can have the name: a name from outside must not lead to another path.
    fn path(&self) -> Option<String> {
        let collection = self.collection()?;
        why_no_name(self.name).is_none().then(|| format!("{collection}/{}", self.name))
    }

    /// The path of all objects of the kind, in the namespace where the kind has one.
    fn collection(&self) -> Option<String> {
        if self.namespace.is_some_and(|name| why_no_name(name).is_some()) {
            return None;
        }
        let namespace = self.namespace.map_or(String::new(), |name| format!("/namespaces/{name}"));
        Some(format!("{}{namespace}/{}", self.api, self.plural))
    }

    fn impossible(&self) -> StoreError {
        StoreError::Unusable(format!("no object of {} can have the name {:?}", self.plural, self.name))
    }
}

/// How a patch is merged into an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// JSON merge patch (RFC 7396): objects are merged, null removes a field, a list replaces the list.
    Merge,
    /// As [`PatchKind::Merge`], but the items of some lists are merged by a key: a Node's conditions by
    /// `type`.
    Strategic,
}

/// A change to an object of Kubernetes' own: only what it names.
#[derive(Clone, Copy, Debug)]
pub struct ObjectPatch<'a> {
    /// The object.
    pub name: ObjectName<'a>,
    /// Whether the patch goes to the object's subresource `status`, which takes annotations, too.
    pub status: bool,
    /// How it is merged.
    pub kind: PatchKind,
    /// The patch.
    pub patch: &'a Json,
}

/// What became of an object that was to take the place of an earlier state of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Replaced {
    /// It is stored; this is what the server made of it.
    Done(Box<Json>),
    /// The object is not in the state any more that the new one names (`metadata.resourceVersion`).
    Changed,
    /// No object has that name.
    Absent,
}

/// How many objects a page of a list has; Calico's client asks for as many.
const PAGE: usize = 500;

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Option<Vec<Json>>,
}

/// All services, in all namespaces.
pub(super) async fn services(server: &Server, deadline: Instant) -> Result<Vec<Json>, StoreError> {
    list(server, &format!("{CORE}/services"), "", deadline).await.map_err(RequestFault::into_error)
}

/// All objects under a path, in all namespaces. `more` is added to the question, and begins with `&`.
pub(super) async fn list(
    server: &Server,
    path: &str,
    more: &str,
    deadline: Instant,
) -> Result<Vec<Json>, RequestFault> {
    let mut objects = Vec::new();
    let mut pages = Pages::of(server, path, PAGE, more);
    while let Some(paged) = pages.next(deadline).await? {
        match paged {
            Paged::Anew => objects.clear(),
            Paged::Page(text, _) => {
                let list: List = serde_json::from_str(&text)
                    .map_err(|error| RequestFault::nonsense(server.shown(), &error))?;
                objects.extend(list.items.unwrap_or_default());
            }
        }
    }
    Ok(objects)
}

/// The object; `None` where no object has that name, or the server does not have the kind.
pub(super) async fn object(
    server: &Server,
    name: ObjectName<'_>,
    deadline: Instant,
) -> Result<Option<Json>, StoreError> {
    let Some(text) = text(server, name, deadline).await? else { return Ok(None) };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| RequestFault::nonsense(server.shown(), &error).into_error())
}

/// The text of the object; see [`object`].
pub(super) async fn text(
    server: &Server,
    name: ObjectName<'_>,
    deadline: Instant,
) -> Result<Option<String>, StoreError> {
    let Some(path) = name.path() else { return Ok(None) };
    match server.ask(Question::get(path), deadline).await {
        Ok(text) => Ok(Some(text)),
        Err(fault) if fault.kind == FaultClass::Absent => Ok(None),
        // Every API server has the core kinds: where they are missing, it is no API server.
        Err(fault) if fault.kind == FaultClass::NotInstalled && name.api != CORE => Ok(None),
        Err(fault) => Err(fault.into_error()),
    }
}

/// Patches an object. Gives what it is now; `None` where no object has that name.
pub(super) async fn patch(
    server: &Server,
    change: ObjectPatch<'_>,
    deadline: Instant,
) -> Result<Option<Json>, StoreError> {
    let path = change.name.path().ok_or_else(|| change.name.impossible())?;
    let path = if change.status { format!("{path}/status") } else { path };
    let content_type = match change.kind {
        PatchKind::Merge => MERGE_PATCH,
        PatchKind::Strategic => STRATEGIC_PATCH,
    };
    let question = Question::send(Method::PATCH, path, change.patch.to_string());
    match server.ask(Question { content_type, ..question }, deadline).await {
        Ok(text) => serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| RequestFault::nonsense(server.shown(), &error).into_error()),
        Err(fault) if fault.kind == FaultClass::Absent => Ok(None),
        Err(fault) => Err(fault.into_error()),
    }
}

/// Stores an object in the place of the state whose resourceVersion it names; with `status`, its status only.
pub(super) async fn replace(
    server: &Server,
    name: ObjectName<'_>,
    status: bool,
    object: &Json,
    deadline: Instant,
) -> Result<Replaced, StoreError> {
    let path = name.path().ok_or_else(|| name.impossible())?;
    let path = if status { format!("{path}/status") } else { path };
    // Controllers store objects so, and whoever writes in their place is recorded under their name.
    let question = Question { manager: CONTROLLERS, ..Question::send(Method::PUT, path, object.to_string()) };
    match server.ask(question, deadline).await {
        Ok(text) => serde_json::from_str(&text)
            .map(Replaced::Done)
            .map_err(|error| RequestFault::nonsense(server.shown(), &error).into_error()),
        Err(fault) if fault.kind == FaultClass::Conflict => Ok(Replaced::Changed),
        Err(fault) if fault.kind == FaultClass::Absent => Ok(Replaced::Absent),
        Err(fault) => Err(fault.into_error()),
    }
}

/// Removes an object after everything that belongs to it: the server keeps the object until then.
pub(super) async fn remove(
    server: &Server,
    name: ObjectName<'_>,
    deadline: Instant,
) -> Result<(), StoreError> {
    let path = name.path().ok_or_else(|| name.impossible())?;
    match server.ask(Question::delete(path, "propagationPolicy", "Foreground".into()), deadline).await {
        Ok(_) => Ok(()),
        Err(fault) if fault.kind == FaultClass::Absent => Ok(()),
        Err(fault) => Err(fault.into_error()),
    }
}

/// Creates an object. Tells whether it was created: `false` where an object of that name exists.
pub(super) async fn create(
    server: &Server,
    name: ObjectName<'_>,
    object: &Json,
    deadline: Instant,
) -> Result<bool, StoreError> {
    let collection = name.collection().ok_or_else(|| name.impossible())?;
    match server.ask(Question::send(Method::POST, collection, object.to_string()), deadline).await {
        Ok(_) => Ok(true),
        Err(fault) if fault.kind == FaultClass::Exists => Ok(false),
        Err(fault) => Err(fault.into_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        assert_eq!(ObjectName::pod("ns", "a").path().as_deref(), Some("/api/v1/namespaces/ns/pods/a"));
        assert_eq!(ObjectName::node("n1").path().as_deref(), Some("/api/v1/nodes/n1"));
        assert_eq!(
            ObjectName::event("ns", "a").collection().as_deref(),
            Some("/api/v1/namespaces/ns/events")
        );
        assert_eq!(ObjectName::event("../x", "a").collection(), None);
        assert_eq!(ObjectName::namespace("ns").path().as_deref(), Some("/api/v1/namespaces/ns"));
        assert_eq!(ObjectName::pod("..", "a").path(), None);
        assert_eq!(ObjectName::pod("ns", "a/b").path(), None);
    }
}
