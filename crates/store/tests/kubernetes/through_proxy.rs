//! The way to the API server through an HTTP proxy.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use api::crd::Group;
use base64::Engine;
use serde_json::json;
use servers::kube_server::ADMIN;
use store::kubernetes::{KubeOptions, KubeStore, Kubeconfig, Proxies};
use store::{Depth, ReadSet, Scope, Store};

use super::fixture::{WITHIN, cluster};

/// A proxy that wants a user and a password. The server that it is asked for is at this address, whatever its
/// name.
struct HttpProxy {
    address: String,
    /// The servers that it was asked for.
    asked: Arc<Mutex<Vec<String>>>,
}

impl HttpProxy {
    fn start(server: &str) -> HttpProxy {
        let listener = TcpListener::bind("127.0.0.9:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (server, log) = (server.to_string(), asked.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (server, log) = (server.clone(), log.clone());
                std::thread::spawn(move || serve(client, &server, &log));
            }
        });
        HttpProxy { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(mut client: TcpStream, server: &str, log: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(client.try_clone().unwrap()).lines().map_while(Result::ok);
    let head: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    let wanted = base64::engine::general_purpose::STANDARD.encode("u:s@cret");
    if !head.contains(&format!("Proxy-Authorization: Basic {wanted}")) {
        let _ = client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n");
        return;
    }
    log.lock().unwrap().push(head[0].clone());
    let server = TcpStream::connect(server).unwrap();
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
    let (back, forth) = ((server.try_clone().unwrap(), client.try_clone().unwrap()), (client, server));
    let pass = |(mut from, mut to): (TcpStream, TcpStream)| {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    };
    std::thread::spawn(move || pass(back));
    pass(forth);
}

/// A server without TLS that has no objects.
fn empty_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let body = json!({"metadata": {"resourceVersion": "9"}, "items": []}).to_string();
            let head =
                format!("HTTP/1.1 200 x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = stream.write_all((head + &body).as_bytes());
        }
    });
    address
}

fn handles() -> ReadSet {
    ReadSet::new().scope(Scope::Handles, Depth::Full)
}

#[tokio::test]
async fn a_kubeconfig_names_the_proxy() {
    let Some(cluster) = cluster().await else { return };
    let server = cluster.server.endpoint();
    let address = server.trim_start_matches("https://");
    let proxy = HttpProxy::start(address);
    let store = |password: &str| {
        let kubeconfig = json!({
            "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": server, "certificate-authority": cluster.server.ca(),
                "proxy-url": format!("http://u:{password}@{}", proxy.address)}}],
            "users": [{"name": "u", "user": {"token": cluster.server.token(ADMIN)}}],
        });
        let kubeconfig = Some(Kubeconfig::Inline(kubeconfig.to_string()));
        // What the kubeconfig says goes before the environment.
        let proxies =
            Proxies { https: Some("http://127.0.0.1:1".to_string()), http: None, no: Some("*".to_string()) };
        KubeStore::open(KubeOptions { kubeconfig, proxies, ..KubeOptions::default() }).unwrap()
    };
    store("s%40cret").read(&handles(), WITHIN).await.unwrap();
    assert_eq!(proxy.asked(), [format!("CONNECT {address} HTTP/1.1")]);

    let wrong = store("wr0ng");
    let error = wrong.read(&handles(), WITHIN).await.unwrap_err().to_string();
    assert!(error.contains(&format!("{server} (through the proxy http://{})", proxy.address)), "{error}");
    assert!(error.contains("proxy authorization required"), "{error}");
    assert!(!format!("{error} {wrong:?}").contains("wr0ng"), "{error}");
}

#[tokio::test]
async fn the_environment_names_the_proxy() {
    let server = empty_server();
    let proxy = HttpProxy::start(&server);
    let store = |endpoint: &str, no: Option<&str>| {
        let url = format!("http://u:s%40cret@{}", proxy.address);
        let proxies = Proxies {
            https: Some("http://127.0.0.1:1".to_string()),
            http: Some(url),
            no: no.map(str::to_string),
        };
        let endpoint = Some(format!("http://{endpoint}"));
        KubeStore::open(KubeOptions { endpoint, proxies, group: Some(Group::V1), ..KubeOptions::default() })
            .unwrap()
    };
    store("api.invalid:80", None).read(&handles(), WITHIN).await.unwrap();
    store("api.invalid:80", Some("example.com,10.0.0.0/8")).read(&handles(), WITHIN).await.unwrap();
    assert_eq!(proxy.asked(), ["CONNECT api.invalid:80 HTTP/1.1"; 2]);
    // This machine's own addresses, and what NO_PROXY names, are reached directly.
    store(&server, None).read(&handles(), WITHIN).await.unwrap();
    let error =
        store("api.invalid:80", Some(".invalid")).read(&handles(), WITHIN).await.unwrap_err().to_string();
    assert!(!error.contains("proxy"), "{error}");
    assert_eq!(proxy.asked().len(), 2);
}
