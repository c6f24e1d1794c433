//! The rules of the protocol: which variables a command needs, and what is checked in which order
//! (`containernetworking/cni/pkg/skel`).

use std::io::Read;

use golang::strconv::quote;
use setup::Environment;

use crate::conf::{Document, VERSIONS, is_name};
use crate::error::CniError;

/// The largest configuration, in bytes.
const MOST: usize = 16 << 20;

/// A call of the plugin, as the environment describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The command, such as `ADD`.
    pub command: String,
    /// The container's ID.
    pub container: String,
    /// The path of the container's network namespace; may be empty for DEL.
    pub netns: String,
    /// The name of the interface in the container.
    pub interface: String,
    /// The text of `CNI_ARGS`.
    pub args: String,
    /// Whether the container's namespace may be the plugin's own.
    pub netns_override: bool,
}

impl Call {
    /// Reads the call from the environment; `None` when there is no command.
    ///
    /// # Errors
    /// Code 4. The error names all variables that are missing.
    pub fn of(environment: &Environment) -> Result<Option<Call>, CniError> {
        let variable = |name: &str| environment.get(name).unwrap_or_default().to_string();
        let command = variable("CNI_COMMAND");
        if command.is_empty() {
            return Ok(None);
        }
        let needed: &[&str] = match command.as_str() {
            "ADD" | "CHECK" => &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
            "DEL" => &["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"],
            "GC" | "STATUS" => &["CNI_PATH"],
            _ => &[],
        };
        let missing: Vec<_> = needed.iter().copied().filter(|name| variable(name).is_empty()).collect();
        if !missing.is_empty() {
            let missing = missing.join(",");
            let msg = format!("required env variables [{missing}] missing");
            return Err(CniError::new(CniError::ENVIRONMENT, msg));
        }
        let netns_override = variable("CNI_NETNS_OVERRIDE");
        Ok(Some(Call {
            command,
            container: variable("CNI_CONTAINERID"),
            netns: variable("CNI_NETNS"),
            interface: variable("CNI_IFNAME"),
            args: variable("CNI_ARGS"),
            netns_override: netns_override == "1" || netns_override.eq_ignore_ascii_case("true"),
        }))
    }

    /// A stand-in for a call, for checking what a configuration leads to without a runtime.
    pub fn for_test() -> Call {
        Call {
            command: "TEST".to_string(),
            container: "test".to_string(),
            netns: String::new(),
            interface: "eth0".to_string(),
            args: String::new(),
            netns_override: false,
        }
    }

    /// Reads and checks the configuration, and then the names of container and interface. The command itself
    /// is checked later: for an unknown command with a bad configuration, the error is about the
    /// configuration.
    ///
    /// # Errors
    /// Codes 3 to 7.
    pub fn document(&self, stdin: &mut dyn Read) -> Result<Document, CniError> {
        let text = outside::read_at_most(stdin, MOST)
            .map_err(|e| CniError::new(CniError::IO, format!("error reading from stdin: {e}")))?;
        let document = Document::parse(&text)?;
        if !matches!(self.command.as_str(), "GC" | "STATUS") {
            check_container(&self.container)?;
            check_interface(&self.interface)?;
        }
        Ok(document)
    }
}

fn check_container(name: &str) -> Result<(), CniError> {
    if name.is_empty() {
        return Err(CniError::new(CniError::CONTAINER, "missing containerID"));
    }
    if !is_name(name) {
        return Err(CniError::new(CniError::ENVIRONMENT, "invalid characters in containerID").with(name));
    }
    Ok(())
}

fn check_interface(name: &str) -> Result<(), CniError> {
    let wrong = |msg: &str| Err(CniError::new(CniError::ENVIRONMENT, msg));
    match name {
        "" => wrong("interface name is empty"),
        _ if name.len() > 15 => Err(CniError::new(CniError::ENVIRONMENT, "interface name is too long")
            .with("interface name should be less than 16 characters")),
        "." | ".." => wrong("interface name is . or .."),
        _ if name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace()) => {
            wrong("interface name contains / or : or whitespace characters")
        }
        _ => Ok(()),
    }
}

