//! Emptying a store in etcd, which others may use for more than addresses.

use servers::etcd_server::EtcdServer;
use store::testing::etcd_client::{Client, GetOptions};

use crate::fixture::{User, needs_etcd, wait_for};

async fn keys(server: &EtcdServer) -> Vec<String> {
    let mut raw = Client::connect([server.endpoint()], None).await.unwrap();
    let all = raw.get("", Some(GetOptions::new().with_all_keys().with_keys_only())).await.unwrap();
    all.kvs().iter().map(|kv| kv.key_str().unwrap().to_string()).collect()
}

#[test]
fn calicos_records_go_and_nothing_else() {
    needs_etcd!();
    let server = EtcdServer::start();
    let user = User::of(&server.endpoint());
    user.fill();
    let mut left = ["/calico/resources/v3/projectcalico.org/networkpolicies/default/p", "/other/x"];
    wait_for(async {
        let mut raw = Client::connect([server.endpoint()], None).await.unwrap();
        for key in left.iter().chain(&["/calico/ipam/v2/host/old"]) {
            raw.put(*key, "{}", None).await.unwrap();
        }
    });
    let before = wait_for(keys(&server));
    let refused = user.run("datastore purge --confirm");
    refused.says(&["nothing was removed", "calicoctl datastore purge --confirm --in-use"]);
    assert_eq!(wait_for(keys(&server)), before);
    let told = user.good("datastore purge --confirm --in-use");
    for part in
        ["12 addresses in use", "Node n1: 8 addresses", "2 IPPool", "1 host's record", "networkpolicies"]
    {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    left.sort_unstable();
    assert_eq!(wait_for(keys(&server)), left);
    user.good("datastore init");
}

/// While Felix says that it runs, it would write anew what is removed.
#[test]
fn nothing_goes_while_felix_runs() {
    needs_etcd!();
    let server = EtcdServer::start();
    let user = User::of(&server.endpoint());
    user.good("datastore init");
    wait_for(async {
        let mut raw = Client::connect([server.endpoint()], None).await.unwrap();
        raw.put("/calico/felix/v2/no-region/host/n1/status", "{}", None).await.unwrap();
    });
    let before = wait_for(keys(&server));
    user.run("datastore purge --confirm").says(&["nothing was removed", "host n1 runs"]);
    assert_eq!(wait_for(keys(&server)), before);
}
