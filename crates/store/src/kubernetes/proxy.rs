//! The way to the API server: directly, or through a proxy that the kubeconfig or the environment names.

use std::net::IpAddr;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use kube::Config;
use tokio::net::TcpStream;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceExt};

use super::options::{Proxies, authority_of, unusable};
use crate::error::StoreError;

/// Connects to a URL's host, directly or through a proxy.
pub(super) type Road = BoxCloneSyncService<Uri, TokioIo<TcpStream>, BoxError>;

/// Parses the URL of a proxy. `place` says where it stands. The error does not quote the text, which may hold
/// a password.
pub(super) fn url(text: &str, place: &str) -> Result<Uri, StoreError> {
    let whole =
        if text.contains("://") { text.trim().to_string() } else { format!("http://{}", text.trim()) };
    let uri = whole.parse::<Uri>().ok().filter(|uri| uri.host().is_some_and(|host| !host.is_empty()));
    let uri = uri.ok_or_else(|| {
        unusable(format!("{place} is no URL of a proxy. It looks like http://10.0.0.1:3128"))
    })?;
    match uri.scheme_str() {
        Some("http" | "socks5") => Ok(uri),
        _ => Err(unusable(format!(
            "{place} is neither an http:// nor a socks5:// proxy; others are not supported"
        ))),
    }
}

/// The proxy through which the server is reached; `None` where it is reached directly. That of the kubeconfig
/// goes before those of the environment, which do not count for this machine's own addresses, as in Go's
/// `net/http`.
///
/// # Errors
/// When the environment names a proxy that cannot be used.
pub(super) fn of(config: &Config, proxies: &Proxies) -> Result<Option<Intercept>, StoreError> {
    let server = &config.cluster_url;
    if let Some(own) = &config.proxy_url {
        return Ok(Matcher::builder().all(own.to_string()).build().intercept(server));
    }
    let (name, text) = match server.scheme_str() {
        Some("http") => ("HTTP_PROXY", &proxies.http),
        _ => ("HTTPS_PROXY", &proxies.https),
    };
    let Some(text) = text.as_deref().filter(|_| !is_local(server)) else { return Ok(None) };
    let no = proxies.no.clone().unwrap_or_default();
    let by = |all: String| Matcher::builder().all(all).no(no.clone()).build().intercept(server);
    // A proxy that is not used for this server is no reason to stop.
    match url(text, name) {
        Ok(uri) => Ok(by(uri.to_string())),
        Err(_) if by("http://proxy".to_string()).is_none() => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_local(server: &Uri) -> bool {
    let host = server.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|addr| addr.is_loopback())
}

/// The proxy as messages may name it: without user and password.
pub(super) fn shown(proxy: &Intercept) -> String {
    let uri = proxy.uri();
    authority_of(&format!("http://{}", uri.authority().map_or("", |authority| authority.as_str())))
        .map(|url| url.replacen("http", uri.scheme_str().unwrap_or_default(), 1))
        .unwrap_or_default()
}

/// The way to the server.
pub(super) fn road(tcp: HttpConnector, proxy: Option<&Intercept>) -> Road {
    let Some(proxy) = proxy else {
        return BoxCloneSyncService::new(tcp.map_err(BoxError::from));
    };
    if proxy.uri().scheme_str() == Some("socks5") {
        let mut socks = SocksV5::new(proxy.uri().clone(), tcp);
        if let Some((user, password)) = proxy.raw_auth() {
            socks = socks.with_auth(user.to_string(), password.to_string());
        }
        return BoxCloneSyncService::new(socks.map_err(BoxError::from));
    }
    let mut tunnel = Tunnel::new(proxy.uri().clone(), tcp);
    if let Some(header) = proxy.basic_auth() {
        tunnel = tunnel.with_auth(header.clone());
    }
    BoxCloneSyncService::new(tunnel.map_err(BoxError::from))
}
