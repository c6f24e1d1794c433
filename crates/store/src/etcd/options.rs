//! Where etcd is, and how to prove who one is.

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
pub struct Tls {
    /// The authorities that the servers' certificates are checked against; `None` for the public ones.
    pub ca: Option<Pem>,
    /// The client's certificate, with those between it and its authority.
    pub cert: Option<Pem>,
    /// The client's key.
    pub key: Option<Pem>,
}

/// Members that are named by DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// The domain of the records `_etcd-client-ssl._tcp` and `_etcd-client._tcp`.
    pub domain: String,
    /// The DNS server to ask; `None` for those of the system.
    pub name_server: Option<SocketAddr>,
}

/// How to reach etcd.
#[derive(Clone, PartialEq, Eq)]
pub struct Options {
    /// URLs of members: `http://10.0.0.1:2379`. Without a scheme it is https where `tls` says anything, else http.
    pub endpoints: Vec<String>,
    /// Where the members are named, when `endpoints` is empty.
    pub discovery: Option<Discovery>,
    /// User and password.
    pub user: Option<(String, String)>,
    /// Certificates.
    pub tls: Tls,
    /// How long to wait for a connection, where a call allows that long.
    pub connect_within: Duration,
    /// While a request or a watch waits for an answer: after so long a silence ask whether the member is alive, and give up after so long again.
    /// Members close connections that ask more often than every 5 seconds.
    pub keep_alive: (Duration, Duration),
    /// The index of the endpoint to begin with, modulo their number. Give each process another one to spread the load.
    pub first: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            endpoints: Vec::new(),
            discovery: None,
            user: None,
            tls: Tls::default(),
            connect_within: Duration::from_secs(10),
            keep_alive: (Duration::from_secs(10), Duration::from_secs(5)),
            first: 0,
        }
    }
}

/// Leaves the password out, and the endpoints, which may hold one.
impl fmt::Debug for Options {
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

impl Tls {
    fn is_default(&self) -> bool {
        *self == Tls::default()
    }

    /// The same with all files read.
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

impl Options {
    /// The endpoint of a URL, and the URL as messages may show it: without user and path. `index` is its place among others.
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
        // What stands between commas may be the rest of a password, and what stands before it its beginning.
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
                // Whole scopes come in one answer: let it flow.
                .initial_stream_window_size(4 << 20)
                .initial_connection_window_size(8 << 20);
        if scheme == "https" {
            // The reason is not told, as it may quote the key.
            endpoint = endpoint.tls_config(tls.clone()).map_err(|_| {
                unusable("the certificates given for etcd cannot be used (etcdCACertFile, etcdCertFile, etcdKeyFile): one of them is damaged, or the key is not the certificate's".to_string())
            })?;
        }
        Ok((shown, endpoint))
    }
}
