//! A store that was chosen, with all that is needed to reach it.

use std::path::PathBuf;

use api::capability::Backend;

use crate::settings::shown_urls;

/// The store that was chosen, with all that is needed to reach it.
#[derive(Clone, Debug, PartialEq)]
pub enum Datastore {
    /// rackpool's own, a file.
    Embedded {
        /// The file.
        path: PathBuf,
        /// What chose that file, as a clause: `RACKPOOL_DB = "/x"`, `the default for root`.
        chosen_by: String,
    },
    /// etcd.
    Etcd(EtcdSettings),
    /// The Kubernetes API server.
    Kubernetes(KubernetesSettings),
}

/// Keys and certificates, as files or in place (PEM).
#[derive(Clone, Default, PartialEq)]
pub struct Tls {
    /// The client's key.
    pub key: Option<String>,
    /// The client's certificate.
    pub cert: Option<String>,
    /// The authority that the server's certificate is checked against.
    pub ca: Option<String>,
    /// Whether the three are PEM texts, not paths.
    pub inline: bool,
}

/// Shows paths; PEM texts only as present.
impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |text: &Option<String>| match text {
            Some(_) if self.inline => Some("<inline>".to_string()),
            other => other.clone(),
        };
        f.debug_struct("Tls")
            .field("key", &shown(&self.key))
            .field("cert", &shown(&self.cert))
            .field("ca", &shown(&self.ca))
            .finish()
    }
}

/// How to reach etcd.
#[derive(Clone, PartialEq)]
pub struct EtcdSettings {
    /// URLs, as they were written; empty when `discovery_srv` is set.
    pub endpoints: Vec<String>,
    /// The domain whose SRV records name the members.
    pub discovery_srv: Option<String>,
    /// The user.
    pub username: Option<String>,
    /// Its password. Secret.
    pub password: Option<String>,
    /// Keys and certificates.
    pub tls: Tls,
    /// What chose etcd.
    pub chosen_by: String,
}

/// Leaves the password out, and the endpoints, which may hold one.
impl std::fmt::Debug for EtcdSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EtcdSettings")
            .field("discovery_srv", &self.discovery_srv)
            .field("tls", &self.tls)
            .field("chosen_by", &self.chosen_by)
            .finish_non_exhaustive()
    }
}

/// How to reach the Kubernetes API server.
#[derive(Clone, PartialEq)]
pub struct KubernetesSettings {
    /// A kubeconfig's path, or several with `:` between.
    pub kubeconfig: Option<String>,
    /// A kubeconfig's text. Secret.
    pub kubeconfig_inline: Option<String>,
    /// `$HOME/.kube/config`, to be taken when neither kubeconfig nor endpoint is given and the file exists; else the cluster that the process runs in.
    pub default_kubeconfig: Option<PathBuf>,
    /// Host and port of the API server of the cluster that the process runs in.
    pub in_cluster: Option<(String, String)>,
    /// The context of the kubeconfig; `None` for its own choice.
    pub context: Option<String>,
    /// The server's URL.
    pub endpoint: Option<String>,
    /// Keys and certificates.
    pub tls: Tls,
    /// A bearer token. Secret.
    pub token: Option<String>,
    /// Whether not to check the server's certificate.
    pub insecure_skip_tls_verify: bool,
    /// Requests a second; `None` for the client's default.
    pub qps: Option<f32>,
    /// Requests at once; `None` for the client's default.
    pub burst: Option<u32>,
    /// `crd.projectcalico.org/v1` or `projectcalico.org/v3`, in any case; `None` to ask the server.
    pub api_group: Option<String>,
    /// How names of pods' interfaces on their hosts begin.
    pub interface_prefix: String,
    /// Whether nodes are not polled.
    pub disable_node_poll: bool,
    /// Whether pools are made of the nodes' pod CIDRs.
    pub use_pod_cidr: bool,
    /// What chose Kubernetes.
    pub chosen_by: String,
}

impl KubernetesSettings {
    fn place(&self) -> String {
        if let Some(url) = &self.endpoint {
            return format!("the Kubernetes API server at {}", shown_urls(url).join(","));
        }
        match (&self.kubeconfig_inline, &self.kubeconfig, &self.in_cluster) {
            (Some(_), ..) => "Kubernetes, by a kubeconfig given as text".to_string(),
            (None, Some(path), _) => format!("Kubernetes, by the kubeconfig {path}"),
            (None, None, Some((host, port))) => format!("the Kubernetes API server at {host}:{port}"),
            (None, None, None) => format!("Kubernetes, chosen by {}", self.chosen_by),
        }
    }
}

/// Leaves secrets out.
impl std::fmt::Debug for KubernetesSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KubernetesSettings")
            .field("kubeconfig", &self.kubeconfig)
            .field("context", &self.context)
            .field("tls", &self.tls)
            .field("api_group", &self.api_group)
            .field("chosen_by", &self.chosen_by)
            .finish_non_exhaustive()
    }
}

impl Datastore {
    /// Where its records are.
    pub fn backend(&self) -> Backend {
        match self {
            Datastore::Embedded { .. } => Backend::Embedded,
            Datastore::Etcd(_) => Backend::Etcd,
            Datastore::Kubernetes(_) => Backend::Kubernetes,
        }
    }

    /// The type, as settings spell it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Datastore::Embedded { .. } => "embedded",
            Datastore::Etcd(_) => "etcdv3",
            Datastore::Kubernetes(_) => "kubernetes",
        }
    }

    /// The store and where it is, for messages: `etcd at http://10.0.0.1:2379`. Names and passwords in URLs are left out.
    pub fn place(&self) -> String {
        match self {
            Datastore::Embedded { path, .. } => format!("the embedded store {}", path.display()),
            Datastore::Etcd(EtcdSettings { discovery_srv: Some(domain), .. }) => {
                format!("etcd, named in DNS for {domain}")
            }
            Datastore::Etcd(EtcdSettings { endpoints, .. }) => {
                format!("etcd at {}", shown_urls(&endpoints.join(",")).join(", "))
            }
            Datastore::Kubernetes(settings) => settings.place(),
        }
    }

    /// What chose it, as a clause: `ETCD_ENDPOINTS = "http://10.0.0.1:2379"`.
    pub fn chosen_by(&self) -> &str {
        match self {
            Datastore::Embedded { chosen_by, .. } => chosen_by,
            Datastore::Etcd(settings) => &settings.chosen_by,
            Datastore::Kubernetes(settings) => &settings.chosen_by,
        }
    }
}
