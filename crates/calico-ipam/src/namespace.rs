//! The namespace to which the pools' namespace selectors apply. If the configuration has settings for
//! Kubernetes, Kubernetes is asked for the namespace's labels, whatever the datastore is. It is asked even if
//! no pool has such a selector: a pod of a namespace that does not exist gets no address.

use std::collections::BTreeMap;

use cni::CniError;
use cni::log::Level;
use cni::orchestrator::Kubernetes;
use golang::strconv::quote;
use store::Store;

use crate::request::{Deadline, Request};

/// Labels by their names.
pub type Labels = BTreeMap<String, String>;

/// A namespace, and the Kubernetes or store that knows its labels.
pub struct Namespace<'a> {
    name: &'a str,
    kubernetes: Kubernetes<'a>,
}

impl<'a> Namespace<'a> {
    /// The namespace of the request. `None` if its labels do not matter, because an address that the request
    /// names is assigned whatever the selectors say; and `None` if there is nobody to ask.
    ///
    /// # Errors
    /// Code 999 where the settings do not lead to a server.
    pub fn of(request: &Request<'a, impl Store>) -> Result<Option<Namespace<'a>>, CniError> {
        let (ask, name) = (request.ask, request.ask.identity.namespace());
        if ask.args.ip.is_some() || !ask.conf.names_kubernetes() {
            return Ok(None);
        }
        let kubernetes = request.site.reach_kubernetes().map_err(|error| namespace_error(name, error))?;
        if kubernetes.is_none() {
            let line = format!(
                "Kubernetes is not asked for the labels of namespace {name}: this build cannot; pools' namespace selectors see none"
            );
            request.log.say(Level::Error, line);
        }
        Ok(kubernetes.map(|kubernetes| Namespace { name, kubernetes }))
    }

    /// The namespace's labels.
    ///
    /// # Errors
    /// Code 999 where the namespace does not exist, or Kubernetes gives no answer.
    pub async fn labels(&self, deadline: Deadline) -> Result<Labels, CniError> {
        let name = self.name;
        let found = self.kubernetes.namespace_labels(name, deadline.left()).await;
        let found = found.map_err(|error| namespace_error(name, error))?;
        found.ok_or_else(|| namespace_error(name, format_args!("namespaces {} not found", quote(name))))
    }
}

fn namespace_error(name: &str, reason: impl std::fmt::Display) -> CniError {
    CniError::internal(format!("failed to get namespace {name}: {reason}"))
}
