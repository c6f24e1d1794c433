//! Calls the IPAM plugin by the protocol's delegation (`containernetworking/cni/pkg/invoke`).

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use api::Cidr;
use cni::CniError;
use cni::log::{Level, Log};
use outside::{Heard, Limits, Program, ProgramError, Secrets};
use serde_json::Value as Json;
use setup::Environment;

use crate::kernel;
use crate::secrets;

/// How often a program is started again while another process is still writing its file.
const TRIES: u32 = 6;
const PAUSE: Duration = Duration::from_millis(200);
/// How long a plugin may work. calico-ipam waits up to 90 s for the host's lock and then works up to 90 s. A
/// plugin that takes longer than this hangs.
const LIMIT: Duration = Duration::from_secs(240);
/// The size limits in bytes: of a result, and of what a plugin may log.
const LARGEST_RESULT: usize = 4 << 20;
const LONGEST_LOG: usize = 256 << 10;

/// What the IPAM plugin gave in an ADD.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DelegateResult {
    /// The addresses, in the plugin's order.
    pub addresses: Vec<IpAddr>,
    /// The plugin's routes, as it wrote them.
    pub routes: Vec<Json>,
    /// The plugin's DNS settings, as it wrote them.
    pub dns: Option<Json>,
}

/// A failed ADD of the IPAM plugin.
#[derive(Debug)]
pub struct Failed {
    /// The reason for the failure.
    pub error: CniError,
    /// Whether the plugin may have recorded addresses for the container all the same, because it gave no
    /// clear answer.
    pub may_have_given: bool,
}

/// A plugin that this plugin calls.
#[derive(Clone, Debug)]
pub struct Delegate {
    program: PathBuf,
    environment: Environment,
    limit: Duration,
}

impl Delegate {
    /// Finds the plugin of that name in the folders of `CNI_PATH`.
    ///
    /// # Errors
    /// Code 999 where no folder has it.
    pub fn find(name: &str, environment: &Environment) -> Result<Delegate, CniError> {
        if name.is_empty() || name.contains('/') {
            return Err(CniError::internal(format!("invalid plugin name: {name}")));
        }
        let path = environment.get("CNI_PATH").unwrap_or_default();
        let folders = path.split(':').filter(|folder| !folder.is_empty());
        let program =
            folders.clone().map(|folder| Path::new(folder).join(name)).find(|program| program.is_file());
        match program {
            Some(program) => Ok(Delegate { program, environment: environment.clone(), limit: LIMIT }),
            None => {
                let folders: Vec<_> = folders.collect();
                Err(CniError::internal(format!(
                    "failed to find plugin \"{name}\" in path [{}]",
                    folders.join(" ")
                )))
            }
        }
    }

    /// Calls ADD. `args` is the text of `CNI_ARGS`. A plugin that reports an error has kept nothing. If a
    /// plugin gives no clear answer, the caller has to take back what it may have given.
    ///
    /// # Errors
    /// The plugin's error as the plugin reported it; code 999 for a result that cannot be understood, and for
    /// a plugin that hangs.
    pub async fn add(
        &self,
        configuration: &Json,
        args: &str,
        log: &Log<'_>,
    ) -> Result<DelegateResult, Failed> {
        let failed = |error, may_have_given| Err(Failed { error, may_have_given });
        match self.run("ADD", configuration, args, log).await {
            Ok(output) if !output.status.success() => {
                failed(failure(&output, &self.secrets(configuration)), false)
            }
            Ok(output) => read(&output.stdout).or_else(|reason| {
                let reason = self.secrets(configuration).hidden_in(&reason);
                failed(CniError::internal(reason), true)
            }),
            Err(error) => {
                let has_run = !matches!(error, ProgramError::Io(_));
                failed(self.not_run("ADD", &error), has_run)
            }
        }
    }

