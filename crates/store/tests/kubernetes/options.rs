//! All the ways to tell the store where the API server is.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value as Json, json};
use servers::kube_server::ADMIN;
use store::kubernetes::{InCluster, KubeOptions, KubeStore, Kubeconfig, Pem};
use store::{ReadSet, Store, StoreError};

use super::fixture::*;

async fn works(options: KubeOptions) {
    let store = KubeStore::open(options).unwrap();
    store.read(&ReadSet::new().key(handle("a")), WITHIN).await.unwrap();
}

fn unusable(options: KubeOptions, word: &str) {
    let error = KubeStore::open(options).unwrap_err();
    assert!(
        matches!(error, StoreError::Unusable(_)) && error.to_string().contains(word),
        "{word}: {error:?}"
    );
}

#[tokio::test]
async fn kubeconfigs_and_pods() {
    let Some(cluster) = cluster().await else { return };
    let file = cluster.server.kubeconfig();
    let of_files = |files: &[std::path::PathBuf]| KubeOptions {
        kubeconfig: Some(Kubeconfig::Files(files.to_vec())),
        ..KubeOptions::default()
    };
    works(of_files(std::slice::from_ref(&file))).await;
    works(of_files(&["/does/not/exist".into(), file.clone()])).await;
    let text = std::fs::read_to_string(&file).unwrap();
    let inline = |text: &str| KubeOptions {
        kubeconfig: Some(Kubeconfig::Inline(text.to_string())),
        ..KubeOptions::default()
    };
    works(inline(&text)).await;

    // The case of a context by name, a token from a program, and a setting that overrides the file's.
    let dir = tempfile::tempdir().unwrap();
    let plugin = dir.path().join("plugin.sh");
    let token = cluster.server.token(ADMIN);
    let credential = json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": token}});
    std::fs::write(&plugin, format!("#!/bin/sh\necho '{credential}'\n")).unwrap();
    std::fs::set_permissions(&plugin, std::fs::Permissions::from_mode(0o700)).unwrap();
    let mut config: Json = serde_json::from_str(&text).unwrap();
    let exec = json!({"apiVersion": "client.authentication.k8s.io/v1", "command": plugin, "interactiveMode": "Never"});
    config["users"].as_array_mut().unwrap().push(json!({"name": "program", "user": {"exec": exec}}));
    let context = json!({"name": "other", "context": {"cluster": "rackpool", "user": "program"}});
    config["contexts"].as_array_mut().unwrap().push(context);
    config["current-context"] = "none".into();
    let text = config.to_string();
    works(KubeOptions { context: Some("other".to_string()), ..inline(&text) }).await;
    unusable(KubeOptions { context: Some("third".to_string()), ..inline(&text) }, "it has rackpool, other");
    config["users"][0]["user"]["token"] = "wrong".into();
    config["current-context"] = "rackpool".into();
    works(KubeOptions { token: Some(format!("{token}\n")), ..inline(&config.to_string()) }).await;

    // The case of a process in a pod.
    std::fs::copy(cluster.server.ca(), dir.path().join("ca.crt")).unwrap();
    let (host, port) = cluster.server.endpoint().trim_start_matches("https://").rsplit_once(':').unwrap();
    let pod = InCluster { directory: dir.path().to_path_buf(), ..InCluster::new(host, port) };
    let options = || KubeOptions { in_cluster: Some(pod.clone()), ..KubeOptions::default() };
    unusable(options(), "automountServiceAccountToken");
    std::fs::write(dir.path().join("token"), token).unwrap();
    works(options()).await;
    let ca = Pem::Inline(std::fs::read_to_string(cluster.server.ca()).unwrap());
    let endpoint = Some(cluster.server.endpoint().to_string());
    works(KubeOptions { endpoint, ca: Some(ca), token: Some(token.to_string()), ..KubeOptions::default() })
        .await;
}

#[test]
fn what_makes_no_sense_is_told_at_once() {
    let with = |change: &dyn Fn(&mut KubeOptions)| {
        let mut options =
            KubeOptions { endpoint: Some("https://127.0.0.1:1".to_string()), ..KubeOptions::default() };
        change(&mut options);
        options
    };
    unusable(KubeOptions::default(), "KUBECONFIG");
    unusable(with(&|o| o.endpoint = Some("ftp://x".to_string())), "K8S_API_ENDPOINT");
    unusable(with(&|o| o.ca = Some(Pem::File("/does/not/exist".into()))), "/does/not/exist");
    unusable(with(&|o| o.ca = Some(Pem::Inline("x".to_string()))), "K8S_CA_FILE");
    unusable(with(&|o| o.key = Some(Pem::Inline("x".to_string()))), "K8S_CERT_FILE");
    unusable(
        with(&|o| o.kubeconfig = Some(Kubeconfig::Files(vec!["/does/not/exist".into()]))),
        "/does/not/exist",
    );
    unusable(
        with(&|o| o.kubeconfig = Some(Kubeconfig::Inline("{".to_string()))),
        "the kubeconfig given as text",
    );
    let proxied = r#"{"apiVersion": "v1", "kind": "Config", "current-context": "c", "users": [],
        "contexts": [{"name": "c", "context": {"cluster": "d", "user": ""}}],
        "clusters": [{"name": "d", "cluster": {"server": "https://127.0.0.1:1", "proxy-url": "ftp://u:p@127.0.0.1:2"}}]}"#;
    unusable(with(&|o| o.kubeconfig = Some(Kubeconfig::Inline(proxied.to_string()))), "proxy-url");
    let secret = format!("{:?}", with(&|o| o.token = Some("secret".to_string())));
    assert!(!secret.contains("secret"), "{secret}");
}
