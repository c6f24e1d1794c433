//! Starts real etcd servers, one or a cluster, on free ports of the loopback. They keep their data in memory
//! where the machine has such a file system.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Signal, WaitOptions, kill_process, waitpid};
use serde_json::json;

use crate::ServerError;
use crate::folder::Folder;
use crate::process::{Process, Wait, now};

const ETCD: &str = "etcd";
/// How many keys one transaction may write: etcd takes 128.
const MOST_PUTS: usize = 100;
/// How many bytes one transaction may write: etcd takes 1.5 MiB.
const MOST_BYTES: usize = 500_000;
/// How long a server may take to become ready.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// Whether `RACKPOOL_SKIP_ETCD` tells tests with etcd to do nothing. If so, a line on standard error says it.
#[allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests have no environment handed to them"
)]
pub fn is_left_out() -> bool {
    let is_left_out = std::env::var_os("RACKPOOL_SKIP_ETCD").is_some_and(|value| !value.is_empty());
    if is_left_out {
        eprintln!("left out: RACKPOOL_SKIP_ETCD is set");
    }
    is_left_out
}

/// The files that a server with TLS needs.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The server's certificate.
    pub cert: PathBuf,
    /// The server's key.
    pub key: PathBuf,
    /// The authority that signs the clients' certificates; `None` if clients need none.
    pub client_ca: Option<PathBuf>,
}

/// How to start a server or a cluster.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// TLS on the clients' port; `None` for plain HTTP.
    pub tls: Option<Certificates>,
    /// Further arguments on etcd's command line.
    pub arguments: Vec<String>,
    /// The folder for data and log, for one server only. With `None`, each server makes a folder, in memory
    /// where possible, and removes it at its end.
    pub folder: Option<PathBuf>,
}

impl Setup {
    /// Servers without TLS, without further arguments, in folders of their own.
    pub fn new() -> Setup {
        Setup::default()
    }

    /// Adds an argument to the command line, such as `--quota-backend-bytes=16777216`.
    pub fn argument(mut self, argument: &str) -> Setup {
        self.arguments.push(argument.to_string());
        self
    }

