//! Starts a real Kubernetes control plane: etcd and the API server, on free ports of the loopback or on a
//! given address, and on request the scheduler and the controllers. It has no nodes. Kubelets can join it as
//! users of the API server.

mod api_server;
mod certificates;
mod kubectl;
mod options;
pub mod programs;
mod requests;
mod rights;
mod secrets;

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use self::certificates::random_token;
pub use self::kubectl::kubectl;
pub use self::options::KubeServerOptions;
pub use self::requests::Request;
pub use self::rights::{Access, Differences, GROUPS, ROLES, Right, accesses, rights};
use crate::ServerError;
use crate::etcd_server::{self, EtcdServer};
use crate::folder::Folder;
use crate::process::{Process, Wait};

/// How long the API server may take to become ready; the machine may be busy with a build.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// The name of the user that may do everything.
pub const ADMIN: &str = "admin";
/// The variable that names a folder in which API servers without a folder of the caller's write their audit
/// logs; it must be there. What all tests together have asked for shows which rights are needed. The name of
/// a log begins with that of the thread that starts the server, which is the test's, and an `@`.
pub const AUDIT_LOGS: &str = "RACKPOOL_AUDIT_LOGS";
/// The variable that names a [`Right`], as it is shown without its namespace. Where roles are applied,
/// whoever has its role loses this right: what fails then shows what the right is for.
pub const WITHOUT_RIGHT: &str = "RACKPOOL_WITHOUT_RIGHT";
const API_SERVER: &str = "kube-apiserver";
const SCHEDULER: &str = "kube-scheduler";
const CONTROLLERS: &str = "kube-controller-manager";

/// Whether to leave out tests with Kubernetes: because `RACKPOOL_SKIP_KUBERNETES` says so, or because
/// Kubernetes' programs are not built and there is no Go to build them. If so, a line on standard error says
/// it.
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

/// A running control plane.
#[derive(Debug)]
pub struct KubeServer {
    // The order of these fields is the order in which the servers end.
    clients: Vec<Process>,
    api_server: Option<Process>,
    etcd: EtcdServer,
    folder: Folder,
    audit_log: PathBuf,
    programs: PathBuf,
    options: KubeServerOptions,
    port: u16,
    endpoint: String,
    /// The users, each with its token.
    tokens: Vec<(String, String)>,
    kubectl: PathBuf,
}

/// Where the API server with this folder writes its audit log.
#[allow(clippy::disallowed_methods, reason = "whoever runs all tests says here where they leave their logs")]
fn audit_log_of(folder: &Folder) -> PathBuf {
    match (std::env::var_os(AUDIT_LOGS), folder.own().and_then(Path::file_name)) {
        (Some(logs), Some(name)) => {
            let thread = std::thread::current();
            let test = thread.name().unwrap_or_default();
            Path::new(&logs).join(format!("{test}@{}.log", name.display()))
        }
        _ => folder.path().join("audit.log"),
    }
}