    /// Calls DEL.
    ///
    /// # Errors
    /// As [`Delegate::add`].
    pub async fn del(&self, configuration: &Json, args: &str, log: &Log<'_>) -> Result<(), CniError> {
        match self.run("DEL", configuration, args, log).await {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(failure(&output, &self.secrets(configuration))),
            Err(error) => Err(self.not_run("DEL", &error)),
        }
    }

    /// Calls DEL after a failure. An error of the DEL is only logged, since the failure itself is reported.
    pub async fn take_back(&self, configuration: &Json, args: &str, log: &Log<'_>) {
        if let Err(error) = self.del(configuration, args, log).await {
            log.say(Level::Error, format!("the IPAM plugin does not take back what it gave: {}", error.msg));
        }
    }

    fn not_run(&self, command: &str, error: &ProgramError) -> CniError {
        let program = self.program.display();
        CniError::internal(match error {
            ProgramError::Io(error) => format!("{program} cannot be run: {error}"),
            _ => format!("{program} was called with {command}: {error}"),
        })
    }

    async fn run(
        &self,
        command: &str,
        configuration: &Json,
        args: &str,
        log: &Log<'_>,
    ) -> Result<Output, ProgramError> {
        let secrets = self.secrets(configuration);
        // Reads a little more than is logged, so that a secret at the end of the logged part is recognised as
        // a whole.
        let most = LONGEST_LOG + secrets.widest();
        let limits = Limits { time: self.limit, stdout: LARGEST_RESULT, stderr: most };
        let (plugin, input) = (self.clone(), configuration.to_string().into_bytes());
        let (command, args) = (command.to_string(), args.to_string());
        let heard = kernel::apart(move || plugin.spawn(&command, &args)?.hear(input, limits)).await?;
        let Heard { status, stdout, stderr, dropped } = heard;
        let dropped = dropped + stderr.len().saturating_sub(LONGEST_LOG) as u64;
        log.pass_on(&secrets.hidden_in_beginning(&String::from_utf8_lossy(&stderr), LONGEST_LOG));
        if dropped > 0 {
            log.say(Level::Error, format!("the IPAM plugin logged {dropped} bytes more, which are left out"));
        }
        Ok(Output { status, stdout, stderr })
    }

    fn secrets(&self, configuration: &Json) -> Secrets {
        secrets::of(configuration, &self.environment)
    }

    fn spawn(&self, command: &str, args: &str) -> io::Result<Program> {
        let mut tries = TRIES;
        loop {
            let mut program = Command::new(&self.program);
            program
                .env_clear()
                .envs(self.environment.variables())
                .env("CNI_COMMAND", command)
                .env("CNI_ARGS", args)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            match Program::start(&mut program) {
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && tries > 0 => {
                    tries -= 1;
                    thread::sleep(PAUSE);
                }
                spawned => return spawned,
            }
        }
    }
}

