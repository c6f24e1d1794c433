//! `ipam explain` on a real etcd.

use api::{HandleId, Use};
use ipam::AutoAssign;
use servers::etcd_server::EtcdServer;

use crate::fixture::{Real, User, WITHIN, needs_etcd};

#[test]
fn the_next_address_is_the_one_that_is_assigned() {
    needs_etcd!();
    let server = EtcdServer::start();
    let user = User::of(&server.endpoint());
    user.fill();
    let text = user.good("ipam explain --node n2 -o json");
    assert_eq!(
        user.good("ipam explain --node n2 -o json"),
        text,
        "etcd's revision has not changed: nothing was written"
    );
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(json["next"]["revision"].as_str().unwrap().parse::<u64>().unwrap() > 1, "{text}");
    assert_eq!(
        (&json["pools"][0]["verdict"], json["next"]["source"].as_str()),
        (&"taken".into(), Some("own"))
    );
    let request =
        AutoAssign { v4: 1, handle: HandleId::new("net.next"), ..AutoAssign::new("n2", Use::Workload) };
    let answer =
        user.with_store(async |store| ipam::run(store, &Real, request.planner(), WITHIN).await.unwrap());
    assert_eq!(json["next"]["address"], answer.v4.addresses[0].addr.to_string());
    let table = user.good("ipam explain --all-nodes");
    assert!(table.contains("n1") && table.contains("default-ipv4-ippool"), "{table}");
    user.run("ipam explain --node n3").says(&["there is no node \"n3\""]);
}
