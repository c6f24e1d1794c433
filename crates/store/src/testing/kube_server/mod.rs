//! A real Kubernetes control plane for tests: etcd and the API server on free ports of the loopback, and the scheduler and the controllers where
//! they are wanted. There are no nodes.
//!
//! It ends with the value that started it, also when the test panics; and with the process, also when it is killed.

mod api_server;
mod certificates;
mod process;
pub mod programs;

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use tempfile::TempDir;

use self::certificates::{Certificates, random_token};
use self::process::Process;
use super::etcd_server::{self, EtcdServer};

/// How long the API server may take to be ready; the machine may be busy with a build.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// The user that may do everything.
pub const ADMIN: &str = "admin";
const API_SERVER: &str = "kube-apiserver";
const SCHEDULER: &str = "kube-scheduler";
const CONTROLLERS: &str = "kube-controller-manager";

/// Whether tests with Kubernetes are to be left out: `RACKPOOL_SKIP_KUBERNETES` says so, or its programs are not built and there is no Go. Says so.
#[allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests have no environment handed to them"
)]
pub fn is_left_out() -> bool {
    if std::env::var_os("RACKPOOL_SKIP_KUBERNETES").is_some_and(|value| !value.is_empty()) {
        eprintln!("left out: RACKPOOL_SKIP_KUBERNETES is set");
        return true;
    }
    if !programs::are_built(&[API_SERVER]) && !programs::has_go() {
        eprintln!("left out: {}", programs::ProgramsError::NoGo);
        return true;
    }
    etcd_server::is_left_out()
}

/// What to start.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The scheduler.
    pub scheduler: bool,
    /// The controllers. Without them pods need no service account, as nobody would make one.
    pub controllers: bool,
    users: Vec<(String, Vec<String>)>,
    arguments: Vec<String>,
}

impl Options {
    /// The API server alone.
    pub fn new() -> Options {
        Options::default()
    }

    /// With one more argument of the API server.
    pub fn argument(mut self, argument: &str) -> Options {
        self.arguments.push(argument.to_string());
        self
    }

    /// With one more user, who may do what RBAC gives to the user or the groups.
    pub fn user(mut self, name: &str, groups: &[&str]) -> Options {
        self.users.push((name.to_string(), groups.iter().map(ToString::to_string).collect()));
        self
    }
}

/// A request that the API server has answered, or, of a watch, has begun to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who sent it.
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, ...
    pub verb: String,
    /// Path and query.
    pub uri: String,
    /// The status.
    pub code: u16,
}

/// A control plane.
#[derive(Debug)]
pub struct KubeServer {
    // In the order in which they end.
    clients: Vec<Process>,
    api_server: Option<Process>,
    etcd: EtcdServer,
    directory: TempDir,
    programs: PathBuf,
    options: Options,
    port: u16,
    endpoint: String,
    /// User and token.
    tokens: Vec<(String, String)>,
    kubectl: PathBuf,
}

impl KubeServer {
    /// Starts it, and waits until it is ready. Builds Kubernetes first where that was not done yet, which takes minutes.
    ///
    /// # Panics
    /// When there is no etcd, no Go, or it is not ready in time.
    pub fn start(options: Options) -> KubeServer {
        let mut names = vec![API_SERVER];
        names.extend(options.scheduler.then_some(SCHEDULER));
        names.extend(options.controllers.then_some(CONTROLLERS));
        let programs = programs::programs(&names).unwrap_or_else(|error| panic!("{error}"));
        let kubectl = kubectl();
        // Nothing here outlives the machine.
        let etcd = etcd_server::Setup::new().argument("--unsafe-no-fsync=true").start();
        let directory = TempDir::with_prefix("rackpool-kube-").expect("a place for the API server's files");
        let mut users = vec![(ADMIN.to_string(), vec!["system:masters".to_string()])];
        users.extend(options.users.iter().cloned());
        let tokens = users.iter().map(|(name, _)| (name.clone(), random_token())).collect();
        let mut server = KubeServer {
            clients: Vec::new(),
            api_server: None,
            etcd,
            directory,
            programs,
            options,
            port: 0,
            endpoint: String::new(),
            tokens,
            kubectl,
        };
        server.write_secrets(&users);
        server.launch_api_server_somewhere();
        if server.options.scheduler {
            server.launch_client(SCHEDULER, &[]);
        }
        if server.options.controllers {
            let (key, ca) = (server.path("service-accounts.key"), server.ca());
            let key = format!("--service-account-private-key-file={}", key.display());
            let ca = format!("--root-ca-file={}", ca.display());
            server.launch_client(CONTROLLERS, &[&key, &ca]);
            server.wait_for(CONTROLLERS, |server| {
                server
                    .kubectl(&["get", "serviceaccount", "default"])
                    .output()
                    .is_ok_and(|out| out.status.success())
            });
        }
        server
    }

