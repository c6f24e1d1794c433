//! Makes a package of Debian, by dpkg-deb.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::{NAME, Source, VERSION};
use crate::images::Files;
use crate::needs;
use xtask::cargo::root;

/// What dpkg runs.
const SCRIPTS: [&str; 3] = ["postinst", "postrm", "prerm"];
const MAINTAINER: &str = "rackpool's maintainers <maintainers@rackpool.example>";
/// Files that an administrator changes, and that an upgrade leaves alone.
const SETTINGS: &str = "/etc/rackpool/rackpoold.env\n";

/// Writes a package with these files.
///
/// # Errors
/// When a file cannot be read or written, or dpkg-deb fails.
pub fn write(files: &Files, source: &Source, package: &Path) -> Result<()> {
    needs::program("dpkg-deb", "dpkg", "makes the package")?;
    let folder = tempfile::tempdir()?;
    let place = folder.path();
    files.write_into(place)?;
    let mut sums = Command::new("md5sum");
    let sums = sums.args(files.paths()).current_dir(place).output().context("md5sum")?;
    let control = place.join("DEBIAN");
    fs::create_dir(&control)?;
    fs::write(control.join("control"), text(source, files.bytes()?))?;
    fs::write(control.join("conffiles"), SETTINGS)?;
    fs::write(control.join("md5sums"), sums.stdout)?;
    for script in SCRIPTS {
        let to = control.join(script);
        fs::copy(root().join("deploy/debian").join(script), &to).with_context(|| script.to_string())?;
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755))?;
    }
    // The folder of a temporary folder is for its owner alone, and becomes the root of the package.
    fs::set_permissions(place, fs::Permissions::from_mode(0o755))?;
    let mut build = Command::new("dpkg-deb");
    // Several threads would split the content by their number.
    let packing = if source.is_quick { ["-Zgzip", "-z1"] } else { ["-Zxz", "--threads-max=1"] };
    build.arg("--root-owner-group").args(packing).arg("--build").arg(place).arg(package);
    let out = build.env("SOURCE_DATE_EPOCH", source.time.to_string()).output().context("dpkg-deb")?;
    anyhow::ensure!(out.status.success(), "dpkg-deb: {}", String::from_utf8_lossy(&out.stderr));
    Ok(())
}

/// The list of the package's own changes: it has none beside those of the programs.
///
/// # Errors
/// When the time is out of bounds.
pub fn changelog(source: &Source) -> Result<String> {
    let time = jiff::Timestamp::from_second(i64::try_from(source.time)?)?;
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_string(&time)?;
    Ok(format!(
        "{NAME} ({VERSION}) stable; urgency=medium\n\n  * The changes are in NEWS.gz.\n\n -- {MAINTAINER}  {date}\n"
    ))
}

fn text(source: &Source, bytes: u64) -> String {
    let (architecture, kibibytes, home) =
        (source.architecture.name(), bytes.div_ceil(1024), env!("CARGO_PKG_REPOSITORY"));
    format!(
        "\
Package: {NAME}
Version: {VERSION}
Architecture: {architecture}
Maintainer: {MAINTAINER}
Section: net
Priority: optional
Installed-Size: {kibibytes}
Recommends: nftables
Suggests: containerd, containernetworking-plugins
Homepage: {home}
Description: IP pools assigned to nodes by label, for containers
 The CNI plugins calico and calico-ipam, the command calicoctl, and the node
 agent rackpoold. Addresses are in a file of this host, in etcd, or in
 Kubernetes, as Calico keeps them.
 .
 NetworkPolicy is not enforced, and nothing is announced by BGP.
"
    )
}
