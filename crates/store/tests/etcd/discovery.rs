//! Members that DNS names. The DNS server of the test knows only the answers that the test gives it.

use std::net::{SocketAddr, UdpSocket};

use servers::etcd_server::EtcdServer;
use store::StoreError;
use store::etcd::{Discovery, EtcdOptions, EtcdStore};

use super::fixture::*;

/// Answers SRV questions for `_etcd-client._tcp.` with these targets on 127.0.0.1, and everything else with
/// "no such name".
fn dns(ports: Vec<(u16, u16)>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((size, client)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&answer(&buffer[..size], &ports), client);
        }
    });
    address
}

fn answer(question: &[u8], ports: &[(u16, u16)]) -> Vec<u8> {
    let is_asked_for = question.windows(12).any(|bytes| bytes == b"_etcd-client");
    let is_plain = is_asked_for && !question.windows(16).any(|bytes| bytes == b"_etcd-client-ssl");
    let end = 12 + question[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
    let count = if is_plain { ports.len() as u16 } else { 0 };
    let mut out = question[..2].to_vec();
    out.extend([0x81, if is_plain { 0x80 } else { 0x83 }, 0, 1]);
    out.extend(count.to_be_bytes());
    out.extend([0, 0, 0, 0]);
    out.extend(&question[12..end]);
    for (priority, port) in ports.iter().take(count.into()) {
        out.extend([0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60]);
        let target = b"\x09127-0-0-1\x07invalid\x00";
        let target: &[u8] = if *port == 0 { target } else { b"\x09localhost\x00" };
        out.extend((6 + target.len() as u16).to_be_bytes());
        out.extend(priority.to_be_bytes());
        out.extend([0, 0]);
        out.extend(port.to_be_bytes());
        out.extend(target);
    }
    out
}

fn found_by(name_server: SocketAddr) -> EtcdStore {
    let discovery = Discovery { domain: "example.test".to_string(), name_server: Some(name_server) };
    EtcdStore::open(EtcdOptions { discovery: Some(discovery), ..EtcdOptions::default() }).unwrap()
}

#[tokio::test]
async fn members_are_found_in_dns() {
    needs_etcd!();
    let server = EtcdServer::start();
    let port = server.address().rsplit(':').next().unwrap().parse().unwrap();
    let store = found_by(dns(vec![(20, port), (10, 1)]));
    // The member with the better priority does not run.
    set(&store, &handle("a"), counted(1)).await;
    let text = format!("{store:?}");
    let (dead, live) = (text.find("http://localhost:1\"").unwrap(), text.find(&format!(":{port}")).unwrap());
    assert!(dead < live, "{text}");
}

#[tokio::test]
async fn a_domain_without_records() {
    let error = read(&found_by(dns(Vec::new())), &handle("a"), WITHIN).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    says(&error, &["example.test", "_etcd-client._tcp", "ETCD_DISCOVERY_SRV"]);
}
