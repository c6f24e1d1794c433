//! Where etcd is, and how this client proves its identity.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use etcd_client::{Certificate, Identity, TlsOptions};
use tonic::transport::{Endpoint, Uri};

use crate::error::StoreError;
use crate::pem::Pem;
use crate::url::fault_of;

/// Certificates for `https` endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EtcdCertificates {
    /// The authorities that sign the servers' certificates; `None` for the public authorities.
    pub ca: Option<Pem>,
    /// The client's certificate, followed by the intermediate certificates up to its authority.
    pub cert: Option<Pem>,
    /// The client's key.
    pub key: Option<Pem>,
}

/// Where DNS names the members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// The domain of the records `_etcd-client-ssl._tcp` and `_etcd-client._tcp`.
    pub domain: String,
    /// The DNS server to ask; `None` for the system's servers.
    pub name_server: Option<SocketAddr>,
}

/// How to reach etcd.
#[derive(Clone, PartialEq, Eq)]
pub struct EtcdOptions {
    /// The URLs of members, such as `http://10.0.0.1:2379`. A URL without a scheme is https where `tls` is
    /// set, else http.
    pub endpoints: Vec<String>,
    /// Where to look the members up when `endpoints` is empty.
    pub discovery: Option<Discovery>,
    /// The user's name and password. Secret.
    pub user: Option<(String, String)>,
    /// Certificates and keys, for `https` endpoints.
    pub tls: EtcdCertificates,
    /// How long to wait for a connection. The call's own deadline may end the wait earlier.
    pub connect_within: Duration,
    /// How long a server may bring nothing until the call ends. Where this is set, the time that callers give
    /// does not end calls. It does not apply to watches.
    pub silence: Option<Duration>,
    /// Applies while a request or a watch waits for an answer. After the first duration of silence the client
    /// asks whether the member is alive; after the second without a reply it gives up. Members close a
    /// connection on which a client asks more often than every 5 seconds.
    pub keep_alive: (Duration, Duration),
    /// The index of the first endpoint to ask, modulo their number. Processes with different indexes spread
    /// the load.
    pub first: usize,
}

impl Default for EtcdOptions {
    fn default() -> Self {
        EtcdOptions {
            endpoints: Vec::new(),
            discovery: None,
            user: None,
            tls: EtcdCertificates::default(),
            connect_within: Duration::from_secs(10),
            silence: None,
            keep_alive: (Duration::from_secs(10), Duration::from_secs(5)),
            first: 0,
        }
    }
}

/// Leaves out the password, and the endpoints, which may contain one.
impl fmt::Debug for EtcdOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("user", &self.user.as_ref().map(|(name, _)| name))
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

fn unusable(text: String) -> StoreError {
    StoreError::Unusable(text)
}

impl EtcdCertificates {
    fn is_default(&self) -> bool {
        *self == EtcdCertificates::default()
    }

    /// Reads all files and makes etcd's client's settings of them.
    pub(super) fn load(&self) -> Result<TlsOptions, StoreError> {
        let mut tls = TlsOptions::new();
        tls = match &self.ca {
            Some(ca) => {
                tls.ca_certificate(Certificate::from_pem(ca.text("the CA certificate", "CERTIFICATE")?))
            }
            None => tls.with_webpki_roots(),
        };
        match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                let cert = cert.text("the client certificate", "CERTIFICATE")?;
                let key = key.text("the client key", "PRIVATE KEY")?;
                Ok(tls.identity(Identity::from_pem(cert, key)))
            }
            (None, None) => Ok(tls),
            (Some(_), None) => {
                Err(unusable("a client certificate is given for etcd, but no client key".to_string()))
            }
            (None, Some(_)) => {
                Err(unusable("a client key is given for etcd, but no client certificate".to_string()))
            }
        }
    }
}

impl EtcdOptions {
    /// Parses an endpoint's URL. Gives the URL without user and path, as messages may show it, and the
    /// endpoint. `index` is the place of the URL in the list.
    pub(super) fn endpoint(
        &self,
        index: usize,
        url: &str,
        tls: &TlsOptions,
    ) -> Result<(String, Endpoint), StoreError> {
        let scheme = if self.tls.is_default() { "http" } else { "https" };
        let whole = if url.contains("://") { url.to_string() } else { format!("{scheme}://{url}") };
        let wrong =
            |reason: &str| unusable(format!("{reason}. An etcd endpoint looks like http://10.0.0.1:2379"));
        // The list is separated by commas, and a password may contain one: then this text may be the rest of
        // a password, and the text before it the beginning.
        let is_rest = index > 0 && url.contains('@') && !url.contains("://");
        let is_rest = is_rest.then_some(
            "it has a user, but no http:// or https:// before it; in a password write %2C for a comma",
        );
        if let Some(why) = is_rest.or_else(|| fault_of(url)) {
            return Err(wrong(&format!(
                "endpoint {} of etcd (etcdEndpoints, ETCD_ENDPOINTS, etcd_endpoints) is no URL: {why}",
                index + 1
            )));
        }
        let uri: Uri = whole.parse().map_err(|_| wrong("an etcd endpoint is no URL"))?;
        let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else {
            return Err(wrong("an etcd endpoint names no host"));
        };
        let port = uri.port_u16().map_or(String::new(), |port| format!(":{port}"));
        let shown = format!("{scheme}://{host}{port}");
        if !["http", "https"].contains(&scheme) {
            return Err(wrong(&format!("the etcd endpoint {shown} is neither http nor https")));
        }
        let mut endpoint =
            Endpoint::from(shown.parse::<Uri>().map_err(|_| wrong("an etcd endpoint is no URL"))?)
                .connect_timeout(self.connect_within)
                .tcp_nodelay(true)
                .http2_keep_alive_interval(self.keep_alive.0)
                .keep_alive_timeout(self.keep_alive.1)
                .keep_alive_while_idle(false)
                // A whole scope comes in one answer: a small window would make it slow.
                .initial_stream_window_size(4 << 20)
                .initial_connection_window_size(8 << 20);
        if scheme == "https" {
            // The error's own reason is left out, as it may quote the key.
            endpoint = endpoint.tls_config(tls.clone()).map_err(|_| {
                unusable("the certificates given for etcd cannot be used (etcdCACertFile, etcdCertFile, etcdKeyFile): one of them is damaged, or the key is not the certificate's".to_string())
            })?;
        }
        Ok((shown, endpoint))
    }
}
