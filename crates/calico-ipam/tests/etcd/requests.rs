//! The number of requests that a run of the program sends to etcd, by etcd's own count.

use serde_json::json;
use servers::etcd_server::EtcdServer;

use crate::fixture::{Answer, Host, fill, needs_etcd, node, pool};

/// A run, and the number of requests that etcd answered during it.
fn counted(server: &EtcdServer, run: impl FnOnce() -> Answer) -> (Answer, u64) {
    let asked = || server.handled().values().sum::<u64>();
    let before = asked();
    let answer = run();
    (answer, asked() - before)
}

#[test]
fn few_requests_serve_a_run() {
    needs_etcd!();
    let server = EtcdServer::start();
    fill(&server, &[node("n1"), node("n2"), pool("p4", "10.0.0.0/16"), pool("p6", "fd00::/112")]);
    let dual = json!({"ipam": {"type": "calico-ipam", "assign_ipv6": "true"}});
    for (host, changes, addresses) in [("n1", json!({}), 1), ("n2", dual, 2)] {
        let host = Host::new(host, &server.endpoint());
        let (first, asked) = counted(&server, || host.run("ADD", "c1", changes.clone()));
        assert_eq!(first.addresses().len(), addresses);
        assert!(asked <= 4, "the first block of {}: {asked}", host.name);
        let (second, asked) = counted(&server, || host.run("ADD", "c2", changes.clone()));
        assert_eq!(second.addresses().len(), addresses);
        assert!(asked <= 3, "a block with room on {}: {asked}", host.name);
        let (gone, asked) = counted(&server, || host.run("DEL", "c1", changes.clone()));
        assert_eq!(gone.code, Some(0), "{gone:?}");
        assert!(asked <= 3, "a release on {}: {asked}", host.name);
    }
}
