//! What ADD, DEL and CHECK have in common: all is checked before the store is opened, and the store before anything is done.

use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use api::capability::Backend;
use api::{Key, Resource};
use cni::args::Args;
use cni::conf::{Conf, Document};
use cni::log::{Level, Log};
use cni::reach::Reached;
use cni::{Call, CniError};
use resources::version::{cluster_information, is_ready};
use serde_json::Value as Json;
use setup::{Clock, ConnectOptions, Datastore, Environment, Runtime, Settings};
use store::kubernetes::{KubeStore, ObjectName};
use store::{AnyStore, ReadSet, Store, View};

use crate::mesos::Labels;
use crate::names::Names;

/// The time of one question to the store, or of one change.
pub const WITHIN: Duration = Duration::from_secs(30);
/// How long a store may leave the first question unanswered.
const REACHED_WITHIN: Duration = Duration::from_secs(10);
/// The version that a configuration without one is read in.
const OLDEST_VERSION: &str = "0.2.0";

/// A request, ready to be served.
pub struct Request<'a> {
    /// The call; its arguments are as the IPAM plugin is to have them.
    pub call: &'a Call,
    /// The configuration, its types checked.
    pub conf: Conf,
    /// The same as it was written, for the IPAM plugin.
    pub configuration: Json,
    /// The version of the answer.
    pub version: String,
    /// The names.
    pub names: Names,
    /// The labels that the configuration gives to the endpoint of what is no pod.
    pub labels: BTreeMap<String, String>,
    /// The environment.
    pub environment: Environment,
    /// The store.
    pub store: Reached,
    /// Where its records are.
    pub backend: Backend,
    /// Where pods and namespaces are, where the configuration says that Kubernetes is to be asked.
    kubernetes: Option<Reached<KubeStore>>,
    /// The clock.
    pub clock: Clock,
    /// The log.
    pub log: Log<'a>,
    runtime: Runtime,
}

