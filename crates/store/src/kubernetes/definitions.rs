//! Creates the CustomResourceDefinitions, and removes them.

use std::collections::BTreeMap;
use std::time::Duration;

use api::crd::Collection;
use http::Method;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::connection::{Question, Server};
use super::fault::{FaultClass, RequestFault};
use crate::error::StoreError;

const PATH: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
/// How long to wait before asking again whether a definition's objects can be listed. The server takes a few
/// such pauses.
const PAUSE: Duration = Duration::from_millis(50);

/// A CustomResourceDefinition.
#[derive(Clone, Copy, Debug)]
pub struct Definition<'a> {
    /// The definition's name, such as `ippools.crd.projectcalico.org`.
    pub name: &'a str,
    /// The whole definition, as JSON.
    pub text: &'a str,
    /// The path under which the server lists its objects, such as `/apis/crd.projectcalico.org/v1/ippools`.
    pub objects: &'a str,
}

/// What was done about a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defined {
    /// The definition did not exist, and was created.
    Created,
    /// A definition of that name existed, and was left as it was.
    There,
}

/// The label of the definitions that this program brings.
const PART_OF: (&str, &str) = ("app.kubernetes.io/part-of", "rackpool");

/// What became of a definition that was to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undefined {
    /// It is gone, and all of its objects with it.
    Removed,
    /// There was none of that name.
    Absent,
    /// It lacks the label `app.kubernetes.io/part-of=rackpool`: others have brought it, and it stays.
    Foreign,
}

/// The collections that the server does not serve.
pub(super) async fn lacking(server: &Server, deadline: Instant) -> Result<Vec<Collection>, RequestFault> {
    let group = server.group(deadline).await?;
    let served = match server.ask(Question::get(format!("/apis/{group}")), deadline).await {
        Ok(text) => {
            let list: Served = serde_json::from_str(&text)
                .map_err(|error| RequestFault::nonsense(server.shown(), &error))?;
            list.resources
        }
        Err(fault) if matches!(fault.kind, FaultClass::NotInstalled | FaultClass::Absent) => Vec::new(),
        Err(fault) => return Err(fault),
    };
    let is_served = |collection: &Collection| served.iter().any(|one| one.name == collection.plural(group));
    Ok(Collection::all().filter(|collection| !is_served(collection)).collect())
}

/// Removes those of these definitions that this program has brought, and waits until the server has removed
/// their objects. Gives of each, in their order, what became of it.
pub(super) async fn undefine(
    server: &Server,
    names: &[&str],
    deadline: Instant,
) -> Vec<Result<Undefined, StoreError>> {
    let mut ended = Vec::with_capacity(names.len());
    for name in names {
        ended.push(remove(server, name, deadline).await.map_err(RequestFault::into_error));
    }
    for (name, ended) in names.iter().zip(&mut ended).filter(|(_, ended)| **ended == Ok(Undefined::Removed)) {
        if let Err(fault) = wait_for_end(server, name, deadline).await {
            *ended = Err(fault.into_error());
        }
    }
    ended
}

async fn remove(server: &Server, name: &str, deadline: Instant) -> Result<Undefined, RequestFault> {
    let path = format!("{PATH}/{name}");
    let text = match server.ask(Question::get(path.clone()), deadline).await {
        Ok(text) => text,
        Err(fault) if fault.kind == FaultClass::Absent => return Ok(Undefined::Absent),
        Err(fault) => return Err(fault),
    };
    let stored: Stored =
        serde_json::from_str(&text).map_err(|error| RequestFault::nonsense(server.shown(), &error))?;
    if stored.metadata.labels.get(PART_OF.0).map(String::as_str) != Some(PART_OF.1) {
        return Ok(Undefined::Foreign);
    }
    let preconditions = json!({"uid": stored.metadata.uid});
    match server.ask(Question::delete(path, "preconditions", preconditions), deadline).await {
        Ok(_) => Ok(Undefined::Removed),
        Err(fault) if fault.kind == FaultClass::Absent => Ok(Undefined::Removed),
        Err(fault) => Err(fault),
    }
}

