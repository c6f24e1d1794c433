//! The chosen store, with the settings to reach it.

use std::path::PathBuf;

use api::capability::Backend;

use crate::settings::shown_urls;

/// The chosen store, with the settings to reach it.
#[derive(Clone, Debug, PartialEq)]
pub enum Datastore {
    /// The embedded store: a file of rackpool's own.
    Embedded {
        /// The path of the file.
        path: PathBuf,
        /// What chose this file, as a phrase for messages: `RACKPOOL_DB = "/x"`, `the default for root`.
        chosen_by: String,
    },
    /// etcd.
    Etcd(EtcdSettings),
    /// The Kubernetes API server.
    Kubernetes(KubernetesSettings),
}

/// Keys and certificates, each as a path or as a PEM text.
#[derive(Clone, Default, PartialEq)]
pub struct TlsSettings {
    /// The client's key.
    pub key: Option<String>,
    /// The client's certificate.
    pub cert: Option<String>,
    /// The authority that signs the server's certificate.
    pub ca: Option<String>,
    /// Whether the three are PEM texts; else they are paths.
    pub inline: bool,
}

/// Shows paths, and of PEM texts only that they are there.
impl std::fmt::Debug for TlsSettings {
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
    /// The URLs as the user wrote them; empty when `discovery_srv` is set.
    pub endpoints: Vec<String>,
    /// The domain whose SRV records name the members.
    pub discovery_srv: Option<String>,
    /// The user's name.
    pub username: Option<String>,
    /// The user's password. Secret.
    pub password: Option<String>,
    /// Keys and certificates.
    pub tls: TlsSettings,
    /// What chose etcd, as a phrase for messages.
    pub chosen_by: String,
}

/// Leaves out the password, and the endpoints, which may contain one.
impl std::fmt::Debug for EtcdSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EtcdSettings")
            .field("discovery_srv", &self.discovery_srv)
            .field("tls", &self.tls)
            .field("chosen_by", &self.chosen_by)
            .finish_non_exhaustive()
    }
}

/// The proxies that the environment names. Secret: each URL may hold a password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ProxySettings {
    /// For servers that are reached by https.
    pub https: Option<String>,
    /// For servers that are reached by http.
    pub http: Option<String>,
    /// What is reached without a proxy.
    pub no: Option<String>,
}

/// How to reach the Kubernetes API server.
#[derive(Clone, PartialEq)]
pub struct KubernetesSettings {
    /// The path of a kubeconfig, or several with `:` between them.
    pub kubeconfig: Option<String>,
    /// The text of a kubeconfig. Secret.
    pub kubeconfig_inline: Option<String>,
    /// `$HOME/.kube/config`. It is used when the settings name neither a kubeconfig nor an endpoint and the
    /// file exists; where it does not exist, `in_cluster` is used.
    pub default_kubeconfig: Option<PathBuf>,
    /// Host and port of the API server of the cluster in which the process runs.
    pub in_cluster: Option<(String, String)>,
    /// The context of the kubeconfig; `None` for its current one.
    pub context: Option<String>,
    /// The URL of the API server.
    pub endpoint: Option<String>,
    /// Keys and certificates.
    pub tls: TlsSettings,
    /// A bearer token. Secret.
    pub token: Option<String>,
    /// Turns the check of the server's certificate off.
    pub insecure_skip_tls_verify: bool,
    /// How many requests a second are allowed; `None` for the default.
    pub qps: Option<f32>,
    /// How many requests are allowed at once; `None` for the default.
    pub burst: Option<u32>,
    /// `crd.projectcalico.org/v1` or `projectcalico.org/v3`, in upper or lower case; `None` to find it out
    /// from the server.
    pub api_group: Option<String>,
    /// The proxies that the environment names; a kubeconfig's own goes before them.
    pub proxies: Box<ProxySettings>,
    /// The prefix of the names of pods' interfaces on their hosts.
    pub interface_prefix: String,
    /// Calico's `k8sDisableNodePoll`: whether its programs do not poll nodes.
    pub disable_node_poll: bool,
    /// Calico's `k8sUsePodCIDR`: whether pools are made from the nodes' pod CIDRs.
    pub use_pod_cidr: bool,
    /// What chose Kubernetes, as a phrase for messages.
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

/// Leaves out secrets.
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
    /// The kind of store.
    pub fn backend(&self) -> Backend {
        match self {
            Datastore::Embedded { .. } => Backend::Embedded,
            Datastore::Etcd(_) => Backend::Etcd,
            Datastore::Kubernetes(_) => Backend::Kubernetes,
        }
    }

    /// The kind of store, as settings spell it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Datastore::Embedded { .. } => "embedded",
            Datastore::Etcd(_) => "etcdv3",
            Datastore::Kubernetes(_) => "kubernetes",
        }
    }

    /// The store and where it is, for messages: `etcd at http://10.0.0.1:2379`. Users and passwords in URLs
    /// are left out.
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

    /// What chose the store, as a phrase for messages: `ETCD_ENDPOINTS = "http://10.0.0.1:2379"`.
    pub fn chosen_by(&self) -> &str {
        match self {
            Datastore::Embedded { chosen_by, .. } => chosen_by,
            Datastore::Etcd(settings) => &settings.chosen_by,
            Datastore::Kubernetes(settings) => &settings.chosen_by,
        }
    }
}
