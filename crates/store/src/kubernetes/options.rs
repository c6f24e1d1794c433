//! Where the API server is, and how this client proves its identity.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use api::crd::Group;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::Config;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::credentials::Credentials;
use super::kubeconfig;
use crate::error::StoreError;
use crate::pem::Pem;
use crate::url::fault_of;

/// Where a kubeconfig is.
#[derive(Clone, PartialEq, Eq)]
pub enum Kubeconfig {
    /// Files. Where several define the same, the first counts. Of several files, those that do not exist are
    /// left out.
    Files(Vec<PathBuf>),
    /// The text of a kubeconfig. Secret.
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
    /// The API server's port.
    pub port: String,
    /// Where the service account's `token` and `ca.crt` are.
    pub directory: PathBuf,
}

impl InCluster {
    /// The API server at that host and port, with the service account that Kubernetes gives to every pod.
    pub fn new(host: impl Into<String>, port: impl Into<String>) -> InCluster {
        let directory = PathBuf::from("/var/run/secrets/kubernetes.io/serviceaccount");
        InCluster { host: host.into(), port: port.into(), directory }
    }
}

/// The proxies that the environment names, for servers to which the kubeconfig names no way. Secret: each URL
/// may hold a password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// `HTTPS_PROXY`: for servers that are reached by https.
    pub https: Option<String>,
    /// `HTTP_PROXY`: for servers that are reached by http.
    pub http: Option<String>,
    /// `NO_PROXY`: the hosts, domains and networks that are reached directly.
    pub no: Option<String>,
}

/// How blocks, affinities and handles are deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deletion {
    /// As Calico does: a PUT flags the record, then a DELETE removes it.
    #[default]
    TwoPhase,
    /// One DELETE that the server carries out only on the expected state.
    Atomic,
}

/// How to reach the API server.
#[derive(Clone, PartialEq)]
pub struct KubeOptions {
    /// The kubeconfig to read.
    pub kubeconfig: Option<Kubeconfig>,
    /// The context of the kubeconfig; `None` for its current one.
    pub context: Option<String>,
    /// Used where neither a kubeconfig nor an endpoint is given.
    pub in_cluster: Option<InCluster>,
    /// The server's URL. This and the next five fields override the kubeconfig.
    pub endpoint: Option<String>,
    /// A bearer token. Secret.
    pub token: Option<String>,
    /// The authorities that sign the server's certificate; where neither this nor the kubeconfig names any,
    /// the system's.
    pub ca: Option<Pem>,
    /// The client's certificate, followed by the intermediate certificates up to its authority.
    pub cert: Option<Pem>,
    /// The client's key.
    pub key: Option<Pem>,
    /// Turns the check of the server's certificate off.
    pub insecure: bool,
    /// The proxies that the environment names.
    pub proxies: Proxies,
    /// The group that holds the custom resources; `None` to find it out from the server.
    pub group: Option<Group>,
    /// A limit on requests: how many per second on average, and how many at once; `None` for no limit but the
    /// server's own.
    pub pace: Option<(f32, u32)>,
    /// How long to wait for a connection. The call's own deadline may end the wait earlier.
    pub connect_within: Duration,
    /// How long the server may bring nothing until the call ends. Where this is set, the time that callers
    /// give does not end calls. It does not apply to watches.
    pub silence: Option<Duration>,
    /// The prefix of the names of the workloads' interfaces on hosts.
    pub interface_prefix: String,
    /// How records are deleted.
    pub deletion: Deletion,
}

impl Default for KubeOptions {
    fn default() -> Self {
        KubeOptions {
            kubeconfig: None,
            context: None,
            in_cluster: None,
            endpoint: None,
            token: None,
            ca: None,
            cert: None,
            key: None,
            insecure: false,
            proxies: Proxies::default(),
            group: None,
            pace: None,
            connect_within: Duration::from_secs(10),
            silence: None,
            interface_prefix: "cali".to_string(),
            deletion: Deletion::default(),
        }
    }
}

/// Leaves out secrets, and the endpoint, which may contain one.
impl fmt::Debug for KubeOptions {
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

pub(super) fn unusable(text: impl fmt::Display) -> StoreError {
    StoreError::Unusable(text.to_string())
}

/// The certificates of a PEM text. The error leaves out the parser's message, which quotes the text.
pub(super) fn certificates(text: &str, place: &str) -> Result<Vec<Vec<u8>>, StoreError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all.into_iter().map(|der| der.to_vec()).collect()),
        _ => Err(unusable(format!("{place} holds no certificate in PEM form, or a damaged one"))),
    }
}

