//! The errors when the API server cannot be used: each cause has its own text, with the remedy, and appears
//! in time.

use std::net::TcpListener;
use std::time::Duration;

use servers::etcd_server::free_ports;

use crate::fixture::{User, cluster};

/// The deadline of a request, with some time for a busy machine.
const SOON: Duration = Duration::from_secs(14);

#[test]
fn servers_that_are_not_there() {
    let of = |url: &str| User::new().with("DATASTORE_TYPE", "kubernetes").with("K8S_API_ENDPOINT", url);
    let [port] = free_ports();
    let endpoint = format!("http://127.0.0.1:{port}");
    let refused = of(&endpoint).run("get ippool");
    let chosen = "The store was chosen by DATASTORE_TYPE = \"kubernetes\"";
    refused.says(&["failed to get resources", &endpoint, "cannot be reached", chosen]);
    assert!(refused.took < Duration::from_secs(5), "{refused:?}");

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let silent = of(&endpoint).run("ipam show");
    silent.says(&[&endpoint, "gave no answer within 10s", "The store was chosen by"]);
    of(&endpoint).run("ipam show --timeout 200ms").says(&["gave no answer within 200ms"]);
    assert!(silent.took < SOON, "{silent:?}");
}

#[test]
fn credentials_and_definitions() {
    let Some(cluster) = cluster() else { return };
    let url = cluster.server.endpoint();
    let missing = cluster.root().run("get ippool");
    missing.says(&[
        url,
        "clusterinformations in crd.projectcalico.org/v1",
        "calicoctl datastore init",
        "deploy/crds",
    ]);
    cluster.root().good("datastore init");
    let wrong = cluster.root().with("CALICO_K8SAPITOKEN", "wrong").run("get ippool");
    wrong.says(&[url, "does not accept the credentials", "CALICO_K8SAPITOKEN"]);
    let other = cluster.root().with("CALICO_API_GROUP", "projectcalico.org/v3").run("get ippool");
    other.says(&["clusterinformations in projectcalico.org/v3", "CALICO_API_GROUP"]);
    let nowhere = cluster.root().with("KUBECONFIG", "/nowhere/kubeconfig").run("get ippool");
    assert!(nowhere.code == Some(1) && nowhere.stdout.contains("/nowhere/kubeconfig"), "{nowhere:?}");
    let distrusted = User::new().with("DATASTORE_TYPE", "kubernetes").with("K8S_API_ENDPOINT", url);
    distrusted.run("get ippool").says(&[url, "certificate", "K8S_CA_FILE"]);
    let context = cluster.root().run("--context=elsewhere get ippool");
    assert!(context.code == Some(1) && context.stdout.contains("no context \"elsewhere\""), "{context:?}");
}

#[test]
fn what_the_server_refuses_is_shown_as_it_says_it() {
    let Some(cluster) = cluster() else { return };
    cluster.root().good("datastore init");
    let reservation = "apiVersion: projectcalico.org/v3\nkind: IPReservation\nmetadata: {name: r}\nspec: {reservedCIDRs: [10.0.0.1]}\n";
    let refused = cluster.root().create(reservation);
    refused.says(&[
        "IPReservation.crd.projectcalico.org \"r\" is invalid: spec.reservedCIDRs[0]",
        "must be of type cidr",
    ]);
    let there = "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: default-ipv4-ippool}\nspec: {cidr: 192.168.0.0/16}\n";
    cluster
        .root()
        .create(there)
        .says(&["ippools.crd.projectcalico.org \"default-ipv4-ippool\" already exists"]);
    let absent = cluster.root().run("get ippool nope");
    absent.says(&["IPPool(nope) with error: ippools.crd.projectcalico.org \"nope\" not found"]);
}
