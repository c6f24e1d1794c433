//! A real Kubernetes control plane: etcd and the API server on free ports of the loopback, or where they are wanted, and the scheduler and the controllers
//! where these are wanted. There are no nodes; their kubelets may be users of the server.

mod api_server;
mod certificates;
mod kubectl;
mod options;
pub mod programs;
mod requests;
mod secrets;

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use self::certificates::random_token;
pub use self::kubectl::kubectl;
pub use self::options::Options;
pub use self::requests::Request;
use crate::ServerError;
use crate::etcd_server::{self, EtcdServer};
use crate::folder::Folder;
use crate::process::{Process, Wait};

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

/// A control plane.
#[derive(Debug)]
pub struct KubeServer {
    // In the order in which they end.
    clients: Vec<Process>,
    api_server: Option<Process>,
    etcd: EtcdServer,
    folder: Folder,
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
    /// Where [`KubeServer::try_start`] fails.
    pub fn start(options: Options) -> KubeServer {
        KubeServer::try_start(options).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts it, and waits until it is ready. Builds Kubernetes first where that was not done yet, which takes minutes.
    ///
    /// # Errors
    /// When there is no etcd, no Go, or it is not ready in time.
    pub fn try_start(options: Options) -> Result<KubeServer, ServerError> {
        let programs = programs::programs(&options.programs())?;
        let kubectl = kubectl()?;
        let folder = Folder::new(options.folder.as_deref(), &std::env::temp_dir())?;
        let etcd = etcd_server::Setup {
            // Nothing here outlives the machine.
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

    /// Whether all of it still runs.
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
        self.folder.path()
    }

    /// The etcd below it; keys start with `/registry/`.
    pub fn etcd(&self) -> &EtcdServer {
        &self.etcd
    }

    /// The numbers of its processes, etcd left out.
    pub fn process_ids(&self) -> Vec<u32> {
        self.clients.iter().chain(&self.api_server).map(Process::id).collect()
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
        let launched = self.launch(&mut command, "kubectl-proxy", |_| UnixStream::connect(&socket).is_ok());
        launched.unwrap_or_else(|error| panic!("{error}"));
        socket
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    /// Starts a server that is a client of the API server, and waits until it is ready.
    fn launch_client(
        &mut self,
        name: &'static str,
        arguments: &[String],
        is_ready: impl Fn(&KubeServer) -> bool,
    ) -> Result<(), ServerError> {
        let mut command = Command::new(self.programs.join(name));
        // It serves nothing, not even its health.
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
        // The last one first, as they need each other.
        self.clients.insert(0, process);
        Ok(())
    }
}