    /// Starts one server.
    ///
    /// # Panics
    /// Where [`Setup::try_start`] fails.
    pub fn start(&self) -> EtcdServer {
        self.try_start().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts one server.
    ///
    /// # Errors
    /// When etcd is not installed, or the server is not ready in time.
    pub fn try_start(&self) -> Result<EtcdServer, ServerError> {
        Ok(self.try_start_cluster(1)?.members.remove(0))
    }

    /// Starts a cluster of `size` members.
    ///
    /// # Panics
    /// When etcd is not installed, or the cluster is not ready in time.
    pub fn start_cluster(&self, size: usize) -> EtcdCluster {
        self.try_start_cluster(size).unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_start_cluster(&self, size: usize) -> Result<EtcdCluster, ServerError> {
        // Another process may take the free port before etcd does.
        for _ in 0..4 {
            // All ports are drawn at once: the system may give a port out again as soon as nobody listens on
            // it.
            let ports = free(3 * size);
            let members = ports.chunks_exact(3).enumerate();
            let members: Result<Vec<_>, _> =
                members.map(|(index, ports)| EtcdServer::new(self, index, ports)).collect();
            let mut members = members?;
            let peers: Vec<_> = members.iter().map(|m| format!("{}={}", m.name, m.peer_url)).collect();
            for member in &mut members {
                member.peers = peers.join(",");
                member.launch()?;
            }
            let waits: Result<Vec<_>, _> = members.iter_mut().map(EtcdServer::wait).collect();
            if waits?.iter().all(|wait| *wait == Wait::Ready) {
                return Ok(EtcdCluster { members });
            }
        }
        Err(ServerError::PortTaken { name: ETCD.to_string() })
    }
}

/// A running cluster of etcd servers.
#[derive(Debug)]
pub struct EtcdCluster {
    /// The cluster's members.
    pub members: Vec<EtcdServer>,
}

impl EtcdCluster {
    /// Starts three members with the defaults of [`Setup`].
    pub fn start() -> EtcdCluster {
        Setup::new().start_cluster(3)
    }

    /// The URLs of all members.
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(EtcdServer::endpoint).collect()
    }

    /// The index of the leader. Waits until there is one.
    pub fn leader(&self) -> usize {
        let start = now();
        loop {
            let leader = self.members.iter().position(|m| m.metric("etcd_server_is_leader") == Some(1.0));
            match leader {
                Some(index) => return index,
                None if start.elapsed() > READY_WITHIN => panic!("the cluster finds no leader"),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

/// A running etcd server.
#[derive(Debug)]
pub struct EtcdServer {
    // The first field, as fields are dropped in their order: the process has to end before its folder is
    // removed.
    process: Option<Process>,
    name: String,
    setup: Setup,
    folder: Folder,
    client_url: String,
    peer_url: String,
    metrics: String,
    peers: String,
}

impl EtcdServer {
    /// Starts a server with the defaults of [`Setup`].
    pub fn start() -> EtcdServer {
        Setup::new().start()
    }

    fn new(setup: &Setup, index: usize, ports: &[u16]) -> Result<EtcdServer, ServerError> {
        let scheme = if setup.tls.is_some() { "https" } else { "http" };
        let &[client, peer, metrics] = ports else { unreachable!("each server gets three ports") };
        Ok(EtcdServer {
            name: format!("m{index}"),
            setup: setup.clone(),
            folder: Folder::new(setup.folder.as_deref(), Path::new("/dev/shm"))?,
            client_url: format!("{scheme}://127.0.0.1:{client}"),
            peer_url: format!("http://127.0.0.1:{peer}"),
            metrics: format!("127.0.0.1:{metrics}"),
            peers: String::new(),
            process: None,
        })
    }

    /// The URL for clients.
    pub fn endpoint(&self) -> String {
        self.client_url.clone()
    }

    /// Host and port of the URL for clients.
    pub fn address(&self) -> &str {
        self.client_url.split("://").nth(1).expect("the URL has a scheme")
    }

    fn launch(&mut self) -> Result<(), ServerError> {
        let mut command = Command::new(ETCD);
        command
            .args(["--name", &self.name, "--initial-cluster", &self.peers])
            .arg("--data-dir")
            .arg(self.folder.path().join("data"))
            .args(["--listen-client-urls", &self.client_url, "--advertise-client-urls", &self.client_url])
            .args(["--listen-peer-urls", &self.peer_url, "--initial-advertise-peer-urls", &self.peer_url])
            .args(["--listen-metrics-urls", &format!("http://{}", self.metrics)])
            .args(["--heartbeat-interval", "50", "--election-timeout", "500"])
            .args(&self.setup.arguments);
        if let Some(tls) = &self.setup.tls {
            command.arg("--cert-file").arg(&tls.cert).arg("--key-file").arg(&tls.key);
            if let Some(ca) = &tls.client_ca {
                command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(ca);
            }
        }
        let process = Process::start(&mut command, &self.folder, ETCD).map_err(|error| match error {
            ServerError::Start { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                ServerError::NoEtcd
            }
            other => other,
        })?;
        self.process = Some(process);
        Ok(())
    }

    /// Waits until the server is healthy.
    fn wait(&mut self) -> Result<Wait, ServerError> {
        let mut process = self.process.take().expect("it was started");
        let is_healthy = || self.http("/health").is_some_and(|answer| answer.contains("\"true\""));
        let wait = process.wait(&self.folder, READY_WITHIN, is_healthy);
        self.process = Some(process);
        wait
    }

    /// Checks that the server still runs.
    ///
    /// # Errors
    /// When the server has ended by itself.
    pub fn check(&mut self) -> Result<(), ServerError> {
        self.process.as_mut().map_or(Ok(()), |process| process.check(&self.folder))
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("it runs")
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.running().pid(), signal).expect("the child can be signalled");
    }

    /// Kills the server, as a power cut would. Its data stay.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts the server again after [`EtcdServer::kill`], with the same data and ports, and waits until it
    /// is healthy.
    ///
    /// # Panics
    /// When the server is not healthy in time, or another process has taken one of its ports.
    pub fn restart(&mut self) {
        self.kill();
        let wait = self.launch().and_then(|()| self.wait()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(wait, Wait::Ready, "a port was taken meanwhile");
    }

    /// Suspends the server's process. Its connections stay open.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        // A signal takes effect with a delay, so wait until the process has stopped.
        waitpid(Some(self.running().pid()), WaitOptions::UNTRACED).expect("the child can be waited for");
    }

    /// Lets a suspended server continue.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// How many requests the server has answered since its start, by method (`Txn`, `Range`, `Watch`).
    pub fn handled(&self) -> BTreeMap<String, u64> {
        let mut handled = BTreeMap::new();
        let metrics = self.http("/metrics").unwrap_or_default();
        for line in metrics.lines().filter(|line| line.starts_with("grpc_server_handled_total{")) {
            let method = line.split("grpc_method=\"").nth(1).and_then(|rest| rest.split('"').next());
            let count = line.rsplit(' ').next().and_then(|count| count.parse::<f64>().ok());
            if let (Some(method), Some(count)) = (method, count)
                && count > 0.0
            {
                *handled.entry(method.to_string()).or_default() += count as u64;
            }
        }
        handled
    }

    /// The value of a metric without labels.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let metrics = self.http("/metrics")?;
        metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    /// Writes keys and values, many at once. It is for test data: nobody is asked whether the keys are there.
    ///
    /// # Panics
    /// When etcd does not take them. Only servers without TLS do.
    pub fn put_all(&self, pairs: impl IntoIterator<Item = (String, String)>) {
        let (mut puts, mut size) = (Vec::new(), 0);
        for (key, value) in pairs {
            size += value.len();
            puts.push(json!({"requestPut": {"key": STANDARD.encode(key), "value": STANDARD.encode(value)}}));
            if puts.len() == MOST_PUTS || size > MOST_BYTES {
                self.transaction(std::mem::take(&mut puts));
                size = 0;
            }
        }
        self.transaction(puts);
    }

    fn transaction(&self, puts: Vec<serde_json::Value>) {
        let body = json!({ "success": puts }).to_string();
        let mut stream = TcpStream::connect(self.address()).expect("etcd runs");
        let head =
            format!("POST /v3/kv/txn HTTP/1.0\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes()).expect("etcd reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("etcd answers");
        assert!(answer.contains("\"succeeded\":true"), "{answer}");
    }

    /// The answer to a GET; `None` if there is no answer within 2 seconds.
    fn http(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(&self.metrics).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}

/// Ports on which nobody listens at the moment, each another one.
pub fn free_ports<const N: usize>() -> [u16; N] {
    free(N).try_into().expect("there are as many as were asked for")
}

fn free(count: usize) -> Vec<u16> {
    let bind = |_| TcpListener::bind("127.0.0.1:0").expect("there are free ports");
    let listeners: Vec<_> = (0..count).map(bind).collect();
    listeners.iter().map(|listener| listener.local_addr().expect("it is bound").port()).collect()
}
