//! Records in etcd that cannot be read: other requests go on, and the log names the records.

use serde_json::{Value as Json, json};
use servers::etcd_server::EtcdServer;
use store::testing::etcd_client::Client;

use crate::fixture::{Answer, Host, fill, needs_etcd, node, pool};

const ROOT: &str = "/calico/";

fn client<T>(server: &EtcdServer, act: impl AsyncFnOnce(Client) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { act(Client::connect([server.endpoint()], None).await.unwrap()).await })
}

fn put(server: &EtcdServer, path: &str, text: &str) {
    let key = format!("{ROOT}{path}");
    client(server, async |mut client| client.put(key, text, None).await.unwrap());
}

fn get(server: &EtcdServer, path: &str) -> Json {
    let key = format!("{ROOT}{path}");
    let answer = client(server, async |mut client| client.get(key, None).await.unwrap());
    serde_json::from_slice(answer.kvs()[0].value()).unwrap()
}

fn names(answer: &Answer, words: &[&str]) {
    for word in words {
        assert!(answer.stderr.contains(word), "{word:?} is not in {}", answer.stderr);
    }
}

#[test]
fn one_bad_record_stops_nothing() {
    needs_etcd!();
    let server = EtcdServer::start();
    fill(&server, &[node("n1"), pool("p", "10.0.0.0/16")]);
    let host = Host::new("n1", &server.endpoint());
    let first = host.run("ADD", "c0", json!({})).addresses()[0].to_string();

    let pools = "resources/v3/projectcalico.org/ippools";
    put(
        &server,
        &format!("{pools}/a"),
        r#"{"metadata":{"name":"a"},"spec":{"cidr":"10.7.0.0/24","nodeSelector":"x =="}}"#,
    );
    put(&server, &format!("{pools}/b"), r#"{"metadata":{"name":"elsewhere"},"spec":{"cidr":"10.8.0.0/24"}}"#);
    put(&server, &format!("{pools}/c"), "{");
    put(&server, "ipam/v2/host/n1/ipv4/block/10.0.9.0-26", "[]");
    let second = host.run("ADD", "c1", json!({}));
    assert_eq!(second.addresses().len(), 1);
    names(
        &second,
        &[
            "IPPool(a): spec.nodeSelector: 'x =='",
            "IPPool(b): metadata.name",
            "IPPool(c)",
            "BlockAffinityKey",
        ],
    );

    // A block whose list of allocations lacks an entry.
    let path = format!("ipam/v2/assignment/ipv4/block/{}", first.replace('/', "-"));
    let mut block = get(&server, &path);
    block["allocations"].as_array_mut().unwrap().remove(5);
    put(&server, &path, &block.to_string());
    let third = host.run("ADD", "c2", json!({}));
    assert_eq!(third.addresses().len(), 1);
    assert_ne!(third.addresses()[0], first, "of another block");
    names(&third, &["BlockKey(cidr=", "allocations"]);
    host.run("DEL", "c0", json!({})).says(&["BlockKey(cidr=", "allocations"]);
    assert_eq!(host.run("DEL", "c2", json!({})).code, Some(0));
    block["allocations"].as_array_mut().unwrap().insert(5, Json::Null);
    block["attributes"][0]["secondary"]["pod"] = json!(5);
    put(&server, &path, &block.to_string());
    assert_eq!(host.run("DEL", "c1", json!({})).code, Some(0));
    assert_eq!(get(&server, &path)["attributes"][0]["secondary"]["pod"], 5, "it survives");
    assert_eq!(host.run("DEL", "c0", json!({})).code, Some(0), "mended");
}