    /// Its URL.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The file with the authority of its certificate.
    pub fn ca(&self) -> PathBuf {
        self.path("ca.crt")
    }

    /// The token of a user: of [`ADMIN`] or one of [`Options::user`].
    ///
    /// # Panics
    /// When there is no such user.
    pub fn token(&self, user: &str) -> &str {
        let found = self.tokens.iter().find(|(name, _)| name == user);
        &found.unwrap_or_else(|| panic!("there is no user {user}")).1
    }

    /// The kubeconfig file of the administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig_of(ADMIN)
    }

    /// The kubeconfig file of a user.
    pub fn kubeconfig_of(&self, user: &str) -> PathBuf {
        self.path(&format!("{}.kubeconfig", user.replace(':', "-")))
    }

    /// The audit log: a JSON object per request, without bodies.
    pub fn audit_log(&self) -> PathBuf {
        self.path("audit.log")
    }

    /// Its folder, which goes with it.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The etcd below it; keys start with `/registry/`.
    pub fn etcd(&self) -> &EtcdServer {
        &self.etcd
    }

    /// The numbers of its processes, etcd left out.
    pub fn process_ids(&self) -> Vec<u32> {
        self.clients.iter().chain(&self.api_server).map(Process::id).collect()
    }

    /// All requests of a user since the start, in the order of the answers. Each is here before its sender has the answer.
    ///
    /// # Panics
    /// When the log cannot be read.
    pub fn requests_of(&self, user: &str) -> Vec<Request> {
        let text = fs::read_to_string(self.audit_log()).expect("the API server writes an audit log");
        let events = text.lines().filter_map(|line| serde_json::from_str::<Json>(line).ok());
        let requests = events.filter_map(|event| {
            let (stage, verb) = (event["stage"].as_str()?, event["verb"].as_str()?);
            let counts =
                if verb == "watch" { stage == "ResponseStarted" } else { stage == "ResponseComplete" };
            let request = Request {
                user: event["user"]["username"].as_str()?.to_string(),
                verb: verb.to_string(),
                uri: event["requestURI"].as_str()?.to_string(),
                code: event["responseStatus"]["code"].as_u64().and_then(|code| code.try_into().ok())?,
            };
            (counts && request.user == user).then_some(request)
        });
        requests.collect()
    }

    /// kubectl as the administrator.
    pub fn kubectl(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(self.kubeconfig()).args(arguments).env("HOME", self.directory());
        command
    }

    /// Begins to serve the API in the clear, to whom it takes for the administrator, on a Unix socket in its folder: for clients that are no more than a
    /// few lines. `kubectl proxy` does it.
    ///
    /// # Panics
    /// When that does not start.
    pub fn serve_on_socket(&mut self) -> PathBuf {
        let socket = self.path("api.socket");
        let mut command = self.kubectl(&["proxy", "--unix-socket"]);
        command.arg(&socket);
        let name = "kubectl-proxy";
        self.launch(&mut command, name);
        self.wait_for(name, |_| UnixStream::connect(&socket).is_ok());
        socket
    }

    /// Installs the custom resources and whatever else is in these files, or folders of files, and waits until the API server serves them.
    ///
    /// # Panics
    /// When it refuses one of them.
    pub fn apply(&self, manifests: &[&Path]) {
        let mut command = self.kubectl(&["apply", "--server-side"]);
        for path in manifests {
            command.arg("-f").arg(path);
        }
        succeed(&mut command);
        let resources = ["customresourcedefinitions", "-o", "jsonpath={.items[*].metadata.name}"];
        let names = succeed(self.kubectl(&["get"]).args(resources)).stdout;
        let names = String::from_utf8_lossy(&names);
        let names: Vec<_> =
            names.split_whitespace().map(|name| format!("customresourcedefinition/{name}")).collect();
        if !names.is_empty() {
            succeed(self.kubectl(&["wait", "--for=condition=Established"]).args(names));
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("the server's folder can be written");
    }

    /// Certificates, tokens and the audit policy.
    fn write_secrets(&self, users: &[(String, Vec<String>)]) {
        let certificates = Certificates::generate().expect("certificates can be made");
        self.write("ca.crt", &certificates.ca);
        self.write("server.crt", &certificates.cert);
        self.write("server.key", &certificates.key);
        self.write("service-accounts.key", &certificates.service_accounts);
        self.write("service-accounts.pub", &certificates.service_accounts_public);
        let tokens = users
            .iter()
            .map(|(name, groups)| format!("{},{name},{name},\"{}\"\n", self.token(name), groups.join(",")));
        self.write("tokens.csv", &tokens.collect::<String>());
        let policy = json!({
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": [{"level": "Metadata"}],
        });
        self.write("audit-policy.json", &policy.to_string());
        self.write("audit.log", "");
    }

    fn write_kubeconfigs(&self) {
        for (user, token) in &self.tokens {
            let config = json!({
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "test", "cluster": {"server": self.endpoint, "certificate-authority": self.ca()}}],
                "users": [{"name": user, "user": {"token": token}}],
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
                "current-context": "test",
            });
            fs::write(self.kubeconfig_of(user), config.to_string())
                .expect("the server's folder can be written");
        }
    }

    /// Starts a server that is a client of the API server.
    fn launch_client(&mut self, name: &str, arguments: &[&str]) {
        let mut command = Command::new(self.programs.join(name));
        // It serves nothing, not even its health.
        command
            .arg(format!("--kubeconfig={}", self.kubeconfig().display()))
            .args(["--leader-elect=false", "--secure-port=0"])
            .args(arguments);
        self.launch(&mut command, name);
    }

    fn launch(&mut self, command: &mut Command, name: &str) {
        let process = self.start_process(command, name);
        // The last one first, as they need each other.
        self.clients.insert(0, process);
    }

    fn start_process(&self, command: &mut Command, name: &str) -> Process {
        let process = Process::start(command, self.directory(), name);
        process.unwrap_or_else(|error| panic!("{name} cannot be started: {error}"))
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default()
    }

    /// Waits for the client that was started last.
    fn wait_for(&mut self, name: &str, is_ready: impl Fn(&KubeServer) -> bool) {
        let start = now();
        while !is_ready(self) {
            assert!(!self.clients[0].has_ended(), "{name} has ended:\n{}", self.log(name));
            assert!(start.elapsed() < READY_WITHIN, "{name} is not ready:\n{}", self.log(name));
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// kubectl in PATH, else our own.
/// The kubectl in PATH, else one that is built, which takes a while.
///
/// # Panics
/// When it cannot be built.
pub fn kubectl() -> PathBuf {
    let name = "kubectl";
    let in_path = Command::new(name).args(["version", "--client"]).output();
    if in_path.is_ok_and(|out| out.status.success()) {
        return name.into();
    }
    programs::programs(&[name]).unwrap_or_else(|error| panic!("{error}")).join(name)
}

fn succeed(command: &mut Command) -> Output {
    let out = command.output().expect("kubectl can be started");
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
    out
}

#[allow(clippy::disallowed_methods, reason = "servers live in real time")]
fn now() -> Instant {
    Instant::now()
}
