//! Kubernetes' own objects, which are no records: pods, namespaces, virtual machines.

use api::crd::why_no_name;
use serde::Deserialize;
use serde_json::Value as Json;
use tokio::time::Instant;

use super::bounded;
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

/// How many objects a page of a list has; Calico's client asks for as many.
const PAGE: usize = 500;

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(default)]
    items: Option<Vec<Json>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ListMeta {
    #[serde(rename = "continue")]
    token: String,
}

/// All services, in all namespaces.
pub(super) async fn services(server: &Server, deadline: Instant) -> Result<Vec<Json>, StoreError> {
    let mut services = Vec::new();
    let (mut token, mut bytes) = (String::new(), 0);
    loop {
        let mut url = format!("{CORE}/services?limit={PAGE}");
        if !token.is_empty() {
            url.push_str(&format!("&continue={token}"));
        }
        let question = Question { most: bounded::PAGE, ..Question::get(url) };
        let text = match server.ask(question, deadline).await {
            Ok(text) => text,
            // The list has lasted too long for the server to go on with it: begin again.
            Err(RequestFault { kind: FaultClass::Gone(_), .. }) if !token.is_empty() => {
                services.clear();
                token.clear();
                continue;
            }
            Err(fault) => return Err(fault.into_error()),
        };
        bytes += text.len();
        if bytes > bounded::LIST {
            return Err(RequestFault::endless(server.shown(), bounded::LIST).into_error());
        }
        let list: List = serde_json::from_str(&text)
            .map_err(|error| RequestFault::nonsense(server.shown(), &error).into_error())?;
        services.extend(list.items.unwrap_or_default());
        token = list.metadata.token;
        if token.is_empty() {
            return Ok(services);
        }
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