impl KubeServer {
    /// Starts the control plane and waits until it is ready. Builds Kubernetes' programs first where they are
    /// missing, which takes minutes.
    ///
    /// # Panics
    /// Where [`KubeServer::try_start`] fails.
    pub fn start(options: KubeServerOptions) -> KubeServer {
        KubeServer::try_start(options).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts the control plane and waits until it is ready. Builds Kubernetes' programs first where they are
    /// missing, which takes minutes.
    ///
    /// # Errors
    /// When etcd or Go is not installed, or the control plane is not ready in time.
    pub fn try_start(options: KubeServerOptions) -> Result<KubeServer, ServerError> {
        let programs = programs::programs(&options.programs())?;
        let kubectl = kubectl()?;
        let folder = Folder::new(options.folder.as_deref(), &std::env::temp_dir())?;
        let etcd = etcd_server::Setup {
            // The data need not survive a crash of the machine, so etcd may skip fsync.
            arguments: vec!["--unsafe-no-fsync=true".to_string()],
            folder: options.folder.as_ref().map(|folder| folder.join("etcd")),
            tls: None,
        };
        let etcd = etcd.try_start()?;
        let tokens: Result<_, rcgen::Error> =
            options.users().map(|(name, _)| Ok((name.to_string(), random_token()?))).collect();
        let mut server = KubeServer {
            clients: Vec::new(),
            api_server: None,
            etcd,
            audit_log: audit_log_of(&folder),
            folder,
            programs,
            options,
            port: 0,
            endpoint: String::new(),
            tokens: tokens?,
            kubectl,
        };
        server.write_secrets()?;
        server.launch_api_server_somewhere()?;
        if server.options.scheduler {
            server.launch_client(SCHEDULER, &[], |_| true)?;
        }
        if server.options.controllers {
            let key = format!(
                "--service-account-private-key-file={}",
                server.path("service-accounts.key").display()
            );
            let ca = format!("--root-ca-file={}", server.ca().display());
            let mut arguments = vec![key, ca];
            arguments.extend(
                server
                    .options
                    .nodes_are_taken_for_ready
                    .then(|| "--controllers=*,-node-lifecycle-controller".to_string()),
            );
            server.launch_client(CONTROLLERS, &arguments, |server| {
                let account = server.kubectl(&["get", "serviceaccount", "default"]).output();
                account.is_ok_and(|out| out.status.success())
            })?;
        }
        Ok(server)
    }

    /// Checks that every server of the control plane still runs.
    ///
    /// # Errors
    /// When a server has ended by itself.
    pub fn check(&mut self) -> Result<(), ServerError> {
        self.etcd.check()?;
        self.clients
            .iter_mut()
            .chain(&mut self.api_server)
            .try_for_each(|process| process.check(&self.folder))
    }

    /// The URL of the API server.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The file with the authority that signed the API server's certificate.
    pub fn ca(&self) -> PathBuf {
        self.path("ca.crt")
    }

    /// The token of a user: [`ADMIN`], or one that [`KubeServerOptions::user`] added.
    ///
    /// # Panics
    /// When there is no user of that name.
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
    pub fn audit_log(&self) -> &Path {
        &self.audit_log
    }

    /// The control plane's folder. It is removed at the end, unless [`KubeServerOptions::in_folder`] gave it.
    pub fn directory(&self) -> &Path {
        self.folder.path()
    }

    /// The etcd of the API server. Its keys begin with `/registry/`.
    pub fn etcd(&self) -> &EtcdServer {
        &self.etcd
    }

    /// The process ids of its servers, without etcd's.
    pub fn process_ids(&self) -> Vec<u32> {
        self.clients.iter().chain(&self.api_server).map(Process::id).collect()
    }

    /// Serves the API without TLS on a Unix socket in the control plane's folder, by `kubectl proxy`. Whoever
    /// connects there is the administrator. This is for clients of only a few lines.
    ///
    /// # Panics
    /// When `kubectl proxy` does not start.
    pub fn serve_on_socket(&mut self) -> PathBuf {
        let socket = self.path("api.socket");
        let mut command = self.kubectl(&["proxy", "--unix-socket"]);
        command.arg(&socket);
        let launched = self.launch(&mut command, "kubectl-proxy", |_| UnixStream::connect(&socket).is_ok());
        launched.unwrap_or_else(|error| panic!("{error}"));
        socket
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    /// Starts a server that is a client of the API server (scheduler, controllers), and waits until it is
    /// ready.
    fn launch_client(
        &mut self,
        name: &'static str,
        arguments: &[String],
        is_ready: impl Fn(&KubeServer) -> bool,
    ) -> Result<(), ServerError> {
        let mut command = Command::new(self.programs.join(name));
        // No tests talk to it, so it listens on no port, not even for its health.
        command
            .arg(format!("--kubeconfig={}", self.kubeconfig().display()))
            .args(["--leader-elect=false", "--secure-port=0"])
            .args(arguments);
        self.launch(&mut command, name, is_ready)
    }

    fn launch(
        &mut self,
        command: &mut Command,
        name: &'static str,
        is_ready: impl Fn(&KubeServer) -> bool,
    ) -> Result<(), ServerError> {
        let mut process = Process::start(command, &self.folder, name)?;
        let wait = process.wait(&self.folder, READY_WITHIN, || is_ready(self))?;
        if wait == Wait::PortTaken {
            return Err(ServerError::PortTaken { name: name.to_string() });
        }
        // The servers end in the order of this list: the one started last, which needs the others, is first.
        self.clients.insert(0, process);
        Ok(())
    }
}
