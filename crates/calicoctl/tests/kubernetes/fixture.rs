//! A user of the program with an API server, in a directory of its own.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use servers::kube_server::{self, KubeServer, KubeServerOptions};
use tempfile::TempDir;

/// The users of the tests. Their rights come from the installed roles alone.
pub const ADMINISTRATOR: &str = "alice";
pub const READER: &str = "bob";
pub const BEGINNER: &str = "carol";
pub const PURGER: &str = "dave";
/// One more for each of these two roles, who is never refused anything.
pub const OTHER_BEGINNER: &str = "erin";
pub const OTHER_PURGER: &str = "frank";
pub const STRANGER: &str = "stranger";

static SERVER: OnceLock<KubeServer> = OnceLock::new();
/// Tests that start an API server of their own take this lock, since such servers need much memory.
pub static ALONE: Mutex<()> = Mutex::new(());

/// The one API server for all tests, which use it one at a time. It has the roles installed, and nothing
/// else.
pub struct Cluster {
    pub server: &'static KubeServer,
    _alone: MutexGuard<'static, ()>,
}

/// The server, without definitions and objects of Calico; `None` where tests with Kubernetes are left out.
pub fn cluster() -> Option<Cluster> {
    if kube_server::is_left_out() {
        return None;
    }
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let server = SERVER.get_or_init(|| {
        let users = [ADMINISTRATOR, READER, BEGINNER, PURGER, OTHER_BEGINNER, OTHER_PURGER, STRANGER];
        let options =
            users.into_iter().fold(KubeServerOptions::new(), |options, user| options.user(user, &[]));
        let server = KubeServer::start(options);
        server.apply(&[concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/rbac").as_ref()]);
        let roles = [
            ("calicoctl-admin", ADMINISTRATOR),
            ("calicoctl-reader", READER),
            ("calicoctl-init", BEGINNER),
            ("calicoctl-purge", PURGER),
            ("calicoctl-init", OTHER_BEGINNER),
            ("calicoctl-purge", OTHER_PURGER),
        ];
        for (role, user) in roles {
            let (role, subject) = (format!("--clusterrole={role}"), format!("--user={user}"));
            kubectl(&server, &["create", "clusterrolebinding", user, &role, &subject]);
        }
        server
    });
    // A test that failed may have left an object that a finalizer keeps for ever.
    kubectl(server, &["delete", "customresourcedefinitions", "--all", "--wait", "--timeout=60s"]);
    kubectl(server, &["delete", "nodes,pods", "--all", "--force", "--grace-period=0"]);
    Some(Cluster { server, _alone: alone })
}

/// Runs kubectl, which must succeed. Gives its output.
pub fn kubectl(server: &KubeServer, arguments: &[&str]) -> String {
    let output = server.kubectl(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The outcome of a run of the program.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

/// A user: a directory, and the settings that lead to the server.
pub struct User {
    dir: TempDir,
    variables: Vec<(String, String)>,
}

impl Cluster {
    /// The cluster's administrator.
    pub fn root(&self) -> User {
        self.user(kube_server::ADMIN)
    }

    /// The user with that name on the server.
    pub fn user(&self, name: &str) -> User {
        let kubeconfig = self.server.kubeconfig_of(name).display().to_string();
        User::new().with("DATASTORE_TYPE", "kubernetes").with("KUBECONFIG", &kubeconfig)
    }

    pub fn kubectl(&self, arguments: &[&str]) -> String {
        kubectl(self.server, arguments)
    }
}

impl User {
    pub fn new() -> User {
        User { dir: tempfile::tempdir().unwrap(), variables: Vec::new() }
    }

    pub fn with(mut self, name: &str, value: &str) -> User {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_string(), value.to_string()));
        self
    }

    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// The environment that leads to the server.
    pub fn environment(&self) -> setup::Environment {
        self.variables.iter().cloned().collect()
    }

    /// Writes a file. Gives its path.
    pub fn file(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// Writes a configuration file with these fields. Gives its path.
    pub fn config(&self, name: &str, fields: &[(&str, &str)]) -> String {
        let fields: String = fields.iter().map(|(field, value)| format!("  {field}: {value:?}\n")).collect();
        let start = "apiVersion: projectcalico.org/v3\nkind: CalicoAPIConfig\nmetadata: {}\nspec:\n";
        self.file(name, &format!("{start}{fields}"))
    }

    /// Runs a command with `input` as its standard input.
    pub fn run_with(&self, line: &str, input: &str) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_calicoctl"));
        command.args(line.split(' ')).env_clear().env("HOME", self.dir.path()).current_dir(self.dir.path());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        #[allow(clippy::disallowed_methods, reason = "measures how long users wait")]
        let start = Instant::now();
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
            took: start.elapsed(),
        }
    }

    pub fn run(&self, line: &str) -> Ran {
        self.run_with(line, "")
    }

    /// The output of a run, which must succeed.
    pub fn good(&self, line: &str) -> String {
        let ran = self.run(line);
        assert_eq!(ran.code, Some(0), "{line}: {ran:?}");
        ran.stdout
    }

    /// Runs `create` with that manifest; it must succeed.
    pub fn create(&self, text: &str) -> Ran {
        self.run_with("create -f -", text)
    }
}

impl Ran {
    /// Checks that the run failed with an error that contains all of these texts.
    pub fn says(&self, words: &[&str]) {
        assert_eq!(self.code, Some(1), "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not in {:?}", self.stderr);
        }
    }
}
