//! A Kubernetes control plane for experiments: `up` leaves one running, `down` ends it, `env` prints how to
//! reach it.
//!
//! A supervisor, which is this program in another process, owns the control plane. It ends when a client
//! tells it so on its socket. The servers end with the supervisor, even if the supervisor is killed.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use servers::kube_server::{KubeServer, KubeServerOptions, programs};

use crate::needs;
use xtask::cargo::{root, target_dir, this_program};

/// The line that tells the supervisor to end.
const END: &str = "end";

/// Arguments of `cargo xtask cluster`.
#[derive(Args)]
pub struct Cluster {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Starts etcd and the API server, and leaves them running. The first time this builds Kubernetes, which
    /// takes minutes.
    Up(Up),
    /// Ends the control plane, and removes its files.
    Down,
    /// Prints the variables to set: eval "$(cargo xtask cluster env)".
    Env,
    /// Runs the supervisor; `up` starts it.
    #[command(hide = true)]
    Supervise(Up),
}

#[derive(Args)]
struct Up {
    /// Start the scheduler, too.
    #[arg(long)]
    scheduler: bool,
    /// Start the controllers, too. Without them, pods need no service account.
    #[arg(long)]
    controllers: bool,
    /// The custom resources to install: v1 for crd.projectcalico.org/v1, v3 for projectcalico.org/v3.
    #[arg(long, value_parser = ["v1", "v3", "none"], default_value = "v1")]
    crds: String,
}

impl Cluster {
    /// Runs the chosen command.
    pub fn run(self) -> Result<()> {
        let files = Files { dir: target_dir()?.join("cluster") };
        match self.verb {
            Verb::Up(up) => files.up(&up),
            Verb::Down => files.down(),
            Verb::Env => {
                files.connect()?;
                print!("{}", files.env()?);
                Ok(())
            }
            Verb::Supervise(up) => files.supervise(&up),
        }
    }
}

/// The files that describe the running control plane. They are in the target folder, so each target folder
/// has its own control plane.
struct Files {
    dir: PathBuf,
}

impl Files {
    fn env(&self) -> Result<String> {
        fs::read_to_string(self.dir.join("env"))
            .context("no cluster is running; start one: cargo xtask cluster up")
    }

    /// Connects to the supervisor. A file holds the path of its socket, since a socket's path must be short,
    /// and the target folder's may not be.
    fn connect(&self) -> Result<UnixStream> {
        let none = "no cluster is running; start one: cargo xtask cluster up";
        let socket = fs::read_to_string(self.dir.join("socket")).context(none)?;
        UnixStream::connect(socket).context(none)
    }

    fn up(&self, up: &Up) -> Result<()> {
        if self.connect().is_ok() {
            bail!("a cluster is running already; end it: cargo xtask cluster down");
        }
        self.remove_leftovers()?;
        needs::program("etcd", "etcd-server", "Kubernetes' database")?;
        // The programs are built in this process, so that the user sees it and can interrupt it.
        programs::programs(&up.options().programs())?;
        fs::create_dir_all(&self.dir)?;
        let log_path = self.dir.join("log");
        let log = File::create(&log_path).with_context(|| log_path.display().to_string())?;
        let mut supervisor = Command::new(this_program()?)
            .args(["cluster", "supervise", "--crds", &up.crds])
            .args(up.scheduler.then_some("--scheduler"))
            .args(up.controllers.then_some("--controllers"))
            .current_dir(root())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            // In a process group of its own, so that Ctrl-C in this terminal does not reach the supervisor.
            .process_group(0)
            .spawn()?;
        // The supervisor prints one line when it is ready, or ends.
        let out = supervisor.stdout.take().context("it was piped")?;
        if BufReader::new(out).read_line(&mut String::new())? == 0 {
            supervisor.wait()?;
            bail!("the cluster did not start:\n{}", fs::read_to_string(&log_path)?);
        }
        print!("{}", self.env()?);
        eprintln!(
            "ready; to use it: eval \"$(cargo xtask cluster env)\"; to end it: cargo xtask cluster down"
        );
        Ok(())
    }

    /// Removes the files of a supervisor that was killed. Its servers ended with it.
    fn remove_leftovers(&self) -> Result<()> {
        if let Ok(socket) = fs::read_to_string(self.dir.join("socket")) {
            if let Some(dir) = Path::new(&socket).parent().filter(|dir| dir.exists()) {
                fs::remove_dir_all(dir).with_context(|| dir.display().to_string())?;
            }
            fs::remove_dir_all(&self.dir)?;
        }
        Ok(())
    }

    fn down(&self) -> Result<()> {
        let Ok(mut supervisor) = self.connect() else { return self.remove_leftovers() };
        writeln!(supervisor, "{END}")?;
        // The supervisor closes the connection as its last act.
        supervisor.set_read_timeout(Some(Duration::from_secs(30)))?;
        BufReader::new(supervisor).read_line(&mut String::new()).context("the cluster does not end")?;
        Ok(())
    }

    fn supervise(&self, up: &Up) -> Result<()> {
        let server = KubeServer::try_start(up.options())?;
        if up.crds != "none" {
            server.try_apply(&[&root().join("deploy/crds").join(&up.crds), &root().join("deploy/rbac")])?;
        }
        let socket = server.directory().join("supervisor");
        let listener = UnixListener::bind(&socket)?;
        fs::write(self.dir.join("socket"), socket.display().to_string())?;
        fs::write(self.dir.join("env"), exports(&server))?;
        println!("ready");
        let connection = wait_for_end(&listener);
        for file in ["env", "socket"] {
            fs::remove_file(self.dir.join(file))?;
        }
        drop(server);
        drop(connection);
        Ok(())
    }
}

impl Up {
    fn options(&self) -> KubeServerOptions {
        let mut options = KubeServerOptions::new();
        (options.scheduler, options.controllers) = (self.scheduler, self.controllers);
        options
    }
}

/// Waits for a client that tells the supervisor to end. Gives the connection.
fn wait_for_end(listener: &UnixListener) -> UnixStream {
    loop {
        let Ok((connection, _)) = listener.accept() else { continue };
        let mut line = String::new();
        // Other clients only check whether the supervisor answers.
        if BufReader::new(&connection).read_line(&mut line).is_ok() && line.trim_end() == END {
            return connection;
        }
    }
}

/// The lines for a shell that set the variables by which clients, Calico's programs among them, find the API
/// server, its audit log and its etcd.
fn exports(server: &KubeServer) -> String {
    let set = |name: &str, value: &Path| format!("export {name}='{}'\n", value.display());
    let mut text = set("KUBECONFIG", &server.kubeconfig());
    text.push_str("export DATASTORE_TYPE=kubernetes\n");
    text.push_str(&set("KUBE_AUDIT_LOG", server.audit_log()));
    text.push_str(&format!("export KUBE_ETCD='{}'\n", server.etcd().endpoint()));
    text
}
