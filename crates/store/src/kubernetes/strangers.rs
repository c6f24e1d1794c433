//! Lists objects of kinds that are no records here.

use api::crd::Group;
use serde::Deserialize;
use serde_json::Value as Json;
use tokio::time::Instant;

use super::connection::{Question, Server};
use super::fault::{FaultClass, RequestFault};
use super::objects;
use crate::error::StoreError;
use crate::strangers::StrangerKind;

#[derive(Deserialize)]
struct Groups {
    groups: Vec<Served>,
}

#[derive(Deserialize)]
struct Served {
    name: String,
    versions: Vec<Version>,
}

#[derive(Deserialize)]
struct Version {
    #[serde(rename = "groupVersion")]
    path: String,
}

/// All objects of a kind: in the first version of its group that has the kind. Calico's kinds are in the
/// group in which the store's records are.
pub(super) async fn list(
    server: &Server,
    kind: StrangerKind,
    deadline: Instant,
) -> Result<Vec<Json>, StoreError> {
    let versions = match kind.group == Group::V3.name() {
        true => {
            let group = server.group(deadline).await.map_err(RequestFault::into_error)?;
            vec![group.api_version().to_string()]
        }
        false => versions(server, kind.group, deadline).await?,
    };
    for version in versions {
        let path = format!("/apis/{version}/{}", kind.plural);
        if let Some(found) = there(objects::list(server, &path, "", deadline).await)? {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

/// What was listed; `None` where the server does not have the kind.
fn there(listed: Result<Vec<Json>, RequestFault>) -> Result<Option<Vec<Json>>, StoreError> {
    match listed {
        Ok(found) => Ok(Some(found)),
        Err(fault) if matches!(fault.kind, FaultClass::NotInstalled | FaultClass::Absent) => Ok(None),
        Err(fault) => Err(fault.into_error()),
    }
}

/// The versions of a group that the server has.
async fn versions(server: &Server, group: &str, deadline: Instant) -> Result<Vec<String>, StoreError> {
    let text = server.ask(Question::get("/apis".to_string()), deadline).await;
    let text = text.map_err(RequestFault::into_error)?;
    let all: Groups = serde_json::from_str(&text)
        .map_err(|error| RequestFault::nonsense(server.shown(), &error).into_error())?;
    let served = all.groups.into_iter().filter(|served| served.name == group);
    Ok(served.flat_map(|served| served.versions).map(|version| version.path).collect())
}

/// The DaemonSets of Calico's node agent, in whatever namespace.
pub(super) async fn calico_nodes(server: &Server, deadline: Instant) -> Result<Vec<String>, StoreError> {
    let found = workloads(server, "daemonsets", "calico-node", deadline).await?;
    Ok(found.iter().filter_map(|set| shown("DaemonSet", set)).collect())
}

/// The Deployments of Calico's kube-controllers of which a replica is ready, in whatever namespace.
pub(super) async fn calico_controllers(
    server: &Server,
    deadline: Instant,
) -> Result<Vec<String>, StoreError> {
    let found = workloads(server, "deployments", "calico-kube-controllers", deadline).await?;
    let ready = found.iter().filter(|one| one["status"]["readyReplicas"].as_u64().is_some_and(|n| n > 0));
    Ok(ready.filter_map(|one| shown("Deployment", one)).collect())
}

/// The workloads of that kind and name, in whatever namespace.
pub(super) async fn workloads(
    server: &Server,
    plural: &str,
    name: &str,
    deadline: Instant,
) -> Result<Vec<Json>, StoreError> {
    let only = format!("&fieldSelector=metadata.name%3D{name}");
    let listed = objects::list(server, &format!("/apis/apps/v1/{plural}"), &only, deadline).await;
    Ok(there(listed)?.unwrap_or_default())
}

fn shown(kind: &str, object: &Json) -> Option<String> {
    let metadata = &object["metadata"];
    Some(format!("{kind} {}/{}", metadata["namespace"].as_str()?, metadata["name"].as_str()?))
}