/// The error of a plugin that failed: its error object, or else its other output; without the secrets that it
/// was given.
fn failure(output: &Output, secrets: &Secrets) -> CniError {
    let object: Option<Json> = serde_json::from_slice(&output.stdout).ok();
    if let Some((object, msg)) = object.as_ref().and_then(|object| Some((object, object["msg"].as_str()?))) {
        let code = object["code"].as_u64().and_then(|code| u32::try_from(code).ok());
        let details = object["details"].as_str().unwrap_or_default();
        let (msg, details) = (secrets.hidden_in(msg), secrets.hidden_in(details));
        return CniError::new(code.unwrap_or(CniError::INTERNAL), msg).with(details);
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_string();
    let said = [text(&output.stdout), text(&output.stderr)].into_iter().find(|said| !said.is_empty());
    CniError::internal(match said {
        None => format!("netplugin failed with no error message: {}", output.status),
        Some(said) => format!("netplugin failed: {:?}", outside::cut_short(&secrets.hidden_in(&said))),
    })
}

/// Reads a result of any version of the protocol.
pub(crate) fn read(stdout: &[u8]) -> Result<DelegateResult, String> {
    let result: Json = serde_json::from_slice(stdout)
        .map_err(|error| format!("the IPAM plugin's result is no JSON: {error}"))?;
    let mut given = DelegateResult { dns: result.get("dns").cloned(), ..DelegateResult::default() };
    let list = |value: &Json| value.as_array().cloned().unwrap_or_default();
    for old in [&result["ip4"], &result["ip6"]].into_iter().filter(|ip| !ip.is_null()) {
        given.addresses.push(address(&old["ip"])?);
        given.routes.extend(list(&old["routes"]));
    }
    for ip in list(&result["ips"]) {
        given.addresses.push(address(&ip["address"])?);
    }
    given.routes.extend(list(&result["routes"]));
    Ok(given)
}

fn address(value: &Json) -> Result<IpAddr, String> {
    let wrong =
        || format!("the IPAM plugin's result holds {value} instead of an address with its prefix length");
    let text = value.as_str().ok_or_else(wrong)?;
    Cidr::parse_unmasked(text).map(|(_, addr)| addr).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use cni::log::{Kept, Sink};
    use serde_json::json;

    use super::*;

    #[test]
    fn results_of_all_versions() {
        let addresses = ["10.0.0.5", "fd00::5"].map(|text| text.parse().unwrap()).to_vec();
        let routes = vec![json!({"dst": "10.0.0.5/26"}), json!({"dst": "fd00::5/122"})];
        let old = json!({"cniVersion": "0.2.0", "ip4": {"ip": "10.0.0.5/26", "routes": [routes[0]]},
            "ip6": {"ip": "fd00::5/122", "routes": [routes[1]]}, "dns": {}});
        let new = json!({"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.5/26"}, {"address": "fd00::5/122"}],
            "routes": routes, "dns": {}});
        for result in [old, new] {
            let given = read(result.to_string().as_bytes()).unwrap();
            let wanted =
                DelegateResult { addresses: addresses.clone(), routes: routes.clone(), dns: Some(json!({})) };
            assert_eq!(given, wanted, "{result}");
        }
        for wrong in ["", "OK", r#"{"ips": [{"address": "10.0.0.5"}]}"#] {
            assert!(read(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert_eq!(read(b"{}"), Ok(DelegateResult::default()));
    }

    /// Runs ADD with a script as the plugin. Gives the outcome, the commands with which the script was
    /// called, and the log.
    fn add(script: &str, limit: Duration) -> (Result<DelegateResult, CniError>, String, String) {
        add_with(&json!({"name": "n"}), &[], script, limit)
    }

    fn add_with(
        configuration: &Json,
        variables: &[(&str, &str)],
        script: &str,
        limit: Duration,
    ) -> (Result<DelegateResult, CniError>, String, String) {
        let dir = tempfile::tempdir().unwrap();
        let (program, calls) = (dir.path().join("ipam"), dir.path().join("calls"));
        fs::write(&program, format!("#!/bin/sh\necho $CNI_COMMAND >> {}\n{script}\n", calls.display()))
            .unwrap();
        fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        let own = [("CNI_PATH", dir.path().to_str().unwrap()), ("PATH", "/usr/bin:/bin")];
        let environment: Environment = own.iter().chain(variables).copied().collect();
        let delegate = Delegate { limit, ..Delegate::find("ipam", &environment).unwrap() };
        let stderr = Kept::default();
        let sink = Sink::new(stderr.clone());
        let conf = cni::conf::Document::parse(br#"{"name":"n"}"#).unwrap().conf().unwrap();
        let log = Log::new(&sink, "p", setup::Clock::start(), &conf);
        let given = setup::full_runtime().unwrap().block_on(async {
            match delegate.add(configuration, "", &log).await {
                Ok(given) => Ok(given),
                Err(failed) => {
                    if failed.may_have_given {
                        delegate.take_back(configuration, "", &log).await;
                    }
                    Err(failed.error)
                }
            }
        });
        (given, fs::read_to_string(calls).unwrap(), stderr.text())
    }

    #[test]
    fn what_a_plugin_says_when_it_fails() {
        let error = |script: &str| {
            let (given, calls, _) = add(script, LIMIT);
            assert_eq!(calls, "ADD\n", "one that fails has kept nothing");
            given.unwrap_err()
        };
        let object = error(r#"echo '{"code": 7, "msg": "m", "details": "d"}'; exit 1"#);
        assert_eq!(object, CniError::new(7, "m").with("d"));
        assert_eq!(error("echo boom >&2; exit 2").msg, "netplugin failed: \"boom\"");
        assert_eq!(error("exit 2").msg, "netplugin failed with no error message: exit status: 2");
    }

    #[test]
    fn what_a_plugin_logs_is_passed_on() {
        let (given, _, log) = add("echo line >&2; cat > /dev/null; echo '{}'", LIMIT);
        assert_eq!((given, log.as_str()), (Ok(DelegateResult::default()), "line\n"));
    }

    #[test]
    fn what_it_gave_and_did_not_tell_is_taken_back() {
        let (given, calls, log) = add("[ $CNI_COMMAND = DEL ] || echo OK", LIMIT);
        assert!(given.unwrap_err().msg.contains("no JSON"));
        assert_eq!((calls.as_str(), log.as_str()), ("ADD\nDEL\n", ""));
        let (given, calls, _) = add("[ $CNI_COMMAND = DEL ] || exec sleep 600", Duration::from_secs(2));
        let msg = given.unwrap_err().msg;
        assert!(
            msg.ends_with("/ipam was called with ADD: it did not end within 2s, and was killed"),
            "{msg}"
        );
        assert_eq!(calls, "ADD\nDEL\n");
    }

    /// The secrets are in neither its error nor its log, not even in part where these are cut.
    #[test]
    fn what_a_plugin_quotes_holds_no_secrets() {
        let configuration = json!({"name": "n", "ipam": {"type": "ipam", "etcd_password": "hun\"ter1\\"}});
        let variables =
            [("ETCD_ENDPOINTS", "http://u:hunter2@a:1"), ("KUBECONFIG_INLINE", "{token: hunter3}")];
        let script = |what: &str| format!("all=$(cat; env); {what}; exit 1");
        for what in [
            r#"echo "$all""#,
            r#"echo "$all" >&2"#,
            "echo '{\"msg\": \"hun\\\"ter1\\\\ http://u:hunter2@a\", \"details\": \"hunter3\"}'",
            "printf %1020s | tr ' ' x; echo hunter3",
            "printf %262140s | tr ' ' x >&2; echo hunter3 >&2",
            r#"echo '{"ips": [{"address": "hunter2"}]}'; exit 0"#,
        ] {
            let (given, _, log) = add_with(&configuration, &variables, &script(what), LIMIT);
            let told = format!("{:?} {log}", given.unwrap_err());
            assert!(
                !told.contains("hun") && !told.contains("ter1") && told.contains("<hid"),
                "{what}: {told}"
            );
        }
    }

    #[test]
    fn what_a_plugin_logs_does_not_rule_the_terminal() {
        let (_, _, log) =
            add("printf 'a\\033[2J\\tb\\r\\n\\342\\200\\256c\\n' >&2; cat > /dev/null; echo '{}'", LIMIT);
        assert_eq!(log, "a\\u{1b}[2J\tb\\r\n\\u{202e}c\n");
    }

    /// Neither an endless result nor an endless log fills the memory.
    #[test]
    fn who_talks_without_end_is_ended() {
        let (given, calls, _) = add("[ $CNI_COMMAND = DEL ] || exec cat /dev/zero", LIMIT);
        assert!(given.unwrap_err().msg.contains("wrote more than 4 MiB"));
        assert_eq!(calls, "ADD\nDEL\n");
        let script = "cat > /dev/null; head -c 300000 /dev/zero | tr '\\0' x >&2; echo '{}'";
        let (given, _, log) = add(script, LIMIT);
        assert_eq!(given, Ok(DelegateResult::default()));
        assert!(log.len() < LONGEST_LOG + 200 && log.contains("logged 37856 bytes more"), "{}", log.len());
    }
}