/// Waits until a definition that is being removed is gone.
async fn wait_for_end(server: &Server, name: &str, deadline: Instant) -> Result<(), RequestFault> {
    loop {
        match server.ask(Question::get(format!("{PATH}/{name}")), deadline).await {
            Err(fault) if fault.kind == FaultClass::Absent => return Ok(()),
            Err(fault) => return Err(fault),
            Ok(_) if Instant::now() + PAUSE > deadline => {
                return Err(RequestFault::silent(server.shown(), None, false));
            }
            Ok(_) => sleep(PAUSE).await,
        }
    }
}

/// Creates the definitions that do not exist, and waits until the objects of all of them can be listed.
pub(super) async fn define(
    server: &Server,
    definitions: &[Definition<'_>],
    deadline: Instant,
) -> Result<Vec<Defined>, StoreError> {
    let mut done = Vec::with_capacity(definitions.len());
    for definition in definitions {
        done.push(create(server, definition, deadline).await.map_err(RequestFault::into_error)?);
    }
    for definition in definitions {
        wait_for(server, definition, deadline).await?;
    }
    Ok(done)
}

async fn create(
    server: &Server,
    definition: &Definition<'_>,
    deadline: Instant,
) -> Result<Defined, RequestFault> {
    match server.ask(Question::get(format!("{PATH}/{}", definition.name)), deadline).await {
        Ok(_) => return Ok(Defined::There),
        Err(fault) if fault.kind == FaultClass::Absent => {}
        Err(fault) => return Err(fault),
    }
    let question = Question::send(Method::POST, PATH.to_string(), definition.text.to_string());
    match server.ask(question, deadline).await {
        Ok(_) => Ok(Defined::Created),
        // Another client created it in the meantime.
        Err(fault) if fault.kind == FaultClass::Exists => Ok(Defined::There),
        Err(fault) => Err(fault),
    }
}

/// Waits until the definition's objects can be listed. The server reports the definition as established
/// somewhat earlier.
async fn wait_for(server: &Server, definition: &Definition<'_>, deadline: Instant) -> Result<(), StoreError> {
    loop {
        let text = server.ask(Question::get(format!("{PATH}/{}", definition.name)), deadline).await;
        let stored: Stored = serde_json::from_str(&text.map_err(RequestFault::into_error)?)
            .map_err(|error| RequestFault::nonsense(server.shown(), &error).into_error())?;
        if let Some(refused) = stored.condition("NamesAccepted", "False") {
            let text = format!(
                "the Kubernetes API server at {} does not serve {}: {}",
                server.shown(),
                definition.name,
                refused.message
            );
            return Err(StoreError::Unusable(text));
        }
        if stored.condition("Established", "True").is_some() {
            match server.ask(Question::get(format!("{}?limit=1", definition.objects)), deadline).await {
                Ok(_) => return Ok(()),
                Err(fault) if fault.kind == FaultClass::NotInstalled => {}
                Err(fault) => return Err(fault.into_error()),
            }
        }
        if Instant::now() + PAUSE > deadline {
            return Err(RequestFault::silent(server.shown(), None, false).into_error());
        }
        sleep(PAUSE).await;
    }
}

/// What a group's version serves.
#[derive(Deserialize)]
struct Served {
    resources: Vec<ServedKind>,
}

#[derive(Deserialize)]
struct ServedKind {
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Stored {
    metadata: Meta,
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Meta {
    uid: String,
    labels: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    conditions: Vec<Condition>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Condition {
    r#type: String,
    status: String,
    message: String,
}

impl Stored {
    fn condition(&self, r#type: &str, status: &str) -> Option<&Condition> {
        self.status
            .conditions
            .iter()
            .find(|condition| condition.r#type == r#type && condition.status == status)
    }
}