impl<'a> Request<'a> {
    /// Checks the request in Calico's order, then opens the store. Changes nothing.
    ///
    /// # Errors
    /// Code 999: fields of a wrong type, a version that is too new, no node name, no store, bad `CNI_ARGS`, names that no endpoint can have.
    pub fn accept(
        call: &'a Call,
        document: &Document,
        environment: &Environment,
        clock: Clock,
        stderr: &'a mut dyn Write,
    ) -> Result<Request<'a>, CniError> {
        let conf = document.conf()?;
        let version = match conf.text(&["cniVersion"]) {
            None => OLDEST_VERSION.to_string(),
            Some(version) => version.to_string(),
        };
        let mut log = Log::new(stderr, "calico", clock, &conf);
        // A test decides whether containers may come at all; the node may have no name yet.
        if call.command != Call::for_test().command {
            check_node_name(&conf)?;
        }
        let text = |field: &str| conf.text(&[field]);
        let node = setup::node_name(text("nodename"), text("nodename_file"), text("hostname"))
            .map_err(CniError::internal)?;
        let args = Args::parse(&call.args)?;
        let mut names = Names::new(&node, call, &args, &environment.interface_prefix())?;
        let mut labels = BTreeMap::new();
        if !names.is_pod() {
            let mesos = Labels::of(&conf).map_err(CniError::internal)?;
            for lost in &mesos.lost {
                let line =
                    format!("the label {lost} of Mesos has no place: a later one is the same on an endpoint");
                log.say(Level::Error, line);
            }
            names.namespace = mesos.namespace.unwrap_or(names.namespace);
            labels = mesos.labels;
        }
        let settings =
            Settings::from_environment(environment).map_err(CniError::internal)?.with_cni(conf.fields());
        let datastore = Datastore::choose(&settings, environment).map_err(CniError::internal)?;
        let store = setup::connect(&datastore, ConnectOptions::existing())
            .map_err(|error| CniError::internal(format!("error creating calico client: {error}")))?;
        let kubernetes = match (&store, conf.text(&["policy", "type"])) {
            (AnyStore::Kubernetes(store), Some("k8s")) => Some(store.clone()),
            (_, Some("k8s")) => {
                Some(setup::connect_kubernetes(&settings, environment).map_err(CniError::internal)?)
            }
            _ => None,
        };
        let backend = match datastore {
            Datastore::Embedded { .. } => Backend::Embedded,
            Datastore::Etcd(_) => Backend::Etcd,
            Datastore::Kubernetes(_) => Backend::Kubernetes,
        };
        // There nobody is to be reached: whoever keeps the file to himself is waited for.
        let patience = if backend == Backend::Embedded { WITHIN } else { REACHED_WITHIN };
        Ok(Request {
            call,
            configuration: document.json().clone(),
            version,
            names,
            labels,
            environment: environment.clone(),
            store: Reached::new(store, clock, patience),
            backend,
            kubernetes: kubernetes.map(|server| Reached::new(server, clock, REACHED_WITHIN)),
            clock,
            log,
            runtime: setup::full_runtime().map_err(CniError::internal)?,
            conf,
        })
    }

    /// Refuses to go on while the datastore is locked, for a migration or an upgrade.
    ///
    /// # Errors
    /// Code 999: it is locked, or does not say.
    pub fn refuse_while_locked(&self) -> Result<(), CniError> {
        self.refuse_while_locked_and_read(ReadSet::new()).map(|_| ())
    }

    /// The same, and reads something in the same step.
    ///
    /// # Errors
    /// As [`Request::refuse_while_locked`].
    pub fn refuse_while_locked_and_read(&self, besides: ReadSet) -> Result<View, CniError> {
        let missed = |reason: &dyn std::fmt::Display| {
            CniError::internal(format!("error getting ClusterInformation: {reason}"))
        };
        let key = cluster_information();
        let set = besides.key(key.clone());
        let store = self.store.server();
        let read = self.wait_for(self.store.look(&set, WITHIN));
        let view = read.and_then(|view| view.insist(&set)).map_err(|error| missed(&error))?;
        let Some((information, _)) = view.resource(&key).flatten() else {
            let told = store.title(&key).map_or("<nil>".to_string(), |title| format!("{title} not found"));
            return Err(missed(&format!(
                "resource does not exist: ClusterInformation(default) with error: {told}"
            )));
        };
        match is_ready(information) {
            true => Ok(view),
            false => Err(CniError::internal("Calico is currently not ready to process requests")),
        }
    }

    /// The pod and its namespace, where Kubernetes is to be asked: side by side.
    ///
    /// # Errors
    /// Code 999: there is no such pod or namespace, or Kubernetes does not say.
    pub fn pod_and_namespace(&self) -> Result<Option<(Json, Json)>, CniError> {
        let Some(kubernetes) = &self.kubernetes else { return Ok(None) };
        let (pod, namespace) = (&self.names.ids.pod, &self.names.namespace);
        let server = kubernetes.server();
        let (pod_found, namespace_found) = self.wait_for(async {
            tokio::join!(
                kubernetes.insist(WITHIN, |within| server.object(ObjectName::pod(namespace, pod), within)),
                kubernetes.insist(WITHIN, |within| server.object(ObjectName::namespace(namespace), within)),
            )
        });
        let absent = |plural: &str, name: &str| CniError::internal(format!("{plural} \"{name}\" not found"));
        let pod = pod_found.map_err(CniError::internal)?.ok_or_else(|| absent("pods", pod))?;
        let namespace =
            namespace_found.map_err(CniError::internal)?.ok_or_else(|| absent("namespaces", namespace))?;
        Ok(Some((pod, namespace)))
    }

    /// The node, from where Kubernetes' nodes are if Kubernetes is to be asked.
    ///
    /// # Errors
    /// Code 999: there is none of that name, or nobody says.
    pub fn node(&self) -> Result<Resource, CniError> {
        let key = Key::global(api::Kind::Node, &*self.names.ids.node);
        let set = ReadSet::new().key(key.clone());
        let view = match &self.kubernetes {
            Some(kubernetes) => self.wait_for(kubernetes.look(&set, WITHIN)),
            None => self.wait_for(self.store.look(&set, WITHIN)),
        };
        let view = view.and_then(|view| view.insist(&set)).map_err(CniError::internal)?;
        let node = view.resource(&key).flatten().map(|(node, _)| node.clone());
        node.ok_or_else(|| {
            CniError::internal(format!("resource does not exist: Node({})", self.names.ids.node))
        })
    }

    /// The key of the endpoint.
    pub fn endpoint_key(&self) -> Key {
        Key::Resource {
            kind: api::Kind::WorkloadEndpoint,
            namespace: Some(self.names.namespace.clone()),
            name: self.names.endpoint.clone(),
        }
    }

    /// The name of the IPAM plugin.
    pub fn ipam_type(&self) -> &str {
        self.conf.text(&["ipam", "type"]).unwrap_or_default()
    }

    /// The MTU: as configured, else as the node agent's file says, else 0 for the kernel's.
    ///
    /// # Errors
    /// Code 999: the file cannot be understood, or is missing where it must not be.
    pub fn mtu(&self) -> Result<u32, CniError> {
        mtu(&self.conf, Path::new(MTU_FILE)).map_err(CniError::internal)
    }

    /// Waits.
    pub fn pause(&self, time: Duration) {
        // A timer is made where the runtime is.
        self.runtime.block_on(async { tokio::time::sleep(time).await });
    }

    /// Waits for something that a server does. No timer is to be made outside of it.
    pub fn wait_for<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}

