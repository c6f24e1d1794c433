//! The number of requests that a command sends to etcd, by etcd's own count.

use servers::etcd_server::EtcdServer;

use crate::fixture::{User, needs_etcd};

#[test]
fn a_list_needs_two_requests() {
    needs_etcd!();
    let server = EtcdServer::start();
    let user = User::of(&server.endpoint());
    user.good("datastore init");
    let asked = || server.handled().values().sum::<u64>();
    for line in ["get ippool", "get ippool default-ipv4-ippool -o yaml"] {
        let before = asked();
        user.good(line);
        assert!(asked() - before <= 2, "{line}: {}", asked() - before);
    }
}
