//! More pools than one transaction of etcd can have operations.

use std::collections::BTreeSet;

use servers::etcd_server::EtcdServer;

use crate::fixture::{Ran, User, needs_etcd};

/// More pools than the default of `--max-txn-ops` allows in one transaction.
const POOLS: usize = 140;

fn pool(rack: usize) -> String {
    let cidr = format!("10.{}.{}.0/24", rack / 256, rack % 256);
    format!(
        "---\napiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {{name: rack-{rack}}}\nspec: {{cidr: {cidr}, nodeSelector: rack == \"{rack}\"}}\n"
    )
}

fn run_with(user: &User, verb: &str, text: &str) -> Ran {
    let file = user.path(&format!("{verb}.yaml"));
    std::fs::write(&file, text).unwrap();
    user.run(&format!("{verb} -f {}", file.display()))
}

#[test]
fn a_rack_has_its_pool_however_many_there_are() {
    needs_etcd!();
    let server = EtcdServer::start();
    let user = User::of(&server.endpoint());
    user.good("datastore init");
    let asked_for = |rack: usize| {
        let before = server.handled()["Txn"];
        let ran = run_with(&user, "create", &pool(rack));
        assert_eq!(ran.code, Some(0), "{ran:?}");
        server.handled()["Txn"] - before
    };
    let beside_one = asked_for(0);
    let ran = run_with(&user, "create", &(1..POOLS).map(pool).collect::<String>());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.stdout, format!("Successfully created {} 'IPPool' resource(s)\n", POOLS - 1));
    // The cases: an existing pool, a new pool, and a new pool that overlaps another one.
    for (verb, text, says) in [
        ("apply", pool(3), "Successfully applied 1 'IPPool' resource(s)\n"),
        ("apply", pool(POOLS), "Successfully applied 1 'IPPool' resource(s)\n"),
    ] {
        let ran = run_with(&user, verb, &text);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), says), "{ran:?}");
    }
    assert_eq!(asked_for(POOLS + 1), beside_one, "as many transactions as where there was one pool");
    run_with(&user, "create", &pool(3).replace("rack-3", "other")).says(&["overlaps with IPPool(rack-3)"]);
    let named: BTreeSet<String> = user
        .good("get ippool")
        .lines()
        .filter_map(|l| l.split_whitespace().next())
        .map(String::from)
        .collect();
    assert_eq!(named.len(), 1 + 1 + POOLS + 2, "the head, the default pool, and ours");
    user.good("delete ippool rack-7");
    // A split into more parts than a transaction has operations.
    let wide =
        pool(POOLS + 2).replace("/24", "/16").replace("10.0.142.0", "10.9.0.0").replace("rack-142", "wide");
    assert_eq!(run_with(&user, "create", &wide).code, Some(0));
    user.good("datastore migrate lock");
    let told = user.good("ipam split 256 --name=wide");
    assert!(told.contains("split into 256 smaller pools"), "{told}");
    let parts = user.good("get ippool").lines().filter(|line| line.starts_with("split-wide-")).count();
    assert_eq!((parts, user.run("get ippool wide").code), (256, Some(1)));
}
