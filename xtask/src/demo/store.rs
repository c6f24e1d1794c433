//! The store on which the guide is performed.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value as Json};

use crate::needs;

/// How often etcd is asked whether it is ready, and how long to wait in between.
const QUESTIONS: u32 = 600;
const PAUSE: Duration = Duration::from_millis(50);

/// A store of the demo's own.
pub enum Store {
    /// The embedded one, in that file.
    Embedded(PathBuf),
    /// An etcd.
    Etcd(Etcd),
}

impl Store {
    /// What leads `calicoctl` to it.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        match self {
            Store::Embedded(file) => vec![("RACKPOOL_DB", file.display().to_string())],
            Store::Etcd(etcd) => vec![("ETCD_ENDPOINTS", etcd.url.clone())],
        }
    }

    /// What leads the plugin to it: fields of its network configuration.
    pub fn configuration(&self) -> Map<String, Json> {
        let (field, value) = match self {
            Store::Embedded(file) => ("rackpool_db", file.display().to_string()),
            Store::Etcd(etcd) => ("etcd_endpoints", etcd.url.clone()),
        };
        Map::from_iter([(field.to_string(), Json::from(value))])
    }
}

/// An etcd on free ports of the loopback. It ends with this value.
pub struct Etcd {
    url: String,
    child: Child,
}

impl Etcd {
    /// Starts one whose data are in that folder; etcd is installed where that can be done.
    pub fn start(folder: &Path) -> Result<Etcd> {
        needs::program("etcd", "etcd-server", "the datastore of this demo")?;
        let [client, peer] = free_ports()?;
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let log = std::fs::File::create(folder.join("etcd.log"))?;
        let child = Command::new("etcd")
            .arg("--data-dir")
            .arg(folder.join("etcd"))
            .args(["--listen-client-urls", &url(client), "--advertise-client-urls", &url(client)])
            .args(["--listen-peer-urls", &url(peer), "--initial-advertise-peer-urls", &url(peer)])
            .args(["--initial-cluster", &format!("default={}", url(peer))])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("etcd cannot be started")?;
        let mut etcd = Etcd { url: url(client), child };
        for _ in 0..QUESTIONS {
            if is_healthy(client) {
                return Ok(etcd);
            }
            if let Some(status) = etcd.child.try_wait()? {
                bail!("etcd has ended ({status}):\n{}", std::fs::read_to_string(folder.join("etcd.log"))?);
            }
            std::thread::sleep(PAUSE);
        }
        bail!("etcd is not ready after {} s", (PAUSE * QUESTIONS).as_secs())
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_ports() -> Result<[u16; 2]> {
    let listeners = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
    let mut ports = [0; 2];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    ensure!(ports[0] != ports[1], "two listeners on one port");
    Ok(ports)
}

fn is_healthy(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.contains("\"true\""))
}
