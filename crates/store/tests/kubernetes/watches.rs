//! The server's behaviour on which watches rely.

use super::fixture::*;

/// The server answers 410 for a revision that it no longer has, and for a list's token after a compaction.
/// The store handles both.
#[tokio::test]
async fn what_is_gone_is_told_as_such() {
    let Some(cluster) = cluster().await else { return };
    let group = GROUPS[0];
    let at = collection(group, &handle("a"));
    for index in 0..3 {
        cluster.create(group, &handle(&format!("h{index}")), &counted(1)).await;
    }
    let (_, list) = cluster.ask("GET", &format!("{at}?limit=1"), None).await;
    let token = list["metadata"]["continue"].as_str().unwrap();
    let revision = revision_of(&list).to_string();
    for count in 0..3 {
        cluster.create(group, &handle(&format!("later{count}")), &counted(1)).await;
    }
    let (_, list) = cluster.ask("GET", &at, None).await;
    let out = std::process::Command::new("etcdctl")
        .args(["--endpoints", &cluster.server.etcd().endpoint(), "compaction", revision_of(&list)])
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let (code, answer) = cluster.ask("GET", &format!("{at}?limit=1&continue={token}"), None).await;
    // A server that keeps some history in memory may still answer.
    if code != 200 {
        assert_eq!((code, answer["reason"].as_str()), (410, Some("Expired")), "{answer}");
        assert!(answer["metadata"]["continue"].as_str().is_some_and(|token| !token.is_empty()), "{answer}");
    }
    let old = format!("{at}?watch=true&timeoutSeconds=1&resourceVersion=1");
    let (code, answer) = cluster.ask("GET", &old, None).await;
    let is_gone = code == 410 || (answer["type"] == "ERROR" && answer["object"]["code"] == 410);
    assert!(is_gone, "{code} {answer} (the list was at {revision})");
}
