//! A request while it is served: what it asks, the site that serves it, and the steps that ADD, DEL and CHECK
//! share.

use std::io;
use std::path::Path;
use std::time::Duration;

use api::{Key, Kind, Resource};
use cni::conf::Conf;
use cni::log::{Level, Log};
use cni::orchestrator::Kubernetes;
use cni::{CniError, Site, told};
use resources::version::{cluster_information, is_ready};
use resources::{Client, Identifier};
use serde_json::Value as Json;
use setup::{Clock, Reached};
use store::{AnyStore, ReadSet, Store, View};

use crate::ask::Ask;
use crate::kernel;
use crate::names::Names;

/// How long one question to the store, or one change, may take.
pub const WITHIN: Duration = Duration::from_secs(30);

/// A request that is being served.
pub struct Request<'a, S = AnyStore> {
    /// The site that serves the request.
    pub site: &'a Site<S>,
    /// What the request asks.
    pub ask: &'a Ask,
    /// The names for the request. Another name for the interface on the host may be chosen while the request
    /// is served.
    pub names: Names,
    /// The store.
    pub store: Reached<'a, S>,
    /// Kubernetes, for pods and namespaces; `None` where the configuration does not want Kubernetes to be
    /// asked.
    kubernetes: Option<Kubernetes<'a>>,
    /// The log of this request.
    pub log: Log<'a>,
}

impl<'a, S: Store> Request<'a, S> {
    /// Begins a request. Nothing is sent yet.
    ///
    /// # Errors
    /// Code 999 where Kubernetes is to be asked and the settings do not lead to it.
    pub fn new(site: &'a Site<S>, ask: &'a Ask) -> Result<Request<'a, S>, CniError> {
        let log = Log::new(&site.log, "calico", site.clock, &ask.conf);
        for lost in &ask.lost_labels {
            let line =
                format!("the label {lost} of Mesos has no place: a later one is the same on an endpoint");
            log.say(Level::Error, line);
        }
        let kubernetes = match ask.conf.text(&["policy", "type"]) {
            Some("k8s") => site.reach_kubernetes().map_err(CniError::internal)?,
            _ => None,
        };
        Ok(Request { site, ask, names: ask.names.clone(), store: site.reach_store(), kubernetes, log })
    }

    /// Logs the records that could not be read. Gives the answer of the request.
    ///
    /// # Errors
    /// The request's own error.
    pub fn conclude<T>(&self, answer: Result<T, CniError>) -> Result<T, CniError> {
        told::tell(self.store.noted(), &self.log, answer)
    }

    /// A client for the resources in the store.
    pub fn client(&self) -> Client<'a, S, Clock> {
        Client::new(self.store.server(), &self.site.clock, self.site.backend, WITHIN)
            .with_titles(&self.site.titles)
    }

    /// Refuses to go on while the datastore is locked for a migration or an upgrade.
    ///
    /// # Errors
    /// Code 999 where the datastore is locked, or gives no answer.
    pub async fn refuse_while_locked(&self) -> Result<(), CniError> {
        self.refuse_while_locked_and_read(ReadSet::new()).await.map(|_| ())
    }

    /// As [`Request::refuse_while_locked`], and reads further records in the same step.
    ///
    /// # Errors
    /// As [`Request::refuse_while_locked`].
    pub async fn refuse_while_locked_and_read(&self, besides: ReadSet) -> Result<View, CniError> {
        let missed = |reason: &dyn std::fmt::Display| {
            CniError::internal(format!("error getting ClusterInformation: {reason}"))
        };
        let key = cluster_information();
        let set = besides.key(key.clone());
        let read = self.store.look(&set, WITHIN).await;
        let view = read.and_then(|view| view.insist(&set)).map_err(|error| missed(&error))?;
        let Some((information, _)) = view.resource(&key).flatten() else {
            let id =
                Identifier { kind: Kind::ClusterInformation, namespace: None, name: "default".to_string() };
            return Err(missed(&self.client().does_not_exist(&id)));
        };
        match is_ready(information) {
            true => Ok(view),
            false => {
                let error = CniError::internal("Calico is currently not ready to process requests");
                Err(error
                    .with("the datastore is locked, as for a migration: calicoctl datastore migrate unlock"))
            }
        }
    }

    /// The pod and its namespace, read at the same time; `None` where Kubernetes is not to be asked.
    ///
    /// # Errors
    /// Code 999 where the pod or namespace does not exist, or Kubernetes gives no answer.
    pub async fn pod_and_namespace(&self) -> Result<Option<(Json, Json)>, CniError> {
        let Some(kubernetes) = &self.kubernetes else { return Ok(None) };
        let (pod, namespace) = (&self.names.ids.pod, &self.names.namespace);
        let (pod_found, namespace_found) =
            tokio::join!(kubernetes.pod(namespace, pod, WITHIN), kubernetes.namespace(namespace, WITHIN));
        let absent = |plural: &str, name: &str| CniError::internal(format!("{plural} \"{name}\" not found"));
        let pod = pod_found.map_err(CniError::internal)?.ok_or_else(|| absent("pods", pod))?;
        let namespace =
            namespace_found.map_err(CniError::internal)?.ok_or_else(|| absent("namespaces", namespace))?;
        Ok(Some((pod, namespace)))
    }

    /// The node's record: from Kubernetes if Kubernetes is to be asked, else from the store.
    ///
    /// # Errors
    /// Code 999 where no node has that name, or there is no answer.
    pub async fn node(&self) -> Result<Resource, CniError> {
        let key = Key::global(api::Kind::Node, &*self.names.ids.node);
        let set = ReadSet::new().key(key.clone());
        let view = match &self.kubernetes {
            Some(kubernetes) => kubernetes.look(&set, WITHIN).await,
            None => self.store.look(&set, WITHIN).await,
        };
        let view = view.and_then(|view| view.insist(&set)).map_err(CniError::internal)?;
        let node = view.resource(&key).flatten().map(|(node, _)| node.clone());
        node.ok_or_else(|| {
            CniError::internal(format!("resource does not exist: Node({})", self.names.ids.node))
        })
    }

    /// The key of the request's endpoint.
    pub fn endpoint_key(&self) -> Key {
        Key::Resource {
            kind: api::Kind::WorkloadEndpoint,
            namespace: Some(self.names.namespace.clone()),
            name: self.names.endpoint.clone(),
        }
    }

    /// The name of the IPAM plugin.
    pub fn ipam_type(&self) -> &str {
        self.ask.conf.text(&["ipam", "type"]).unwrap_or_default()
    }

    /// The MTU: from the configuration, else from the node agent's file, else 0, which leaves it to the
    /// kernel.
    ///
    /// # Errors
    /// Code 999 where the file cannot be understood, or is missing although it is needed.
    pub async fn mtu(&self) -> Result<u32, CniError> {
        // In place of the file there may be a pipe, and reading it may block.
        let said = kernel::apart(|| mtu_of_file(Path::new(MTU_FILE))).await;
        said.and_then(|said| mtu(&self.ask.conf, said, Path::new(MTU_FILE))).map_err(CniError::internal)
    }
}

