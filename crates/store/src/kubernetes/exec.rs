//! Runs credential plugins (`client-go/plugin/pkg/client/auth/exec`) with bounds on their time and output. No
//! message quotes a plugin's input or output.

use std::io::{IsTerminal, stdin};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use outside::{Heard, Limits, Program, ProgramError};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::sync::oneshot;

use super::kubeconfig::from_yaml;

/// The largest output of a plugin that is read, in bytes: it is a token, or a certificate and its key.
const MOST: usize = 1 << 20;
/// How long a person may take to log in.
const LOGIN: Duration = Duration::from_secs(300);

/// A plugin, and how to call it. All fields but the command may hold secrets.
#[derive(Clone)]
pub(super) struct Exec {
    pub(super) api_version: String,
    pub(super) command: String,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    /// Whether the plugin may talk to the person at the terminal, if there is a terminal.
    pub(super) may_ask: bool,
    /// What the kubeconfig wants the plugin to be told about the cluster, if anything.
    pub(super) cluster: Option<Json>,
}

/// The credentials that a plugin gave.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PluginCredentials {
    pub(super) token: Option<String>,
    pub(super) client_certificate_data: Option<String>,
    pub(super) client_key_data: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    status: Option<PluginCredentials>,
}

impl Exec {
    /// Whether there is a person whom the plugin may ask.
    pub(super) fn asks(&self) -> bool {
        self.may_ask && stdin().is_terminal()
    }

    /// Runs the plugin on a thread of its own. The error is the reason, without the plugin's input and
    /// output.
    pub(super) async fn run(&self, within: Duration) -> Result<PluginCredentials, String> {
        let (exec, (sender, receiver)) = (self.clone(), oneshot::channel());
        let spawned = thread::Builder::new().spawn(move || {
            // The receiver is gone when the caller has given up.
            let _ = sender.send(exec.run_here(within));
        });
        spawned.map_err(|error| error.to_string())?;
        receiver.await.unwrap_or_else(|_| Err("the thread that waits for it is gone".to_string()))
    }

    fn run_here(&self, within: Duration) -> Result<PluginCredentials, String> {
        let asks = self.asks();
        let info = json!({
            "apiVersion": self.api_version, "kind": "ExecCredential",
            "spec": match &self.cluster {
                Some(cluster) => json!({"interactive": asks, "cluster": cluster}),
                None => json!({"interactive": asks}),
            },
        });
        let mut command = Command::new(&self.command);
        command
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .env("KUBERNETES_EXEC_INFO", info.to_string())
            .stdout(Stdio::piped());
        let (program, time) = match asks {
            true => (Program::start_at_terminal(&mut command), LOGIN),
            // What the plugin writes to standard error is dropped: it may quote secrets.
            false => (Program::start(command.stdin(Stdio::null()).stderr(Stdio::null())), within),
        };
        let program = program.map_err(|error| format!("it cannot be run: {error}"))?;
        let Heard { status, stdout, .. } = program
            .hear(Vec::new(), Limits { time, stdout: MOST, stderr: 0 })
            .map_err(|error| match error {
                ProgramError::Slow(time) => {
                    format!("it did not end within {:.0} s, and was killed", time.as_secs_f64())
                }
                error => error.to_string(),
            })?;
        if !status.success() {
            return Err(format!("it failed ({status}). Run it yourself to see why"));
        }
        given_in(stdout)
    }
}

/// The credentials in what a plugin wrote. The error quotes nothing of it.
pub(super) fn given_in(stdout: Vec<u8>) -> Result<PluginCredentials, String> {
    let text = String::from_utf8(stdout).map_err(|_| "what it wrote is no text".to_string())?;
    let answers: Vec<Answer> =
        from_yaml(&text).map_err(|why| format!("what it wrote is no ExecCredential: {why}"))?;
    let given = answers.into_iter().next().and_then(|answer| answer.status);
    given.ok_or_else(|| "what it wrote is no ExecCredential: it has no status".to_string())
}
