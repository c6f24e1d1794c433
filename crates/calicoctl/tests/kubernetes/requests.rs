//! The number of requests that a command sends, by the server's own count.

use servers::kube_server::ADMIN;

use crate::fixture::cluster;

#[test]
fn a_list_needs_two_requests() {
    let Some(cluster) = cluster() else { return };
    let user = cluster.root().with("CALICO_API_GROUP", "crd.projectcalico.org/v1");
    user.good("datastore init");
    let asked = || cluster.server.requests_of(ADMIN).len();
    for line in ["get ippool", "get ippool default-ipv4-ippool -o yaml", "get nodes", "get wep -A"] {
        let before = asked();
        user.good(line);
        assert_eq!(asked() - before, 2, "{line}");
    }
}
