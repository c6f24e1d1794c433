//! Creates the CustomResourceDefinitions.

use std::time::Duration;

use http::Method;
use serde::Deserialize;
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

#[derive(Default, Deserialize)]
#[serde(default)]
struct Stored {
    status: Status,
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
