//! TLS, users and roles.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use servers::etcd_server::{Certificates, EtcdServer, Setup};
use store::etcd::{EtcdCertificates, EtcdOptions, EtcdStore, Pem};
use store::testing::etcd_client::{Client, Permission, PermissionType};
use store::{Event, Expect, Outcome, Scope, Store, StoreError, Watch};
use tempfile::TempDir;

use super::fixture::*;

/// A certificate authority.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    Authority { issuer: Issuer::new(params, key), pem }
}

impl Authority {
    /// Signs a certificate. Gives the certificate and its key.
    fn signs(&self, name: &str, until: i32) -> (String, String) {
        let mut params = CertificateParams::new(vec![name.to_string()]).unwrap();
        params.not_after = date_time_ymd(until, 1, 1);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

struct Files(TempDir);

impl Files {
    fn new() -> Files {
        Files(TempDir::new().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// A server whose certificate has that name and is valid until then.
fn server(files: &Files, authority: &Authority, name: &str, until: i32, checks_clients: bool) -> EtcdServer {
    let (cert, key) = authority.signs(name, until);
    let client_ca = checks_clients.then(|| files.write("client-ca.pem", &authority.pem));
    let tls = Certificates {
        cert: files.write("server.pem", &cert),
        key: files.write("server.key", &key),
        client_ca,
    };
    Setup { tls: Some(tls), ..Setup::default() }.start()
}

fn with_tls(server: &EtcdServer, tls: EtcdCertificates) -> EtcdStore {
    EtcdStore::open(EtcdOptions { tls, ..options(&[server.endpoint()]) }).unwrap()
}

async fn error_of(store: &EtcdStore) -> StoreError {
    let (found, took) = timed(read(store, &handle("a"), WITHIN)).await;
    assert!(took.as_secs() < 5, "{took:?}");
    let (error, write) =
        (found.unwrap_err(), put(store, &handle("a"), Expect::Absent, counted(1), WITHIN).await);
    assert!(write.is_err(), "{write:?}");
    error
}

#[tokio::test]
async fn a_server_is_known_by_its_authority() {
    needs_etcd!();
    let (files, ours) = (Files::new(), authority());
    let server = server(&files, &ours, "127.0.0.1", 2100, false);
    let file = EtcdCertificates {
        ca: Some(Pem::File(files.write("ca.pem", &ours.pem))),
        ..EtcdCertificates::default()
    };
    let inline = EtcdCertificates { ca: Some(Pem::Inline(ours.pem.clone())), ..EtcdCertificates::default() };
    for tls in [file, inline] {
        set(&with_tls(&server, tls), &handle("a"), counted(1)).await;
    }
    let foreign = EtcdCertificates { ca: Some(Pem::Inline(authority().pem)), ..EtcdCertificates::default() };
    let public = EtcdCertificates::default();
    for tls in [foreign, public] {
        let error = error_of(&with_tls(&server, tls)).await;
        assert!(matches!(error, StoreError::Unusable(_)), "{error:?}");
        says(&error, &[&server.endpoint(), "not signed by a trusted authority", "ETCD_CA_CERT_FILE"]);
    }
    // The case without TLS.
    let plain = open(&[server.endpoint().replace("https", "http")]);
    says(&error_of_read(&plain).await, &["http://127.0.0.1", "ETCD_ENDPOINTS"]);
}

async fn error_of_read(store: &EtcdStore) -> StoreError {
    let (found, took) = timed(read(store, &handle("a"), WITHIN)).await;
    assert!(took.as_secs() < 5, "{took:?}");
    found.unwrap_err()
}

#[tokio::test]
async fn an_expired_certificate_is_said_to_be() {
    needs_etcd!();
    let (files, ours) = (Files::new(), authority());
    let server = server(&files, &ours, "127.0.0.1", 2020, false);
    let error = error_of(&with_tls(
        &server,
        EtcdCertificates { ca: Some(Pem::Inline(ours.pem.clone())), ..EtcdCertificates::default() },
    ))
    .await;
    says(&error, &[&server.endpoint(), "has expired"]);
}

#[tokio::test]
async fn a_certificate_of_another_host_is_said_to_be() {
    needs_etcd!();
    let (files, ours) = (Files::new(), authority());
    let server = server(&files, &ours, "etcd.example", 2100, false);
    let error = error_of(&with_tls(
        &server,
        EtcdCertificates { ca: Some(Pem::Inline(ours.pem.clone())), ..EtcdCertificates::default() },
    ))
    .await;
    says(&error, &[&server.endpoint(), "is not for that host"]);
}

#[tokio::test]
async fn a_server_without_tls_is_said_to_be() {
    needs_etcd!();
    let server = EtcdServer::start();
    let store = open(&[server.endpoint().replace("http", "https")]);
    says(&error_of(&store).await, &["https://127.0.0.1", "TLS", "etcd without TLS, name it http://"]);
}

#[tokio::test]
async fn clients_show_their_certificates() {
    needs_etcd!();
    let (files, ours) = (Files::new(), authority());
    let server = server(&files, &ours, "127.0.0.1", 2100, true);
    let ca = || Some(Pem::Inline(ours.pem.clone()));
    let (cert, key) = ours.signs("client", 2100);
    let good = EtcdCertificates {
        ca: ca(),
        cert: Some(Pem::File(files.write("client.pem", &cert))),
        key: Some(Pem::File(files.write("client.key", &key))),
    };
    set(&with_tls(&server, good), &handle("a"), counted(1)).await;
    let (foreign, foreign_key) = authority().signs("client", 2100);
    let wrong =
        EtcdCertificates { ca: ca(), cert: Some(Pem::Inline(foreign)), key: Some(Pem::Inline(foreign_key)) };
    let none = EtcdCertificates { ca: ca(), ..EtcdCertificates::default() };
    for tls in [wrong, none] {
        let error = error_of_read(&with_tls(&server, tls)).await;
        assert!(matches!(error, StoreError::Denied(_)), "{error:?}");
        says(&error, &[&server.endpoint(), "client certificate", "ETCD_CERT_FILE"]);
    }
}

#[test]
fn certificates_that_are_none() {
    let (files, ours) = (Files::new(), authority());
    let (cert, key) = ours.signs("client", 2100);
    let inline = |text: &str| Some(Pem::Inline(text.to_string()));
    let missing = Path::new("/nonexistent/ca.pem").to_path_buf();
    let rows = [
        (
            EtcdCertificates { ca: Some(Pem::File(missing)), ..EtcdCertificates::default() },
            "/nonexistent/ca.pem",
        ),
        (
            EtcdCertificates {
                ca: Some(Pem::File(files.write("empty.pem", ""))),
                ..EtcdCertificates::default()
            },
            "empty.pem",
        ),
        (
            EtcdCertificates { ca: inline("no certificate"), ..EtcdCertificates::default() },
            "the CA certificate",
        ),
        (EtcdCertificates { cert: inline(&cert), ..EtcdCertificates::default() }, "no client key"),
        (EtcdCertificates { key: inline(&key), ..EtcdCertificates::default() }, "no client certificate"),
        (
            EtcdCertificates { cert: inline(&cert), key: inline(&cert), ..EtcdCertificates::default() },
            "the client key",
        ),
        (
            EtcdCertificates {
                cert: inline(&cert),
                key: inline(&ours.signs("x", 2100).1),
                ..EtcdCertificates::default()
            },
            "cannot be used",
        ),
    ];
    for (tls, words) in rows {
        let https = vec!["https://127.0.0.1:1".to_string()];
        let error = EtcdStore::open(EtcdOptions { tls, ..options(&https) }).unwrap_err();
        assert!(matches!(error, StoreError::Unusable(_)), "{error:?}");
        says(&error, &[words]);
    }
}

/// Creates the users root, calico and reader. calico may read and write below /calico/, reader may only read
/// there.
async fn with_users(server: &EtcdServer) -> Client {
    let mut client = raw(&server.endpoint()).await;
    client.user_add("root", "top", None).await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
    for (user, kind) in [("calico", PermissionType::Readwrite), ("reader", PermissionType::Read)] {
        client.user_add(user, "secret", None).await.unwrap();
        client.role_add(user).await.unwrap();
        let below = Permission::new(kind, "/calico/").with_prefix();
        client.role_grant_permission(user, below).await.unwrap();
        client.user_grant_role(user, user).await.unwrap();
    }
    client.auth_enable().await.unwrap();
    let root = store::testing::etcd_client::ConnectOptions::new().with_user("root", "top");
    Client::connect([server.endpoint()], Some(root)).await.unwrap()
}

fn as_user(server: &EtcdServer, name: &str, password: &str) -> EtcdStore {
    let user = Some((name.to_string(), password.to_string()));
    EtcdStore::open(EtcdOptions { user, ..options(&[server.endpoint()]) }).unwrap()
}

#[tokio::test]
async fn users_and_roles() {
    needs_etcd!();
    let server = EtcdServer::start();
    // The server has no users yet. A client that names one is accepted.
    set(&as_user(&server, "calico", "secret"), &handle("early"), counted(1)).await;
    let mut root = with_users(&server).await;
    let calico = as_user(&server, "calico", "secret");
    set(&calico, &handle("a"), counted(1)).await;
    let mut watch = calico.watch(Scope::Handles).await.unwrap();
    while !matches!(watch.next().await.unwrap(), Event::InitDone(_)) {}
    let wrong = error_of(&as_user(&server, "calico", "wrong")).await;
    assert!(matches!(wrong, StoreError::Denied(_)), "{wrong:?}");
    says(&wrong, &[&server.endpoint(), "ETCD_PASSWORD"]);
    let none = error_of(&open(&[server.endpoint()])).await;
    assert!(matches!(none, StoreError::Denied(_)), "{none:?}");
    says(&none, &[&server.endpoint(), "ETCD_USERNAME"]);
    let reader = as_user(&server, "reader", "secret");
    assert!(find(&reader, &handle("a")).await.is_some());
    let denied = put(&reader, &handle("b"), Expect::Absent, counted(1), WITHIN).await.unwrap_err();
    assert!(matches!(denied, StoreError::Denied(_)), "{denied:?}");
    says(&denied, &[&server.endpoint(), "permission denied", "/calico/"]);
    // The roles change while a client uses its token.
    root.role_grant_permission(
        "reader",
        Permission::new(PermissionType::Readwrite, "/calico/").with_prefix(),
    )
    .await
    .unwrap();
    let outcome = put(&reader, &handle("b"), Expect::Absent, counted(1), WITHIN).await.unwrap();
    assert!(matches!(outcome, Outcome::Applied(_)), "{outcome:?}");
    set(&calico, &handle("a"), counted(2)).await;
    let told = async { while !matches!(watch.next().await.unwrap(), Event::Apply(_)) {} };
    tokio::time::timeout(WITHIN, told).await.unwrap();
}

#[tokio::test]
async fn a_token_that_is_not_known_any_more_is_renewed() {
    needs_etcd!();
    let mut server = EtcdServer::start();
    with_users(&server).await;
    let store = as_user(&server, "calico", "secret");
    set(&store, &handle("a"), counted(1)).await;
    // The server keeps its tokens in memory, so the restart loses them.
    server.restart();
    set(&store, &handle("a"), counted(2)).await;
    server.restart();
    let revision = find(&store, &handle("a")).await.unwrap().revision.clone();
    server.restart();
    let outcome = put(&store, &handle("a"), Expect::Revision(revision), counted(3), WITHIN).await.unwrap();
    assert!(matches!(outcome, Outcome::Applied(_)), "{outcome:?}");
}
