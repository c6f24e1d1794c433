//! Servers with certificates that prove nothing, and servers without HTTP/2.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use api::crd::Group;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use store::kubernetes::{KubeOptions, KubeStore, Pem};
use store::{Depth, ReadSet, Scope, Store, StoreError};

use super::fixture::WITHIN;

/// The TLS settings of a server with that name, whose certificate ends on that day; and the certificate of
/// its authority.
pub fn identity(host: &str, protocols: &[&str], ends: (i32, u8, u8)) -> (Arc<ServerConfig>, String) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let ca = authority.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(authority, key);
    let mut params = CertificateParams::new([host.to_string()]).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(ends.0, ends.1, ends.2);
    let key = KeyPair::generate().unwrap();
    let certificate: CertificateDer<'static> = params.signed_by(&key, &issuer).unwrap().der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    (Arc::new(config), ca)
}

/// A server that answers each connection with an empty list. Gives the options for reaching it.
fn serve(host: &str, protocols: &[&str], ends: (i32, u8, u8)) -> KubeOptions {
    let (config, ca) = identity(host, protocols, ends);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut tls = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream.unwrap());
            // A client that does not trust the server ends the connection.
            if tls.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {
                let body = r#"{"metadata":{"resourceVersion":"7"},"items":[]}"#;
                let _ = write!(
                    tls,
                    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
            }
        }
    });
    KubeOptions {
        endpoint: Some(endpoint),
        ca: Some(Pem::Inline(ca)),
        group: Some(Group::V1),
        ..KubeOptions::default()
    }
}

async fn read(options: KubeOptions) -> Result<store::View, StoreError> {
    let set =
        ReadSet::new().scope(Scope::Handles, Depth::Full).scope(Scope::Blocks { family: None }, Depth::Key);
    KubeStore::open(options).unwrap().read(&set, WITHIN).await
}

/// The server may offer HTTP/1 by name, or not name any protocol.
#[tokio::test]
async fn servers_without_http2_are_spoken_to() {
    for protocols in [&["http/1.1"][..], &[]] {
        let view = read(serve("127.0.0.1", protocols, (4000, 1, 1))).await.unwrap();
        assert_eq!(view.revision().unwrap().as_str(), "7", "{protocols:?}");
    }
}

#[tokio::test]
async fn bad_certificates_are_told_apart() {
    for (host, ends, word) in [
        ("127.0.0.1", (2021, 1, 1), "has expired. Renew it"),
        ("other.example", (4000, 1, 1), "is not for that host"),
    ] {
        let error = read(serve(host, &["http/1.1"], ends)).await.unwrap_err();
        assert!(matches!(error, StoreError::Unusable(_)) && error.to_string().contains(word), "{error:?}");
    }
}
