//! Kubernetes in builds without it. The type has no values, so the compiler knows that no request can be
//! made.

use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use api::Key;
use serde_json::Value as Json;
use setup::SetupError;
use store::StoreError;

use crate::session::Session;

/// A Kubernetes API server, of which no value can exist in this build.
pub struct Kubernetes(Infallible);

#[allow(clippy::missing_errors_doc, reason = "none of them can be called")]
#[allow(missing_docs, reason = "as in builds that know Kubernetes")]
impl Kubernetes {
    pub fn of(_: &Session) -> Option<Kubernetes> {
        None
    }

    pub fn named(path: &Path, _within: Duration) -> Result<Kubernetes, SetupError> {
        Err(SetupError::NotBuiltIn {
            datastore: "kubernetes",
            chosen_by: format!("the kubeconfig {}", path.display()),
        })
    }

    pub async fn services(&self) -> Result<Vec<Json>, StoreError> {
        match self.0 {}
    }

    pub async fn has_machine(&self, _: &str, _: &str) -> Result<bool, StoreError> {
        match self.0 {}
    }

    pub async fn uids(&self, _: &[Key]) -> Result<Vec<Option<String>>, StoreError> {
        match self.0 {}
    }
}
