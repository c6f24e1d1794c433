//! Where the API server is, and how to prove who one is.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use api::crd::Group;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::Config;
use kube::config::Kubeconfig as KubeconfigFile;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::error::StoreError;
use crate::pem::{Pem, unread};

/// A kubeconfig.
#[derive(Clone, PartialEq, Eq)]
pub enum Kubeconfig {
    /// In those files: what one says holds over what later ones say. Of several, those that do not exist are left out.
    Files(Vec<PathBuf>),
    /// The text itself. Secret.
    Inline(String),
}

impl fmt::Debug for Kubeconfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kubeconfig::Files(paths) => paths.fmt(f),
            Kubeconfig::Inline(_) => f.write_str("<inline>"),
        }
    }
}

/// The cluster that the process runs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InCluster {
    /// The API server's host.
    pub host: String,
    /// Its port.
    pub port: String,
    /// Where the service account's `token` and `ca.crt` are.
    pub directory: PathBuf,
}

impl InCluster {
    /// The API server at that host and port, with the service account that Kubernetes gives to pods.
    pub fn new(host: impl Into<String>, port: impl Into<String>) -> InCluster {
        let directory = PathBuf::from("/var/run/secrets/kubernetes.io/serviceaccount");
        InCluster { host: host.into(), port: port.into(), directory }
    }
}

/// How blocks, affinities and handles are deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deletion {
    /// As Calico does: flagged by a PUT, then removed.
    #[default]
    TwoPhase,
    /// By one DELETE that holds only for the expected state.
    Atomic,
}

/// How to reach the API server.
#[derive(Clone, PartialEq)]
pub struct Options {
    /// A kubeconfig.
    pub kubeconfig: Option<Kubeconfig>,
    /// The context of the kubeconfig; `None` for its current one.
    pub context: Option<String>,
    /// Where neither a kubeconfig nor an endpoint is given.
    pub in_cluster: Option<InCluster>,
    /// The server's URL; holds over the kubeconfig's, as do the next five.
    pub endpoint: Option<String>,
    /// A bearer token. Secret.
    pub token: Option<String>,
    /// The authorities that the server's certificate is checked against. Where none is given anywhere, those of the system.
    pub ca: Option<Pem>,
    /// The client's certificate, with those between it and its authority.
    pub cert: Option<Pem>,
    /// The client's key.
    pub key: Option<Pem>,
    /// Whether not to check the server's certificate.
    pub insecure: bool,
    /// The group that holds the custom resources; `None` to ask the server.
    pub group: Option<Group>,
    /// Requests a second on average, and at once; `None` for no limit but the server's own.
    pub pace: Option<(f32, u32)>,
    /// How long to wait for a connection, where a call allows that long.
    pub connect_within: Duration,
    /// How names of interfaces on hosts begin.
    pub interface_prefix: String,
    /// How records are deleted.
    pub deletion: Deletion,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            kubeconfig: None,
            context: None,
            in_cluster: None,
            endpoint: None,
            token: None,
            ca: None,
            cert: None,
            key: None,
            insecure: false,
            group: None,
            pace: None,
            connect_within: Duration::from_secs(10),
            interface_prefix: "cali".to_string(),
            deletion: Deletion::default(),
        }
    }
}

/// Leaves secrets out, and the endpoint, which may hold one.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("kubeconfig", &self.kubeconfig)
            .field("context", &self.context)
            .field("in_cluster", &self.in_cluster)
            .field("ca", &self.ca)
            .field("cert", &self.cert)
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

fn unusable(text: impl fmt::Display) -> StoreError {
    StoreError::Unusable(text.to_string())
}

/// A file that could not be read.
/// The certificates of a PEM text.
fn certificates(text: &str, place: &str) -> Result<Vec<Vec<u8>>, StoreError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let all = all.map_err(|error| unusable(format!("{place} is no certificate: {error}")))?;
    Ok(all.into_iter().map(|der| der.to_vec()).collect())
}

