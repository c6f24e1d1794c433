//! Kernel settings below `/proc/sys`, of the namespace that the thread is in.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::AttachError;
use crate::wiring::Wiring;

/// What it means when a setting cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Packets do not flow without it.
    Must,
    /// Packets flow later or less safely without it; the caller is warned.
    Should,
    /// As `Should`, but a kernel that has no such setting is fine.
    IfThere,
}

/// A setting: its file below `/proc/sys/net`, its value, and what depends on it.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) file: String,
    pub(crate) value: &'static str,
    pub(crate) need: Need,
}

/// Turns off the detection of duplicate addresses. This is set before either side comes up: on a link of two
/// interfaces the detection finds nothing, and would keep each address from being used for a second.
pub(crate) fn no_detection(interface: &str) -> Setting {
    must(format!("ipv6/conf/{interface}/accept_dad"), "0")
}

/// The settings of the host's side.
pub(crate) fn of_host(wiring: &Wiring) -> Vec<Setting> {
    let name = &wiring.host_interface;
    let mut settings = Vec::new();
    if wiring.has_ipv4() {
        settings.extend([
            // Packets to the host itself can then be translated to 127.0.0.1.
            must(format!("ipv4/conf/{name}/route_localnet"), "1"),
            Setting { need: Need::Should, ..must(format!("ipv4/neigh/{name}/proxy_delay"), "0") },
            must(format!("ipv4/conf/{name}/proxy_arp"), "1"),
            must(format!("ipv4/conf/{name}/forwarding"), "1"),
        ]);
    }
    if wiring.has_ipv6() {
        settings.extend([
            must(format!("ipv6/conf/{name}/disable_ipv6"), "0"),
            must(format!("ipv6/conf/{name}/proxy_ndp"), "1"),
            must(format!("ipv6/conf/{name}/forwarding"), "1"),
        ]);
    }
    // This is set even without IPv6 addresses: otherwise a container could announce itself as the host's
    // router.
    settings.push(Setting { need: Need::IfThere, ..must(format!("ipv6/conf/{name}/accept_ra"), "0") });
    settings
}

/// The settings that enable IPv6 in a container's namespace: some runtimes make namespaces with IPv6
/// disabled.
pub(crate) fn ipv6_in_container(wiring: &Wiring) -> Vec<Setting> {
    let own = wiring.container_interface.as_str();
    ["all", "default", "lo", own].map(|name| must(format!("ipv6/conf/{name}/disable_ipv6"), "0")).into()
}

/// The settings that make the container forward packets, or keep it from doing so.
pub(crate) fn forwarding_in_container(wiring: &Wiring) -> Vec<Setting> {
    let value = if wiring.ip_forward { "1" } else { "0" };
    let mut settings = Vec::new();
    if wiring.has_ipv4() {
        settings.push(must("ipv4/ip_forward".into(), value));
    }
    if wiring.has_ipv6() {
        settings.push(must("ipv6/conf/all/forwarding".into(), value));
    }
    settings
}

fn must(file: String, value: &'static str) -> Setting {
    Setting { file, value, need: Need::Must }
}

impl Setting {
    pub(crate) fn path(&self) -> PathBuf {
        Path::new("/proc/sys/net").join(&self.file)
    }

    /// The value that the setting has now; `None` where the kernel has no such setting.
    pub(crate) fn read(&self) -> io::Result<Option<String>> {
        match fs::read_to_string(self.path()) {
            Ok(value) => Ok(Some(value.trim_end().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn write(&self) -> io::Result<()> {
        write(&self.path(), self.value)
    }

    pub(crate) fn attach_error(&self, namespace: &str, source: io::Error) -> AttachError {
        AttachError::Sysctl {
            path: self.path().display().to_string(),
            value: self.value.to_owned(),
            namespace: namespace.to_owned(),
            remedy: remedy(&self.file, &source),
            source,
        }
    }
}

/// A setting and the value that it had before.
pub(crate) struct Former {
    pub(crate) setting: Setting,
    value: String,
}

impl Former {
    /// Reads the present value of a setting; `None` where the kernel has no such setting.
    pub(crate) fn of(setting: &Setting) -> io::Result<Option<Self>> {
        Ok(setting.read()?.map(|value| Self { setting: setting.clone(), value }))
    }

    pub(crate) fn restore(&self) -> io::Result<()> {
        write(&self.setting.path(), &self.value)
    }
}

/// Writes to a file, and never creates it: nothing can be created below `/proc/sys`, and the error of an
/// attempt would say less.
fn write(path: &Path, value: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

fn remedy(file: &str, error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound if file.starts_with("ipv6") => {
            "the kernel has no IPv6 (boot it without ipv6.disable=1) or give no IPv6 address"
        }
        io::ErrorKind::PermissionDenied => "run as root",
        io::ErrorKind::ReadOnlyFilesystem => {
            "/proc/sys is read-only here: run on the host, or in a privileged container"
        }
        _ => "see whether /proc is mounted",
    }
}
