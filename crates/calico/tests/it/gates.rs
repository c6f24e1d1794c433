//! Readiness gates.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;

use crate::harness::{Container, Node};

const READY: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

#[test]
fn an_open_gate() {
    let Some(node) = Node::new() else { return };
    let gate = node.host.run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let gate = format!("http://{}/ready", listener.local_addr().unwrap());
        thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            assert!(client.read(&mut [0; 4096]).unwrap() > 0);
            client.write_all(READY).unwrap();
        });
        gate
    });
    let container = Container::new("aaaa", "pod-a");
    assert_eq!(node.call("ADD", &container, json!({"readiness_gates": [gate]})).addresses().len(), 2);
    let wrong = node.call("ADD", &container, json!({"readiness_gates": ["localhost:9099"]})).error();
    assert!(wrong.starts_with("invalid URL set for ReadinessGates:localhost:9099 "), "{wrong}");
}

/// A variable can name the system's root certificates. It holds for a whole process, so this test runs in a
/// process of its own.
#[test]
fn a_gate_with_a_certificate() {
    let Some(node) = Node::new() else { return };
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    fs::write(node.path("ca.pem"), authority.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(authority, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["127.0.0.1".to_string()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap().der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let gate = format!("https://{}/ready", listener.local_addr().unwrap());
    let asked = thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        let mut tls = StreamOwned::new(ServerConnection::new(config).unwrap(), client);
        assert!(tls.read(&mut [0; 4096]).unwrap() > 0);
        tls.write_all(READY).unwrap();
    });
    // The IPAM plugin does not exist, so that nothing is attached after the gate: this process is on the
    // machine's own network.
    let more = json!({"readiness_gates": [gate], "ipam": {"type": "no-such-plugin"}});
    let container = Container::new("aaaa", "pod-a");
    let environment = container.environment("ADD", &node.bin);
    let mut plugin = Command::new(env!("CARGO_BIN_EXE_calico"))
        .env_clear()
        .envs(environment.variables())
        .env("SSL_CERT_FILE", node.path("ca.pem"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    plugin.stdin.take().unwrap().write_all(node.configuration(more).to_string().as_bytes()).unwrap();
    let output = plugin.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("failed to find plugin"), "{text}");
    asked.join().unwrap();
}
