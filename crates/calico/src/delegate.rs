//! The IPAM plugin, called through the protocol's delegation (`containernetworking/cni/pkg/invoke`).

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use api::Cidr;
use cni::CniError;
use serde_json::Value as Json;
use setup::Environment;

/// How often a program is tried whose file somebody is still writing.
const TRIES: u32 = 6;
const PAUSE: Duration = Duration::from_millis(200);

/// What the IPAM plugin gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Given {
    /// The addresses, in its order.
    pub addresses: Vec<IpAddr>,
    /// Its routes, as it wrote them.
    pub routes: Vec<Json>,
    /// Its DNS settings, as it wrote them.
    pub dns: Option<Json>,
}

/// A plugin that another calls.
#[derive(Debug)]
pub struct Delegate<'a> {
    program: PathBuf,
    environment: &'a Environment,
}

impl<'a> Delegate<'a> {
    /// The plugin of that name in the folders of `CNI_PATH`.
    ///
    /// # Errors
    /// Code 999 where there is none.
    pub fn find(name: &str, environment: &'a Environment) -> Result<Delegate<'a>, CniError> {
        if name.is_empty() || name.contains('/') {
            return Err(CniError::internal(format!("invalid plugin name: {name}")));
        }
        let path = environment.get("CNI_PATH").unwrap_or_default();
        let folders = path.split(':').filter(|folder| !folder.is_empty());
        let program =
            folders.clone().map(|folder| Path::new(folder).join(name)).find(|program| program.is_file());
        match program {
            Some(program) => Ok(Delegate { program, environment }),
            None => {
                let folders: Vec<_> = folders.collect();
                Err(CniError::internal(format!(
                    "failed to find plugin \"{name}\" in path [{}]",
                    folders.join(" ")
                )))
            }
        }
    }

    /// ADD. `args` is `CNI_ARGS`.
    ///
    /// # Errors
    /// What the plugin says, as it says it.
    pub fn add(&self, configuration: &Json, args: &str) -> Result<Given, CniError> {
        let text = self.call("ADD", configuration, args)?;
        let result: Json = serde_json::from_str(&text)
            .map_err(|error| CniError::internal(format!("the IPAM plugin's result is no JSON: {error}")))?;
        read(&result).map_err(CniError::internal)
    }

    /// DEL.
    ///
    /// # Errors
    /// As [`Delegate::add`].
    pub fn del(&self, configuration: &Json, args: &str) -> Result<(), CniError> {
        self.call("DEL", configuration, args).map(|_| ())
    }

    fn call(&self, command: &str, configuration: &Json, args: &str) -> Result<String, CniError> {
        let output = self.run(command, configuration.to_string().as_bytes(), args).map_err(|error| {
            CniError::internal(format!("{} cannot be run: {error}", self.program.display()))
        })?;
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(stdout);
        }
        Err(failure(&stdout, &String::from_utf8_lossy(&output.stderr), &output.status.to_string()))
    }

    fn run(&self, command: &str, input: &[u8], args: &str) -> io::Result<Output> {
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
            match program.spawn() {
                Ok(mut child) => {
                    if let Some(mut stdin) = child.stdin.take() {
                        // A program that reads nothing has its own reasons, and says them.
                        let _ = stdin.write_all(input);
                    }
                    return child.wait_with_output();
                }
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && tries > 0 => {
                    tries -= 1;
                    thread::sleep(PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// The error of a plugin that failed: its error object, or what else it said.
fn failure(stdout: &str, stderr: &str, status: &str) -> CniError {
    let object: Option<Json> = serde_json::from_str(stdout).ok();
    if let Some((object, msg)) = object.as_ref().and_then(|object| Some((object, object["msg"].as_str()?))) {
        let code = object["code"].as_u64().and_then(|code| u32::try_from(code).ok());
        let details = object["details"].as_str().unwrap_or_default();
        return CniError::new(code.unwrap_or(CniError::INTERNAL), msg).with(details);
    }
    let said = if stdout.trim().is_empty() { stderr } else { stdout };
    CniError::internal(match said.trim() {
        "" => format!("netplugin failed with no error message: {status}"),
        said => format!("netplugin failed: {said:?}"),
    })
}

/// Reads a result of any version.
fn read(result: &Json) -> Result<Given, String> {
    let mut given = Given { dns: result.get("dns").cloned(), ..Given::default() };
    let list = |value: &Json| value.as_array().cloned().unwrap_or_default();
    for old in ["ip4", "ip6"].iter().filter_map(|field| result.get(field)) {
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
            let given = read(&result).unwrap();
            let wanted = Given { addresses: addresses.clone(), routes: routes.clone(), dns: Some(json!({})) };
            assert_eq!(given, wanted, "{result}");
        }
        assert!(read(&json!({"ips": [{"address": "10.0.0.5"}]})).is_err());
        assert_eq!(read(&json!({})), Ok(Given::default()));
    }

    #[test]
    fn what_a_plugin_says_when_it_fails() {
        let error = failure(r#"{"code": 7, "msg": "m", "details": "d"}"#, "", "exit status: 1");
        assert_eq!(error, CniError::new(7, "m").with("d"));
        assert_eq!(failure("", "boom\n", "exit status: 2").msg, "netplugin failed: \"boom\"");
        let silent = failure("", "", "exit status: 2");
        assert_eq!(silent.msg, "netplugin failed with no error message: exit status: 2");
    }
}