impl KubeOptions {
    /// Reads all files. Gives the connection's settings, and the credentials of requests.
    pub(super) fn config(&self) -> Result<(Config, Credentials), StoreError> {
        let (mut config, mut credentials) = match (&self.kubeconfig, &self.endpoint, &self.in_cluster) {
            (Some(kubeconfig), ..) => kubeconfig::read(kubeconfig, self.context.as_deref())?,
            (None, Some(endpoint), _) => (Config::new(endpoint_url(endpoint)?), Credentials::default()),
            (None, None, Some(cluster)) => in_cluster(cluster)?,
            (None, None, None) => {
                return Err(unusable(
                    "no Kubernetes API server is named: give a kubeconfig (KUBECONFIG) or an endpoint (K8S_API_ENDPOINT), or run in a pod of the cluster",
                ));
            }
        };
        if let Some(endpoint) = &self.endpoint {
            config.cluster_url = endpoint_url(endpoint)?;
        }
        if let Some(token) = &self.token {
            credentials = Credentials::token(token, "the token (k8sAPIToken, CALICO_K8SAPITOKEN)")?;
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
        Ok((config, credentials))
    }
}

fn in_cluster(cluster: &InCluster) -> Result<(Config, Credentials), StoreError> {
    let host = if cluster.host.contains(':') { format!("[{}]", cluster.host) } else { cluster.host.clone() };
    let mut config = Config::new(endpoint_url(&format!("https://{host}:{}", cluster.port))?);
    let (ca, token) = (cluster.directory.join("ca.crt"), cluster.directory.join("token"));
    let remedy = "the pod's service account is not mounted (automountServiceAccountToken)";
    let place = format!("{} ({remedy})", ca.display());
    let text = Pem::File(ca).text(remedy, "CERTIFICATE")?;
    config.root_cert = Some(certificates(&text, &place)?);
    let place = format!("{} ({remedy})", token.display());
    Ok((config, Credentials::file(token, &place)?))
}

fn endpoint_url(text: &str) -> Result<http::Uri, StoreError> {
    url(text).ok_or_else(|| {
        let why = why_no_url(text);
        unusable(format!("the endpoint of the Kubernetes API server (k8sAPIEndpoint, K8S_API_ENDPOINT, k8s_api_root) is no URL{why}. It looks like https://10.0.0.1:6443"))
    })
}

/// Why a text is no URL, as an addition in parentheses; empty where no reason is known.
pub(super) fn why_no_url(text: &str) -> String {
    fault_of(text.trim()).map_or(String::new(), |why| format!(" ({why})"))
}

/// A server's URL; one without a scheme is https. (client-go takes http where no certificate is given, and
/// would send a token unencrypted.)
pub(super) fn url(text: &str) -> Option<http::Uri> {
    let text = text.trim();
    let whole = if text.contains("://") { text.to_string() } else { format!("https://{text}") };
    let uri: http::Uri = whole.parse().ok()?;
    // An address of IPv6 stands in brackets as a whole, and it alone has a zone, behind a %.
    let is_host = |host: &str| match host.contains(['[', ']']) {
        true => host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).is_some_and(is_v6),
        false => !host.is_empty() && !host.contains('%'),
    };
    let is_good = fault_of(text).is_none()
        && uri.host().is_some_and(is_host)
        && ["http", "https"].contains(&uri.scheme_str().unwrap_or_default());
    is_good.then_some(uri)
}

/// Whether a text is an address of IPv6, which may have a zone.
fn is_v6(text: &str) -> bool {
    text.split('%').next().unwrap_or_default().parse::<std::net::Ipv6Addr>().is_ok()
}

/// Scheme, host and port of a URL. The URL may also hold a user and a password, which are left out.
pub(super) fn authority_of(text: &str) -> Option<String> {
    let uri = url(text)?;
    let port = uri.port_u16().map_or(String::new(), |port| format!(":{port}"));
    Some(format!("{}://{}{port}", uri.scheme_str()?, uri.host()?))
}
