//! Real etcd servers: one, or a cluster, on free ports of the loopback, with their data in memory where there is such a place.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Signal, WaitOptions, kill_process, waitpid};

use crate::ServerError;
use crate::folder::Folder;
use crate::process::{Process, Wait, now};

const ETCD: &str = "etcd";
/// How long a server may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// Whether tests with etcd are to be left out, as `RACKPOOL_SKIP_ETCD` says; says so.
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

/// The files of a server that speaks TLS.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The server's certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authority of the clients' certificates; `None` to ask clients for none.
    pub client_ca: Option<PathBuf>,
}

/// How to start servers.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// TLS for clients.
    pub tls: Option<Certificates>,
    /// More arguments.
    pub arguments: Vec<String>,
    /// The folder to keep data and log in, of one server alone. `None` for one that is made for each, in memory where that can be, and goes with it.
    pub folder: Option<PathBuf>,
}

impl Setup {
    /// Plain servers.
    pub fn new() -> Setup {
        Setup::default()
    }

    /// With one more argument: `--quota-backend-bytes=16777216`.
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
    /// When there is no etcd, or it is not ready in time.
    pub fn try_start(&self) -> Result<EtcdServer, ServerError> {
        Ok(self.try_start_cluster(1)?.members.remove(0))
    }

    /// Starts a cluster of so many.
    ///
    /// # Panics
    /// When there is no etcd, or it is not ready in time.
    pub fn start_cluster(&self, size: usize) -> EtcdCluster {
        self.try_start_cluster(size).unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_start_cluster(&self, size: usize) -> Result<EtcdCluster, ServerError> {
        // A free port may be taken by another before etcd takes it.
        for _ in 0..4 {
            let members: Result<Vec<_>, _> = (0..size).map(|index| EtcdServer::new(self, index)).collect();
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

/// A cluster.
#[derive(Debug)]
pub struct EtcdCluster {
    /// Its members.
    pub members: Vec<EtcdServer>,
}

impl EtcdCluster {
    /// Three plain members.
    pub fn start() -> EtcdCluster {
        Setup::new().start_cluster(3)
    }

    /// The URLs of all members.
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(EtcdServer::endpoint).collect()
    }

    /// The index of the leader, as soon as there is one.
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

/// A server.
#[derive(Debug)]
pub struct EtcdServer {
    // Ends before its folder goes.
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
    /// A plain one.
    pub fn start() -> EtcdServer {
        Setup::new().start()
    }

    fn new(setup: &Setup, index: usize) -> Result<EtcdServer, ServerError> {
        let scheme = if setup.tls.is_some() { "https" } else { "http" };
        let [client, peer, metrics] = free_ports();
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

    /// Its URL for clients.
    pub fn endpoint(&self) -> String {
        self.client_url.clone()
    }

    /// Host and port of its URL for clients.
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

    /// Waits until it is healthy.
    fn wait(&mut self) -> Result<Wait, ServerError> {
        let mut process = self.process.take().expect("it was started");
        let is_healthy = || self.http("/health").is_some_and(|answer| answer.contains("\"true\""));
        let wait = process.wait(&self.folder, READY_WITHIN, is_healthy);
        self.process = Some(process);
        wait
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// When it has ended by itself.
    pub fn check(&mut self) -> Result<(), ServerError> {
        self.process.as_mut().map_or(Ok(()), |process| process.check(&self.folder))
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("it runs")
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.running().pid(), signal).expect("the child can be signalled");
    }

    /// Ends it at once, as a power cut would. Its data stay.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again after [`EtcdServer::kill`], with its data and ports, and waits until it is healthy.
    ///
    /// # Panics
    /// When it is not healthy in time; so, too, when one of its ports was taken meanwhile.
    pub fn restart(&mut self) {
        self.kill();
        let wait = self.launch().and_then(|()| self.wait()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(wait, Wait::Ready, "a port was taken meanwhile");
    }

    /// Stops it from doing anything; its connections stay.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        // A signal is on its way for a while.
        waitpid(Some(self.running().pid()), WaitOptions::UNTRACED).expect("the child can be waited for");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Requests answered since its start, by method (`Txn`, `Range`, `Watch`).
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

    /// A metric without labels.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let metrics = self.http("/metrics")?;
        metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    /// The answer to a GET; `None` where there is none within 2 seconds.
    fn http(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(&self.metrics).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}

/// Ports that nobody listens on now.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("there are free ports"));
    listeners.map(|listener| listener.local_addr().expect("it is bound").port())
}