const MTU_FILE: &str = "/var/lib/calico/mtu";
const LARGEST_MTU_FILE: usize = 4096;

fn mtu_of_file(file: &Path) -> Result<Option<u32>, String> {
    match outside::read_text(file, LARGEST_MTU_FILE) {
        Ok(text) => text.trim().parse().map(Some).map_err(|_| {
            format!(
                "failed to read MTU file: {} holds {:?}, which is no number of bytes",
                file.display(),
                outside::cut_short(&text)
            )
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("failed to read MTU file: {}: {error}", file.display())),
    }
}

fn mtu(conf: &Conf, from_file: Option<u32>, file: &Path) -> Result<u32, String> {
    if from_file.is_none() && conf.flag(&["require_mtu_file"]) {
        return Err(format!(
            "failed to read MTU file: {} does not exist, and require_mtu_file is set: check that the node agent is running",
            file.display()
        ));
    }
    match u32::try_from(conf.number(&["mtu"])) {
        Ok(0) => Ok(from_file.unwrap_or_default()),
        Ok(mtu) => Ok(mtu),
        Err(_) => Err(format!("mtu {} is no number of bytes", conf.number(&["mtu"]))),
    }
}

#[cfg(test)]
mod tests {
    use cni::conf::Document;

    use super::*;

    fn conf(text: &str) -> Conf {
        Document::parse(text.as_bytes()).unwrap().conf().unwrap()
    }

    #[test]
    fn the_mtu() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("mtu");
        let mtu = |conf: &Conf| mtu_of_file(&file).and_then(|said| mtu(conf, said, &file));
        assert_eq!(mtu(&conf(r#"{"name":"n"}"#)), Ok(0));
        assert_eq!(mtu(&conf(r#"{"name":"n","mtu":1400}"#)), Ok(1400));
        assert!(mtu(&conf(r#"{"name":"n","require_mtu_file":true}"#)).is_err());
        std::fs::write(&file, "1450\n").unwrap();
        assert_eq!(mtu(&conf(r#"{"name":"n","require_mtu_file":true}"#)), Ok(1450));
        assert_eq!(mtu(&conf(r#"{"name":"n","mtu":1400}"#)), Ok(1400));
        assert!(mtu(&conf(r#"{"name":"n","mtu":-1}"#)).is_err());
        std::fs::write(&file, "x").unwrap();
        assert!(mtu(&conf(r#"{"name":"n"}"#)).unwrap_err().contains("\"x\""));
    }
}
