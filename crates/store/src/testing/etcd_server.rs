//! Real etcd servers for tests: one, or a cluster, on free ports of the loopback, with their data in memory where there is such a place.
//!
//! They end with the value that started them, also when the test panics; and with the process, also when it is killed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tempfile::TempDir;

#[cfg(feature = "etcd")]
pub use etcd_client;

/// What a test says that finds no etcd.
const INSTALL: &str = "there is no program etcd in PATH. Install it (Debian: apt-get install --no-install-recommends etcd-server), \
                       or set RACKPOOL_SKIP_ETCD=1 to leave out the tests that need it";
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
    pub fn start(&self) -> EtcdServer {
        let EtcdCluster { mut members, .. } = self.start_cluster(1);
        members.remove(0)
    }

    /// Starts a cluster of so many.
    ///
    /// # Panics
    /// When there is no etcd, or it is not ready in time.
    pub fn start_cluster(&self, size: usize) -> EtcdCluster {
        // A free port may be taken by another before etcd takes it.
        for _ in 0..4 {
            let mut members: Vec<_> = (0..size).map(|index| EtcdServer::new(self, index)).collect();
            let peers: Vec<_> = members.iter().map(|m| format!("{}={}", m.name, m.peer_url)).collect();
            for member in &mut members {
                member.peers = peers.join(",");
                member.launch();
            }
            if members.iter_mut().all(EtcdServer::is_ready_in_time) {
                return EtcdCluster { members };
            }
        }
        panic!("etcd does not start; its ports were taken again and again");
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
    name: String,
    setup: Setup,
    directory: TempDir,
    client_url: String,
    peer_url: String,
    metrics: String,
    peers: String,
    child: Option<Child>,
    /// A shell that ends it when this process is no more.
    guard: Option<Child>,
}

impl EtcdServer {
    /// A plain one.
    pub fn start() -> EtcdServer {
        Setup::new().start()
    }

    fn new(setup: &Setup, index: usize) -> EtcdServer {
        let memory = Path::new("/dev/shm");
        let directory = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
        let scheme = if setup.tls.is_some() { "https" } else { "http" };
        let [client, peer, metrics] = free_ports();
        EtcdServer {
            name: format!("m{index}"),
            setup: setup.clone(),
            directory: directory.expect("a place for etcd's data"),
            client_url: format!("{scheme}://127.0.0.1:{client}"),
            peer_url: format!("http://127.0.0.1:{peer}"),
            metrics: format!("127.0.0.1:{metrics}"),
            peers: String::new(),
            child: None,
            guard: None,
        }
    }

    /// Its URL for clients.
    pub fn endpoint(&self) -> String {
        self.client_url.clone()
    }

    /// Host and port of its URL for clients.
    pub fn address(&self) -> &str {
        self.client_url.split("://").nth(1).expect("the URL has a scheme")
    }

    /// What it wrote to its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn launch(&mut self) {
        let log = File::options().create(true).append(true).open(self.directory.path().join("log"));
        let log = log.expect("etcd's log can be written");
        let mut command = Command::new("etcd");
        command
            .args(["--name", &self.name, "--initial-cluster", &self.peers])
            .arg("--data-dir")
            .arg(self.directory.path().join("data"))
            .args(["--listen-client-urls", &self.client_url, "--advertise-client-urls", &self.client_url])
            .args(["--listen-peer-urls", &self.peer_url, "--initial-advertise-peer-urls", &self.peer_url])
            .args(["--listen-metrics-urls", &format!("http://{}", self.metrics)])
            .args(["--heartbeat-interval", "50", "--election-timeout", "500"])
            .args(&self.setup.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be shared"))
            .stderr(log);
        if let Some(tls) = &self.setup.tls {
            command.arg("--cert-file").arg(&tls.cert).arg("--key-file").arg(&tls.key);
            if let Some(ca) = &tls.client_ca {
                command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(ca);
            }
        }
        match command.spawn() {
            Ok(child) => {
                // Reads until this process closes the pipe, which it does in whatever way it ends.
                let guard = Command::new("sh")
                    .args(["-c", "read _; kill -9 \"$1\"", "sh", &child.id().to_string()])
                    .stdin(Stdio::piped())
                    .spawn();
                self.child = Some(child);
                self.guard = Some(guard.expect("there is a shell"));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => panic!("{INSTALL}"),
            Err(error) => panic!("etcd cannot be started: {error}"),
        }
    }

    /// Waits until it is healthy; `false` when its ports were taken.
    fn is_ready_in_time(&mut self) -> bool {
        let start = now();
        loop {
            if self.http("/health").is_some_and(|answer| answer.contains("\"true\"")) {
                return true;
            }
            let child = self.child.as_mut().expect("it was started");
            if child.try_wait().expect("the child can be waited for").is_some() {
                let log = self.log();
                assert!(log.contains("address already in use"), "etcd has ended:\n{log}");
                return false;
            }
            assert!(start.elapsed() < READY_WITHIN, "etcd is not ready:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).expect("the child can be signalled");
    }

    /// Ends it at once, as a power cut would.
    pub fn kill(&mut self) {
        // The guard first, so that it never kills another process of the same number.
        for mut child in self.guard.take().into_iter().chain(self.child.take()) {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again after [`EtcdServer::kill`], with its data and ports, and waits until it is healthy.
    pub fn restart(&mut self) {
        self.kill();
        self.launch();
        assert!(self.is_ready_in_time(), "a port was taken meanwhile:\n{}", self.log());
    }

    /// Stops it from doing anything; its connections stay.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        // A signal is on its way for a while.
        let child = Pid::from_child(self.child.as_ref().expect("it runs"));
        waitpid(Some(child), WaitOptions::UNTRACED).expect("the child can be waited for");
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

impl Drop for EtcdServer {
    fn drop(&mut self) {
        self.kill();
    }
}

#[allow(clippy::disallowed_methods, reason = "servers live in real time")]
fn now() -> Instant {
    Instant::now()
}

/// Ports that nobody listens on now.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("there are free ports"));
    listeners.map(|listener| listener.local_addr().expect("it is bound").port())
}
