//! Kubernetes' own objects, which are no records: pods, namespaces, virtual machines.

use api::crd::why_no_name;
use serde_json::Value as Json;
use tokio::time::Instant;

use super::connection::{Question, Server};
use super::fault::{FaultClass, RequestFault};
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

    /// The path; `None` where no object can have the name: a name from outside must not lead to another path.
    fn path(&self) -> Option<String> {
        if why_no_name(self.name).is_some() || self.namespace.is_some_and(|name| why_no_name(name).is_some())
        {
            return None;
        }
        let namespace = self.namespace.map_or(String::new(), |name| format!("/namespaces/{name}"));
        Some(format!("{}{namespace}/{}/{}", self.api, self.plural, self.name))
    }
}

/// The object; `None` where no object has that name, or the server does not have the kind.
pub(super) async fn object(
    server: &Server,
    name: ObjectName<'_>,
    deadline: Instant,
) -> Result<Option<Json>, StoreError> {
    let Some(path) = name.path() else { return Ok(None) };
    let text = match server.ask(Question::get(path), deadline).await {
        Ok(text) => text,
        Err(fault) if fault.kind == FaultClass::Absent => return Ok(None),
        // Every API server has the core kinds: where they are missing, it is no API server.
        Err(fault) if fault.kind == FaultClass::NotInstalled && name.api != CORE => return Ok(None),
        Err(fault) => return Err(fault.into_error()),
    };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| RequestFault::nonsense(server.shown(), &error).into_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        assert_eq!(ObjectName::pod("ns", "a").path().as_deref(), Some("/api/v1/namespaces/ns/pods/a"));
        assert_eq!(ObjectName::namespace("ns").path().as_deref(), Some("/api/v1/namespaces/ns"));
        assert_eq!(ObjectName::pod("..", "a").path(), None);
        assert_eq!(ObjectName::pod("ns", "a/b").path(), None);
    }
}
