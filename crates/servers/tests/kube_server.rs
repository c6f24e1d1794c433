//! What tests can rely on when they start a control plane.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::{Ipv4Addr, SocketAddrV4};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};
use std::time::Duration;

use servers::kube_server::{ADMIN, KubeServer, KubeServerOptions, is_left_out};

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
        let server = KubeServer::start(KubeServerOptions::new().user("somebody", &[]));
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
    // Some commands of kubectl ask for the server's version first.
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

#[test]
fn a_whole_control_plane_is_where_it_is_wanted() {
    if is_left_out() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let [port] = servers::etcd_server::free_ports();
    let options = KubeServerOptions::new()
        .whole()
        .at(SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 3), port))
        .in_folder(scratch.path())
        .without_audit()
        .argument("--enable-admission-plugins=NodeRestriction")
        .user("system:node:n0", &["system:nodes"]);
    let mut server = KubeServer::try_start(options).unwrap();
    assert_eq!(server.endpoint(), format!("https://127.0.0.3:{port}"));
    // A kubelet can register only its own node. Its kubeconfig can be used from anywhere.
    let elsewhere = tempfile::NamedTempFile::new().unwrap();
    std::fs::copy(server.kubeconfig_of("system:node:n0"), elsewhere.path()).unwrap();
    for (node, may) in [("n0", true), ("n1", false)] {
        let manifest = scratch.path().join("node.json");
        let text = format!(r#"{{"apiVersion": "v1", "kind": "Node", "metadata": {{"name": "{node}"}}}}"#);
        std::fs::write(&manifest, text).unwrap();
        let mut create = server.kubectl(&["create", "-f"]);
        let out = create.arg(&manifest).arg("--kubeconfig").arg(elsewhere.path()).output().unwrap();
        assert_eq!(out.status.success(), may, "{node}: {out:?}");
    }
    server.check().unwrap();
    let scheduler = server.process_ids()[1];
    assert!(Command::new("kill").args(["-9", &scheduler.to_string()]).status().unwrap().success());
    assert!(ends(scheduler));
    let error = server.check().unwrap_err().to_string();
    assert!(error.starts_with("kube-scheduler has ended"), "{error}");
    let ids = server.process_ids();
    drop(server);
    assert!(ids.into_iter().all(ends), "processes are left over");
    assert!(scratch.path().join("admin.kubeconfig").exists() && scratch.path().join("etcd/data").exists());
    assert_eq!(std::fs::read_to_string(scratch.path().join("audit.log")).unwrap(), "");
}

/// Runs a server until the process is killed, for the test below. Does nothing when it is run by itself.
#[test]
fn a_server_of_a_process_that_is_killed() {
    let Some(told) = held_for() else { return };
    let server = KubeServer::start(KubeServerOptions::new());
    std::fs::write(told, format!("{} {}", server.process_ids()[0], server.directory().display())).unwrap();
    std::thread::sleep(Duration::from_secs(600));
}

#[allow(clippy::disallowed_methods, reason = "tests have no environment handed to them")]
fn held_for() -> Option<std::path::PathBuf> {
    std::env::var_os("RACKPOOL_HOLD_KUBE_SERVER").map(Into::into)
}

#[test]
fn a_server_ends_with_its_process() {
    if is_left_out() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let told = scratch.path().join("told");
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_server_of_a_process_that_is_killed"])
        .env("RACKPOOL_HOLD_KUBE_SERVER", &told)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let text = loop {
        std::thread::sleep(Duration::from_millis(50));
        match std::fs::read_to_string(&told) {
            Ok(text) if !text.is_empty() => break text,
            _ => assert!(holder.try_wait().unwrap().is_none(), "the holder has ended"),
        }
    };
    let (id, directory) = text.split_once(' ').unwrap();
    let id = id.parse().unwrap();
    assert!(runs(id));
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(ends(id), "a process is left over");
    let is_gone = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        !std::path::Path::new(directory).exists()
    });
    assert!(is_gone, "files are left over");
}