impl Options {
    /// The connection's settings, all files read.
    pub(super) fn config(&self) -> Result<Config, StoreError> {
        let mut config = match (&self.kubeconfig, &self.endpoint, &self.in_cluster) {
            (Some(kubeconfig), ..) => self.read_kubeconfig(kubeconfig)?,
            (None, Some(endpoint), _) => Config::new(url(endpoint)?),
            (None, None, Some(cluster)) => in_cluster(cluster)?,
            (None, None, None) => {
                return Err(unusable(
                    "no Kubernetes API server is named: give a kubeconfig (KUBECONFIG) or an endpoint (K8S_API_ENDPOINT), or run in a pod of the cluster",
                ));
            }
        };
        if let Some(endpoint) = &self.endpoint {
            config.cluster_url = url(endpoint)?;
        }
        if let Some(token) = &self.token {
            config.auth_info.token = Some(token.trim().to_string().into());
            config.auth_info.token_file = None;
        }
        if let Some(ca) = &self.ca {
            let name = "the CA certificate, K8S_CA_FILE";
            config.root_cert = Some(certificates(&ca.text(name, "CERTIFICATE")?, name)?);
        }
        match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                let cert = cert.text("the client certificate, K8S_CERT_FILE", "CERTIFICATE")?;
                let key = key.text("the client key, K8S_KEY_FILE", "PRIVATE KEY")?;
                config.auth_info.client_certificate_data = Some(STANDARD.encode(cert));
                config.auth_info.client_key_data = Some(STANDARD.encode(key).into());
            }
            (None, None) => {}
            _ => {
                return Err(unusable(
                    "of the client's certificate and key for the Kubernetes API server only one is given (K8S_CERT_FILE, K8S_KEY_FILE)",
                ));
            }
        }
        config.accept_invalid_certs |= self.insecure;
        Ok(config)
    }

    fn read_kubeconfig(&self, kubeconfig: &Kubeconfig) -> Result<Config, StoreError> {
        let mut merged = match kubeconfig {
            Kubeconfig::Inline(text) => KubeconfigFile::from_yaml(text)
                .map_err(|error| unusable(format!("the kubeconfig given as text: {error}")))?,
            Kubeconfig::Files(paths) => read_files(paths)?,
        };
        if let Some(context) = &self.context {
            if !merged.contexts.iter().any(|known| known.name == *context) {
                let known: Vec<_> = merged.contexts.iter().map(|context| context.name.as_str()).collect();
                return Err(unusable(format!(
                    "the kubeconfig has no context {context:?} (K8S_CURRENT_CONTEXT); it has {}",
                    known.join(", ")
                )));
            }
            merged.current_context = Some(context.clone());
        }
        if let Some(proxy) = proxy(&merged) {
            return Err(unusable(format!(
                "{kubeconfig:?} leads to the Kubernetes API server through the proxy {proxy} (proxy-url), which is not supported yet. Name a server that is reached directly"
            )));
        }
        Config::try_from(merged).map_err(|error| {
            unusable(format!(
                "{kubeconfig:?} names no Kubernetes API server: {}",
                super::fault::chain(&error)
            ))
        })
    }
}

/// The proxy before the server of the current context. (One that the environment names is not taken.)
fn proxy(kubeconfig: &KubeconfigFile) -> Option<&str> {
    let name = kubeconfig.current_context.as_ref()?;
    let context = kubeconfig.contexts.iter().find(|context| context.name == *name)?.context.as_ref()?;
    let cluster = kubeconfig.clusters.iter().find(|cluster| cluster.name == context.cluster)?;
    cluster.cluster.as_ref()?.proxy_url.as_deref().filter(|proxy| !proxy.is_empty())
}

fn read_files(paths: &[PathBuf]) -> Result<KubeconfigFile, StoreError> {
    let mut merged: Option<KubeconfigFile> = None;
    for path in paths {
        if paths.len() > 1 && !path.exists() {
            continue;
        }
        if let Err(error) = std::fs::File::open(path) {
            return Err(unread(&format!("the kubeconfig {}", path.display()), &error));
        }
        let wrong = |error: kube::config::KubeconfigError| {
            let why = super::fault::chain(&error);
            unusable(format!("the kubeconfig {} cannot be understood: {why}", path.display()))
        };
        let file = KubeconfigFile::read_from(path).map_err(wrong)?;
        merged = Some(match merged {
            None => file,
            Some(first) => first.merge(file).map_err(wrong)?,
        });
    }
    merged.ok_or_else(|| unusable(format!("none of the kubeconfigs {paths:?} exists")))
}

fn in_cluster(cluster: &InCluster) -> Result<Config, StoreError> {
    let host = if cluster.host.contains(':') { format!("[{}]", cluster.host) } else { cluster.host.clone() };
    let mut config = Config::new(url(&format!("https://{host}:{}", cluster.port))?);
    let (ca, token) = (cluster.directory.join("ca.crt"), cluster.directory.join("token"));
    let remedy = "the pod's service account is not mounted (automountServiceAccountToken)";
    for file in [&ca, &token] {
        std::fs::File::open(file)
            .map_err(|error| unread(&format!("{} ({remedy})", file.display()), &error))?;
    }
    let place = ca.display().to_string();
    let text = Pem::File(ca.clone()).text("the cluster's CA certificate", "CERTIFICATE")?;
    config.root_cert = Some(certificates(&text, &place)?);
    config.root_cert_file = Some(ca);
    config.auth_info.token_file = Some(token.display().to_string());
    Ok(config)
}

fn url(text: &str) -> Result<http::Uri, StoreError> {
    let whole = if text.contains("://") { text.to_string() } else { format!("https://{text}") };
    let uri: Option<http::Uri> = whole.parse().ok();
    let is_good = |uri: &http::Uri| {
        uri.host().is_some_and(|host| !host.is_empty())
            && ["http", "https"].contains(&uri.scheme_str().unwrap_or_default())
    };
    uri.filter(is_good).ok_or_else(|| {
        unusable("the endpoint of the Kubernetes API server (K8S_API_ENDPOINT) is no URL. It looks like https://10.0.0.1:6443")
    })
}
