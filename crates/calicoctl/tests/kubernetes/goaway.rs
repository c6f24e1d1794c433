//! An API server that closes clients' connections now and then, as those of large clusters do.

use std::sync::{Mutex, PoisonError};

use servers::kube_server::{self, KubeServer, KubeServerOptions};

use crate::fixture::{ALONE, User, kubectl};

/// The number of users who run commands at the same time.
const USERS: usize = 3;

fn pool(index: usize, nat: bool) -> String {
    let cidr = format!("10.{}.{}.0/24", index / 256, index % 256);
    format!(
        "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {{name: p{index}}}\nspec: {{cidr: {cidr}, natOutgoing: {nat}}}\n"
    )
}

/// Each user runs that many commands of each kind, and none may fail.
fn nobody_notices(commands: usize) {
    if kube_server::is_left_out() {
        return;
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // This is the largest value that the server allows: 2 of 100 requests end their connection.
    let server = KubeServer::start(KubeServerOptions::new().argument("--goaway-chance=0.02"));
    let user = |server: &KubeServer| {
        let kubeconfig = server.kubeconfig().display().to_string();
        User::new().with("DATASTORE_TYPE", "kubernetes").with("KUBECONFIG", &kubeconfig)
    };
    user(&server).good("datastore init");
    let node = r#"{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}"#;
    let files = user(&server);
    kubectl(&server, &["create", "-f", &files.file("node.json", node)]);
    // Commands that change the same object would conflict with each other, so they run one at a time.
    let one_at_a_time = Mutex::new(());
    std::thread::scope(|scope| {
        for number in 0..USERS {
            let (server, one_at_a_time) = (&server, &one_at_a_time);
            scope.spawn(move || {
                let user = user(server);
                for index in (0..commands).filter(|index| index % USERS == number) {
                    let good = |line: &str, input: &str| {
                        let ran = user.run_with(line, input);
                        assert_eq!(ran.code, Some(0), "{line}: {ran:?}");
                    };
                    good("create -f -", &pool(index, true));
                    good(&format!("get ippool p{index} -o yaml"), "");
                    good(&format!(r#"patch ippool p{index} -p {{"spec":{{"disabled":true}}}}"#), "");
                    good("apply -f -", &pool(index, false));
                    good("replace -f -", &pool(index, true));
                    good("ipam show --show-blocks", "");
                    let alone = one_at_a_time.lock();
                    good(&format!("ipam configure --strictaffinity={}", index % 2 == 0), "");
                    good(&format!("label nodes n1 rack={index} --overwrite"), "");
                    drop(alone);
                    good(&format!("delete ippool p{index}"), "");
                }
            });
        }
    });
    let left = user(&server).good("get ippool");
    let rows = left.lines().filter(|line| !line.is_empty()).count();
    assert_eq!(rows, 2, "the head and the default pool: {left}");
}

#[test]
fn nobody_notices_that_connections_end() {
    nobody_notices(24);
}

#[test]
#[ignore = "nightly: 300 commands of each kind"]
fn nobody_notices_in_the_long_run() {
    nobody_notices(300);
}
