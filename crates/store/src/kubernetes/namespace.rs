//! Namespaces, which are no records: only their labels are of interest.

use std::collections::BTreeMap;

use api::crd::why_no_name;
use serde::Deserialize;
use tokio::time::Instant;

use super::connection::{Question, Server};
use super::fault::{Fault, Kind};
use crate::error::StoreError;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Namespace {
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    labels: Option<BTreeMap<String, String>>,
}

/// The labels of a namespace; `None` where there is none of that name.
pub(super) async fn labels(
    server: &Server,
    name: &str,
    deadline: Instant,
) -> Result<Option<BTreeMap<String, String>>, StoreError> {
    // What comes from outside must not lead to another path.
    if why_no_name(name).is_some() {
        return Ok(None);
    }
    let text = match server.ask(Question::get(format!("/api/v1/namespaces/{name}")), deadline).await {
        Ok(text) => text,
        Err(fault) if fault.kind == Kind::Absent => return Ok(None),
        Err(fault) => return Err(fault.into_error()),
    };
    let namespace: Namespace =
        serde_json::from_str(&text).map_err(|error| Fault::nonsense(server.shown(), &error).into_error())?;
    Ok(Some(namespace.metadata.labels.unwrap_or_default()))
}
