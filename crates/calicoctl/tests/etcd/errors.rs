//! The errors when etcd cannot be used: each cause has its own text, with the endpoint and the remedy, and
//! appears in time.

use std::net::TcpListener;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use servers::etcd_server::{Certificates, EtcdCluster, EtcdServer, Setup, free_ports};
use store::testing::etcd_client::{Client, Permission, PermissionType};

use crate::fixture::{User, needs_etcd, wait_for};

/// The deadline of a request, with some time for a busy machine.
const SOON: Duration = Duration::from_secs(14);

#[test]
fn wrong_endpoints() {
    let [port] = free_ports();
    let endpoint = format!("http://127.0.0.1:{port}");
    let refused = User::of(&endpoint).run("get ippool");
    let chosen = format!("The store was chosen by ETCD_ENDPOINTS = \"{endpoint}\"");
    refused.says(&["failed to get resources", &endpoint, "cannot be reached", &chosen]);
    assert!(!refused.stderr.contains("--allow-version-mismatch"), "{refused:?}");
    assert!(refused.took < Duration::from_secs(5), "{refused:?}");

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let silent = User::of(&endpoint).run("ipam show");
    silent.says(&[&endpoint, "gave no answer within 10s", "The store was chosen by"]);
    assert!(silent.took < SOON, "{silent:?}");
    User::of(&endpoint).run("ipam show --timeout 200ms").says(&[&endpoint, "gave no answer within 200ms"]);
    for wrong in ["0s", "-1s", "ten"] {
        let ran = User::of(&endpoint).run(&format!("ipam show --timeout={wrong}"));
        ran.says(&["--timeout", wrong]);
    }
}

#[test]
fn most_of_the_cluster_is_gone() {
    needs_etcd!();
    let mut cluster = EtcdCluster::start();
    let user = User::of(&cluster.endpoints().join(","));
    user.good("datastore init");
    cluster.members[0].kill();
    user.good("get ippool");
    cluster.members[1].kill();
    let ran = user.run("get ippool");
    ran.says(&[&cluster.members[2].endpoint()]);
    assert!(ran.took < SOON, "{ran:?}");
}

#[test]
fn no_space_is_left() {
    needs_etcd!();
    let server = Setup::new().argument("--quota-backend-bytes=1").start();
    let user = User::of(&server.endpoint());
    // The first write still passes etcd's check, and raises the alarm.
    let ran =
        [user.run("datastore init"), user.run("datastore init")].into_iter().find(|ran| ran.code != Some(0));
    ran.unwrap().says(&[&server.endpoint(), "database space exceeded", "alarm disarm"]);
}

#[test]
fn users_and_passwords() {
    needs_etcd!();
    let server = EtcdServer::start();
    wait_for(async {
        let mut root = Client::connect([server.endpoint()], None).await.unwrap();
        root.user_add("root", "r00t", None).await.unwrap();
        root.user_grant_role("root", "root").await.unwrap();
        root.user_add("calico", "right", None).await.unwrap();
        root.role_add("calico").await.unwrap();
        let all = Permission::new(PermissionType::Readwrite, "/calico/").with_prefix();
        root.role_grant_permission("calico", all).await.unwrap();
        root.user_grant_role("calico", "calico").await.unwrap();
        root.user_add("stranger", "right", None).await.unwrap();
        root.auth_enable().await.unwrap();
    });
    let user = |name: &str, password: &str| {
        User::of(&server.endpoint()).with("ETCD_USERNAME", name).with("ETCD_PASSWORD", password)
    };
    user("calico", "right").good("datastore init");
    assert!(user("calico", "right").good("get ippool").contains("192.168.0.0/16"));
    let wrong = user("calico", "wrong").run("get ippool");
    wrong.says(&[&server.endpoint(), "authentication failed", "ETCD_PASSWORD"]);
    assert!(wrong.took < Duration::from_secs(5) && !wrong.stderr.contains("wrong"), "{wrong:?}");
    user("stranger", "right").run("get ippool").says(&[&server.endpoint(), "permission", "/calico/"]);
    User::of(&server.endpoint()).run("get ippool").says(&["wants a user", "ETCD_USERNAME"]);
}

#[test]
fn certificates() {
    needs_etcd!();
    let user = User::of_file("unused.db");
    let (key, foreign) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let authority = |key: &KeyPair| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params.self_signed(key).unwrap().pem(), params)
    };
    let ((ca, params), (wrong, _)) = (authority(&key), authority(&foreign));
    let server_key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["127.0.0.1".to_string()]).unwrap();
    let cert = cert.signed_by(&server_key, &Issuer::new(params, key)).unwrap();
    let write = |name: &str, text: &str| {
        std::fs::write(user.path(name), text).unwrap();
        user.path(name)
    };
    let tls = Certificates {
        cert: write("server.pem", &cert.pem()),
        key: write("server.key", &server_key.serialize_pem()),
        client_ca: None,
    };
    let server = Setup { tls: Some(tls), ..Setup::default() }.start();
    let (right, wrong_file) = (write("ca.pem", &ca), write("wrong.pem", &wrong));
    let with = |file: &std::path::Path| {
        User::of(&server.endpoint()).with("ETCD_CA_CERT_FILE", file.to_str().unwrap())
    };
    with(&right).good("datastore init");
    let ran = with(&wrong_file).run("get ippool");
    ran.says(&[&server.endpoint(), "not signed by a trusted authority", "etcdCACertFile"]);
    assert!(ran.took < Duration::from_secs(5), "{ran:?}");
    let missing = with(&user.path("nowhere.pem")).run("get ippool");
    assert!(missing.code == Some(1) && missing.stdout.contains("nowhere.pem"), "{missing:?}");
    // The certificates' text stands in the configuration file itself.
    let config = user.config("inline.cfg", &[("etcdEndpoints", &server.endpoint()), ("etcdCACert", &ca)]);
    assert!(user.good(&format!("get ippool -c {config}")).contains("192.168.0.0/16"));
}
