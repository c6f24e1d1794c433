//! The namespace that the pools' namespace selectors are about. Kubernetes is asked for its labels wherever
//! the configuration names one, whatever the datastore is; and the answer counts even if no pool has such a
//! selector: a pod of a namespace that is gone gets no address.

use std::collections::BTreeMap;

use cni::CniError;
use cni::log::Level;
use cni::orchestrator::Kubernetes;
use golang::strconv::quote;
use store::Store;

use crate::request::{Deadline, Request};

/// Labels by their names.
pub type Labels = BTreeMap<String, String>;

/// A namespace that somebody can be asked for.
pub struct Namespace<'a> {
    name: &'a str,
    kubernetes: Kubernetes<'a>,
}

impl<'a> Namespace<'a> {
    /// The namespace of the request; `None` where its labels do not count, as an address that is asked for by
    /// name is given whatever the selectors say, or where nobody can be asked for them.
    ///
    /// # Errors
    /// Code 999: the settings do not lead to a server.
    pub fn of(request: &Request<'a, impl Store>) -> Result<Option<Namespace<'a>>, CniError> {
        let (ask, name) = (request.ask, request.ask.identity.namespace());
        if ask.args.ip.is_some() || !ask.conf.names_kubernetes() {
            return Ok(None);
        }
        let kubernetes = request.site.reach_kubernetes().map_err(|error| missed(name, error))?;
        if kubernetes.is_none() {
            let line = format!(
                "Kubernetes is not asked for the labels of namespace {name}: this build cannot; pools' namespace selectors see none"
            );
            request.log.say(Level::Error, line);
        }
        Ok(kubernetes.map(|kubernetes| Namespace { name, kubernetes }))
    }

    /// Its labels.
    ///
    /// # Errors
    /// Code 999: there is no such namespace, or Kubernetes does not say.
    pub async fn labels(&self, deadline: Deadline) -> Result<Labels, CniError> {
        let name = self.name;
        let found = self.kubernetes.namespace_labels(name, deadline.left()).await;
        let found = found.map_err(|error| missed(name, error))?;
        found.ok_or_else(|| missed(name, format_args!("namespaces {} not found", quote(name))))
    }
}

fn missed(name: &str, reason: impl std::fmt::Display) -> CniError {
    CniError::internal(format!("failed to get namespace {name}: {reason}"))
}
