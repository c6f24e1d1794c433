//! What the control plane promises to tests.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use store::testing::kube_server::{ADMIN, KubeServer, Options, is_left_out};

fn runs(id: u32) -> bool {
    // A process that has ended but was not waited for counts as ended.
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

fn ends(id: u32) -> bool {
    (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        !runs(id)
    })
}

#[test]
fn a_server_counts_requests_and_ends_with_its_test() {
    if is_left_out() {
        return;
    }
    let mut ids = Vec::new();
    let mut directory = None;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let server = KubeServer::start(Options::new().user("somebody", &[]));
        ids = server.process_ids();
        directory = Some(server.directory().to_path_buf());
        requests_are_counted(&server);
        tokens_tell_users_apart(&server);
        pods_need_no_service_account(&server);
        assert!(ids.iter().all(|id| runs(*id)));
        panic!("as a failing test");
    }));
    let panic = outcome.unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"as a failing test"), "{panic:?}");
    assert_eq!(ids.len(), 1);
    assert!(ids.into_iter().all(ends), "processes are left over");
    assert!(!directory.unwrap().exists(), "files are left over");
}

fn requests_are_counted(server: &KubeServer) {
    let before = server.requests_of(ADMIN).len();
    for path in ["/api/v1/namespaces/default", "/api/v1/namespaces/none"] {
        server.kubectl(&["get", "--raw", path]).output().unwrap();
    }
    let requests = server.requests_of(ADMIN).split_off(before);
    // Some kinds of kubectl ask for the version first.
    let requests = requests.iter().filter(|request| request.uri.starts_with("/api/"));
    let told: Vec<_> = requests.map(|r| (r.verb.as_str(), r.uri.as_str(), r.code)).collect();
    assert_eq!(told, [("get", "/api/v1/namespaces/default", 200), ("get", "/api/v1/namespaces/none", 404)]);
}

fn tokens_tell_users_apart(server: &KubeServer) {
    assert_ne!(server.token(ADMIN), server.token("somebody"));
    let kubeconfig = server.kubeconfig_of("somebody");
    let out = server.kubectl(&["get", "pods", "--kubeconfig"]).arg(kubeconfig).output().unwrap();
    let error = String::from_utf8(out.stderr).unwrap();
    assert!(error.contains("User \"somebody\" cannot list resource \"pods\""), "{error}");
    let nobody = ["get", "--raw", "/api/v1/namespaces", "--token", "guessed"];
    let out = server.kubectl(&nobody).output().unwrap();
    let error = String::from_utf8(out.stderr).unwrap();
    assert!(error.contains("Unauthorized"), "{error}");
}

fn pods_need_no_service_account(server: &KubeServer) {
    let out = server.kubectl(&["run", "web", "--image=web"]).output().unwrap();
    assert!(out.status.success(), "{out:?}");
}
