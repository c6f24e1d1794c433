//! The smallest Rust program that gets one object from an API server, for comparison: it connects with TLS,
//! sends one request, and reads the answer.
//!
//! `bare-get URL FILE-OF-THE-AUTHORITY TOKEN`

use std::fs;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use http::Request;
use http::header::AUTHORIZATION;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, url, authority, token] = &arguments[..] else { anyhow::bail!("bare-get URL AUTHORITY TOKEN") };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&fs::read(authority).context("the authority")?) {
        roots.add(certificate?)?;
    }
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http2().build();
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build(connector);
    let request =
        Request::get(url).header(AUTHORIZATION, format!("Bearer {token}")).body(Empty::<Bytes>::new())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let answer = client.request(request).await?;
        let status = answer.status();
        answer.into_body().collect().await?;
        ensure!(status.is_success(), "{status}");
        Ok(())
    })
}
