//! The errors when etcd does not answer, and how soon they appear.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::json;
use servers::etcd_server::{EtcdCluster, free_ports};

use crate::fixture::{Host, needs_etcd};

/// The longest that a user may have to wait, with some time for a busy machine.
const SOON: Duration = Duration::from_secs(15);

#[test]
fn nobody_listens_there() {
    let [port] = free_ports();
    let endpoint = format!("http://127.0.0.1:{port}");
    let answer = Host::new("n1", &endpoint).run("ADD", "c1", json!({}));
    answer.says(&[&endpoint, "cannot be reached", "ETCD_ENDPOINTS"]);
    assert!(answer.took < SOON, "{:?}", answer.took);
}

#[test]
fn somebody_listens_there_and_says_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let answer = Host::new("n1", &endpoint).run("DEL", "c1", json!({}));
    answer.says(&[&endpoint, "gave no answer", "Check that the member runs"]);
    assert!(answer.took < SOON, "{:?}", answer.took);
}

#[test]
fn most_of_the_cluster_is_gone() {
    needs_etcd!();
    let mut cluster = EtcdCluster::start();
    cluster.leader();
    cluster.members[0].kill();
    cluster.members[1].kill();
    let answer = Host::new("n1", &cluster.members[2].endpoint()).run("ADD", "c1", json!({}));
    answer.says(&[&cluster.members[2].endpoint()]);
    assert!(answer.took < SOON, "{:?}", answer.took);
}

#[test]
fn a_certificate_that_is_not_there_is_said_at_once() {
    let changes = json!({"etcd_endpoints": "https://127.0.0.1:1", "etcd_ca_cert_file": "/nowhere/ca.pem"});
    let answer = Host::new("n1", "").run("ADD", "c1", changes);
    answer.says(&["/nowhere/ca.pem"]);
    assert!(answer.took < Duration::from_secs(5), "{:?}", answer.took);
}
