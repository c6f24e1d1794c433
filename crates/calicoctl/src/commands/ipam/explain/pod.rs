//! A pod of Kubernetes, and the labels of a namespace.

use std::collections::BTreeMap;

use api::Family;
use ipam::explain::commands::word;
use serde_json::Value as Json;
#[cfg(feature = "kubernetes")]
use store::AnyStore;
#[cfg(feature = "kubernetes")]
use store::kubernetes::ObjectName;

use crate::failure::Failure;
use crate::session::Session;

/// The beginning of the names of the annotations about addresses.
const PREFIX: &str = "cni.projectcalico.org/";

/// A pod, and its namespace.
pub(super) struct Pod {
    pod: Json,
    namespace: Json,
}

/// The pools that annotations name, and the family that they want.
pub(super) struct Annotated {
    pub(super) family: Family,
    /// The pools by name or network, and the annotation that names them.
    pub(super) pools: Option<(Vec<String>, String)>,
}

/// The labels of a namespace; `None` where nobody knows them.
#[cfg(feature = "kubernetes")]
pub(super) fn namespace_labels(
    session: &Session,
    name: Option<&str>,
) -> Result<Option<BTreeMap<String, String>>, Failure> {
    let (AnyStore::Kubernetes(server), Some(name)) = (session.store.inner(), name) else { return Ok(None) };
    let labels = session.wait(server.namespace_labels(name, session.within));
    match labels.map_err(|error| Failure::Message(error.to_string()))? {
        Some(labels) => Ok(Some(labels)),
        None => Err(Failure::Message(format!("there is no namespace {name:?} (kubectl get namespaces)"))),
    }
}

#[cfg(not(feature = "kubernetes"))]
pub(super) fn namespace_labels(
    _session: &Session,
    _name: Option<&str>,
) -> Result<Option<BTreeMap<String, String>>, Failure> {
    Ok(None)
}

/// A pod as Kubernetes has it; `None` where there is none. `Err(None)`: nobody here knows pods.
#[cfg(feature = "kubernetes")]
pub(super) fn object(
    session: &Session,
    namespace: &str,
    name: &str,
) -> Result<Option<Json>, Option<Failure>> {
    let AnyStore::Kubernetes(server) = session.store.inner() else { return Err(None) };
    let found = session.wait(server.object(ObjectName::pod(namespace, name), session.within));
    found.map_err(|error| Some(Failure::Message(error.to_string())))
}

#[cfg(not(feature = "kubernetes"))]
pub(super) fn object(_: &Session, _namespace: &str, _name: &str) -> Result<Option<Json>, Option<Failure>> {
    Err(None)
}

impl Pod {
    /// Reads a pod and its namespace from Kubernetes.
    pub(super) fn load(session: &Session, namespace: &str, name: &str) -> Result<Pod, Failure> {
        let found = object(session, namespace, name).map_err(|error| {
            let nobody = || {
                Failure::Message(
                    "--pod needs the store in Kubernetes, which knows pods; here, name the node with --node"
                        .to_string(),
                )
            };
            error.unwrap_or_else(nobody)
        })?;
        let pod = found.ok_or_else(|| {
            let text = format!("there is no pod {name:?} in namespace {namespace:?} (kubectl get pods -A)");
            Failure::Message(text)
        })?;
        Ok(Pod { pod, namespace: namespace_object(session, namespace)? })
    }

    /// The node on which the pod is; `None` where it is not scheduled yet.
    pub(super) fn node(&self) -> Option<&str> {
        self.pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty())
    }

    /// The name of the pod's namespace.
    pub(super) fn namespace(&self) -> &str {
        self.pod["metadata"]["namespace"].as_str().unwrap_or_default()
    }

    /// What the annotations of pod and namespace say about pools. Where both have the same annotation, the
    /// pod's counts (`cni-plugin/pkg/k8s/k8s.go`).
    pub(super) fn pools(&self, asked: Option<Family>) -> Result<Annotated, Failure> {
        for name in ["ipAddrs", "ipAddrsNoIpam"] {
            if let Some(text) = value(&self.pod, name) {
                let node = self.node().map(|node| format!(" --node {}", word(node))).unwrap_or_default();
                let ask = |addr: &String| format!("calicoctl ipam explain --ip {}{node}", word(addr));
                let asked: Vec<String> =
                    serde_json::from_str::<Vec<String>>(text).unwrap_or_default().iter().map(ask).collect();
                let next = match asked.is_empty() {
                    true => "that is no list of addresses, so the pod gets none".to_string(),
                    false => format!("ask about each: {}", asked.join(" && ")),
                };
                return Err(Failure::Message(format!(
                    "the annotation {PREFIX}{name} of {} names the pod's addresses, {text}, so no pool is searched; {next}",
                    title(&self.pod)
                )));
            }
        }
        let families = match self.list("ipFamilies")? {
            Some((families, title)) => {
                if let Some(odd) = families.iter().find(|family| !["IPv4", "IPv6"].contains(&family.as_str()))
                {
                    return Err(Failure::Message(format!(
                        "{title} names {odd:?}, so the pod gets no address: the families are \"IPv4\" and \"IPv6\""
                    )));
                }
                families
            }
            None => Vec::new(),
        };
        let only_v6 = !families.is_empty() && !families.iter().any(|family| family == "IPv4");
        let family = asked.unwrap_or(if only_v6 { Family::V6 } else { Family::V4 });
        let name = match family {
            Family::V4 => "ipv4pools",
            Family::V6 => "ipv6pools",
        };
        let pools = self.list(name)?.filter(|(pools, _)| !pools.is_empty());
        Ok(Annotated { family, pools })
    }

    /// The list in an annotation, and what to call the annotation.
    fn list(&self, name: &str) -> Result<Option<(Vec<String>, String)>, Failure> {
        let of = |object| value(object, name).map(|text| (text, object));
        let Some((text, object)) = of(&self.pod).or_else(|| of(&self.namespace)) else { return Ok(None) };
        let title = format!("the annotation {PREFIX}{name} of {}", title(object));
        match serde_json::from_str::<Vec<String>>(text) {
            Ok(list) => Ok(Some((list, title))),
            Err(error) => Err(Failure::Message(format!(
                "{title} is no list of texts, so the pod gets no address: {text} ({error}); write a list such as {}",
                if name == "ipFamilies" { "[\"IPv4\"]" } else { "[\"pool-a\"]" }
            ))),
        }
    }
}

#[cfg(feature = "kubernetes")]
fn namespace_object(session: &Session, name: &str) -> Result<Json, Failure> {
    let AnyStore::Kubernetes(server) = session.store.inner() else { return Ok(Json::Null) };
    let found = session.wait(server.object(ObjectName::namespace(name), session.within));
    Ok(found.map_err(|error| Failure::Message(error.to_string()))?.unwrap_or_default())
}

#[cfg(not(feature = "kubernetes"))]
fn namespace_object(_: &Session, _name: &str) -> Result<Json, Failure> {
    Ok(Json::Null)
}

fn value<'a>(object: &'a Json, name: &str) -> Option<&'a str> {
    let value = object["metadata"]["annotations"].get(format!("{PREFIX}{name}"))?.as_str()?;
    (!value.is_empty()).then_some(value)
}

fn title(object: &Json) -> String {
    let text = |field: &str| object["metadata"][field].as_str().filter(|text| !text.is_empty());
    match (text("namespace"), text("name")) {
        (Some(namespace), Some(name)) => format!("pod {namespace}/{name}"),
        (None, Some(name)) => format!("namespace {name}"),
        _ => "the pod".to_string(),
    }
}