const MTU_FILE: &str = "/var/lib/calico/mtu";
const LARGEST_MTU_FILE: usize = 4096;

fn mtu(conf: &Conf, file: &Path) -> Result<u32, String> {
    let from_file = match outside::read_text(file, LARGEST_MTU_FILE) {
        Ok(text) => Some(text.trim().parse::<u32>().map_err(|_| {
            format!(
                "failed to read MTU file: {} holds {:?}, which is no number of bytes",
                file.display(),
                outside::cut_short(&text)
            )
        })?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(format!("failed to read MTU file: {}: {error}", file.display())),
    };
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

/// The node agent writes the file of the node's name when the node is ready for containers; without it nothing begins.
fn check_node_name(conf: &Conf) -> Result<(), CniError> {
    if conf.flag(&["nodename_file_optional"]) {
        return Ok(());
    }
    let file = conf.text(&["nodename_file"]).unwrap_or(setup::DEFAULT_NODENAME_FILE);
    match fs::metadata(file) {
        Ok(_) => Ok(()),
        Err(error) => {
            let reason = match error.kind() {
                io::ErrorKind::NotFound => "no such file or directory".to_string(),
                io::ErrorKind::PermissionDenied => "permission denied".to_string(),
                _ => error.to_string(),
            };
            Err(CniError::internal(format!(
                "stat {file}: {reason}: check that the calico/node container is running and has mounted /var/lib/calico/"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(text: &str) -> Conf {
        Document::parse(text.as_bytes()).unwrap().conf().unwrap()
    }

    #[test]
    fn the_mtu() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("mtu");
        assert_eq!(mtu(&conf(r#"{"name":"n"}"#), &file), Ok(0));
        assert_eq!(mtu(&conf(r#"{"name":"n","mtu":1400}"#), &file), Ok(1400));
        assert!(mtu(&conf(r#"{"name":"n","require_mtu_file":true}"#), &file).is_err());
        fs::write(&file, "1450\n").unwrap();
        assert_eq!(mtu(&conf(r#"{"name":"n","require_mtu_file":true}"#), &file), Ok(1450));
        assert_eq!(mtu(&conf(r#"{"name":"n","mtu":1400}"#), &file), Ok(1400));
        assert!(mtu(&conf(r#"{"name":"n","mtu":-1}"#), &file).is_err());
        fs::write(&file, "x").unwrap();
        assert!(mtu(&conf(r#"{"name":"n"}"#), &file).unwrap_err().contains("\"x\""));
    }

    /// The end of the text is recorded.
    #[test]
    fn nothing_begins_without_the_nodes_name() {
        let error = check_node_name(&conf(r#"{"name":"n","nodename_file":"/nowhere/x"}"#)).unwrap_err();
        assert!(error.msg.starts_with("stat /nowhere/x: no such file or directory: check that"), "{error:?}");
        let optional = r#"{"name":"n","nodename_file":"/nowhere/x","nodename_file_optional":true}"#;
        assert!(check_node_name(&conf(optional)).is_ok());
    }
}
