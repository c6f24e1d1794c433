//! Namespaces. They are no records: only their labels are read.

use std::collections::BTreeMap;

use serde::Deserialize;
use tokio::time::Instant;

use super::connection::Server;
use super::fault::RequestFault;
use super::objects::{ObjectName, object};
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

/// The labels of a namespace; `None` where no namespace has that name.
pub(super) async fn labels(
    server: &Server,
    name: &str,
    deadline: Instant,
) -> Result<Option<BTreeMap<String, String>>, StoreError> {
    let Some(found) = object(server, ObjectName::namespace(name), deadline).await? else { return Ok(None) };
    let namespace: Namespace = serde_json::from_value(found)
        .map_err(|error| RequestFault::nonsense(server.shown(), &error).into_error())?;
    Ok(Some(namespace.metadata.labels.unwrap_or_default()))
}
