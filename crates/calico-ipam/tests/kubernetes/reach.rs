//! The errors when the API server cannot be reached. They appear while the runtime still waits for an answer.

use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;
use servers::etcd_server::free_ports;

use crate::fixture::{Host, pod};
use crate::harness::Answer;

/// The longest that a user may have to wait, with some time for a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// The answers of ADD and DEL, each of which must end soon.
fn both(host: &Host) -> [Answer; 2] {
    ["ADD", "DEL"].map(|command| {
        let (done, wait) = std::sync::mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| done.send(host.run_with(command, "c1", &pod("default", "a"))).unwrap());
            wait.recv_timeout(SOON).expect("the program ends while somebody waits for it")
        })
    })
}

/// A host whose settings contain only the server's address.
fn host(endpoint: &str) -> Host {
    Host::with_kubeconfig("n1", Path::new("")).with("kubernetes", json!({"k8s_api_root": endpoint}))
}

#[test]
fn nobody_listens_there() {
    let [port] = free_ports();
    let endpoint = format!("http://127.0.0.1:{port}");
    let [add, del] = both(&host(&endpoint));
    let words = [&endpoint, "cannot be reached", "refused", "Check that it runs", "K8S_API_ENDPOINT"];
    assert!(add.says(&words).starts_with("failed to get namespace default: "), "{add:?}");
    del.says(&words);
}

#[test]
fn somebody_listens_there_and_says_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let [add, del] = both(&host(&endpoint));
    let words = [&endpoint, "gave no answer in time", "Check that it runs"];
    add.says(&words);
    del.says(&words);
}

#[test]
fn a_certificate_that_has_expired() {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let ca = authority.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(authority, key);
    let mut params = CertificateParams::new(["127.0.0.1".to_string()]).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2021, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap().der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut tls = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
            // A client that does not trust the server ends the connection.
            let _ = tls.read(&mut [0; 4096]);
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let (path, authority) = (dir.path().join("kubeconfig"), dir.path().join("ca.crt"));
    std::fs::write(&authority, ca).unwrap();
    let kubeconfig = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": endpoint, "certificate-authority": authority}}],
        "users": [{"name": "u", "user": {"token": "t"}}], "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]});
    std::fs::write(&path, kubeconfig.to_string()).unwrap();
    let [add, del] = both(&Host::with_kubeconfig("n1", &path));
    for answer in [add, del] {
        answer.says(&[&endpoint, "the certificate of the Kubernetes API server", "has expired", "Renew it"]);
    }
}

#[test]
fn settings_that_lead_nowhere() {
    let missing = both(&Host::with_kubeconfig("n1", Path::new("/nowhere/kubeconfig")));
    missing[0].says(&["the kubeconfig /nowhere/kubeconfig cannot be read"]);
    missing[1].says(&["the kubeconfig /nowhere/kubeconfig cannot be read"]);
    let host = Host::with_kubeconfig("n1", Path::new("")).with("kubernetes", json!({}));
    both(&host)[0].says(&["no Kubernetes API server is named", "KUBECONFIG", "K8S_API_ENDPOINT"]);
}