/// Checks that the command is known, and that it can be carried out with this configuration. Gives the
/// configuration's version.
///
/// # Errors
/// Code 4 for an unknown command; codes 1 and 6 for the version.
pub fn check_served(command: &str, document: &Document) -> Result<String, CniError> {
    let since = match command {
        "ADD" | "DEL" => None,
        "CHECK" => Some("0.4.0"),
        // These commands came with version 1.1.0, which the plugins do not know; so the check below always
        // refuses them.
        "GC" | "STATUS" => Some("1.1.0"),
        _ => {
            let msg = format!("unknown CNI_COMMAND: {command}");
            return Err(CniError::new(CniError::ENVIRONMENT, msg));
        }
    };
    let version = document.version()?;
    if let Some(since) = since {
        check_command_version(command, &version, since)?;
    }
    check_version(&version)?;
    Ok(version)
}

/// Checks that the plugins know the version of a configuration.
///
/// # Errors
/// Code 1.
fn check_version(version: &str) -> Result<(), CniError> {
    if VERSIONS.contains(&version) {
        return Ok(());
    }
    let supported: Vec<_> = VERSIONS.iter().map(|v| format!("\"{v}\"")).collect();
    let details = format!("config is {}, plugin supports [{}]", quote(version), supported.join(" "));
    Err(CniError::new(CniError::VERSION, "incompatible CNI versions").with(details))
}

/// Checks that a command of a later version of the protocol, `since`, is allowed by the configuration's
/// version, and known to the plugins.
///
/// # Errors
/// Code 1; code 6 if a text is no version.
fn check_command_version(command: &str, version: &str, since: &str) -> Result<(), CniError> {
    let number = |text: &str| parse_version(text).map_err(|e| CniError::new(CniError::DECODING, e));
    let refused =
        |who: &str| Err(CniError::new(CniError::VERSION, format!("{who} version does not allow {command}")));
    let configured = number(version)?;
    if configured < number(since)? {
        return refused("config");
    }
    let newest = VERSIONS[VERSIONS.len() - 1];
    if number(newest)? < configured { refused("plugin") } else { Ok(()) }
}

fn parse_version(text: &str) -> Result<[i64; 3], String> {
    let parts: Vec<_> = text.split('.').collect();
    if parts.len() > 3 {
        return Err(format!("invalid version {}: too many parts", quote(text)));
    }
    let mut numbers = [0; 3];
    for ((number, part), name) in numbers.iter_mut().zip(parts).zip(["major", "minor", "micro"]) {
        *number = part.parse().map_err(|_| {
            let part = quote(part);
            format!(
                "failed to convert {name} version part {part}: strconv.Atoi: parsing {part}: invalid syntax"
            )
        })?;
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_later_versions() {
        let rows = [
            ("CHECK", "0.3.1", "0.4.0", Some("config version does not allow CHECK")),
            ("CHECK", "0.4.0", "0.4.0", None),
            ("CHECK", "1.0.0", "0.4.0", None),
            ("CHECK", "1.1.0", "0.4.0", Some("plugin version does not allow CHECK")),
            ("GC", "1.0.0", "1.1.0", Some("config version does not allow GC")),
            ("GC", "1.1.0", "1.1.0", Some("plugin version does not allow GC")),
            (
                "GC",
                "x.1",
                "1.1.0",
                Some(
                    "failed to convert major version part \"x\": strconv.Atoi: parsing \"x\": invalid syntax",
                ),
            ),
        ];
        for (command, version, since, wanted) in rows {
            let found = check_command_version(command, version, since).err().map(|e| e.msg);
            assert_eq!(found.as_deref(), wanted, "{command} {version}");
        }
    }

    #[test]
    fn interfaces() {
        for (name, good) in
            [("eth0", true), ("é", true), ("aaaaaaaaaaaaaaa", true), ("aaaaaaaaaaaaaaaa", false)]
        {
            assert_eq!(check_interface(name).is_ok(), good, "{name}");
        }
        for name in ["", ".", "..", "a/b", "a:b", "a b", "a\tb"] {
            assert!(check_interface(name).is_err(), "{name}");
        }
    }
}
