//! Packages of Debian for another architecture, unpacked into a folder without being installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::architecture::Architecture;
use super::debian::{Root, field};
use crate::needs;

impl Root {
    /// Fetches a package for an architecture, and all packages that it depends on, from where this machine
    /// has its own packages from; and unpacks them into a folder. What was in the folder is removed. The
    /// machine's own packages stay as they are.
    ///
    /// # Errors
    /// When a package cannot be had or unpacked.
    pub fn unpacked(folder: &Path, architecture: Architecture, package: &str) -> Result<Root> {
        needs::program("apt-get", "apt", "packages for other architectures")?;
        let (root, apt) = (folder.join("root"), folder.join("apt"));
        if root.exists() {
            fs::remove_dir_all(&root).with_context(|| root.display().to_string())?;
        }
        let records = root.join("var/lib/dpkg");
        for folder in [&records.join("info"), &apt.join("lists/partial"), &apt.join("archives/partial")] {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        // With no record of any package, all that the package depends on is fetched.
        fs::write(apt.join("status"), "")?;
        apt_get(&apt, architecture, &["update"])?;
        let install = ["install", "--yes", "--download-only", "--no-install-recommends"];
        for old in archives(&apt)? {
            fs::remove_file(old)?;
        }
        apt_get(&apt, architecture, &[&install[..], &[package]].concat())?;
        let own = output(Command::new("dpkg").arg("--print-architecture"))?;
        fs::write(records.join("arch"), format!("{}\n{}\n", own.trim(), architecture.name()))?;
        // In this format lists of files are named with the architecture.
        fs::write(records.join("info/format"), "1\n")?;
        let mut status = String::new();
        for archive in archives(&apt)? {
            run(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(&root))?;
            let stanza = output(Command::new("dpkg-deb").arg("--field").arg(&archive))?;
            let name = field(&stanza, "Package").context("a package without a name")?;
            let list = match field(&stanza, "Multi-Arch") {
                Some("same") => format!("{name}:{}.list", architecture.name()),
                _ => format!("{name}.list"),
            };
            fs::write(records.join("info").join(list), paths(&archive)?)?;
            let (first, rest) = stanza.split_once('\n').unwrap_or((&stanza, ""));
            status.push_str(&format!("{first}\nStatus: install ok installed\n{}\n\n", rest.trim_end()));
        }
        fs::write(records.join("status"), status)?;
        Ok(Root::of(root))
    }
}

/// The paths in a package, as dpkg keeps them.
fn paths(archive: &Path) -> Result<String> {
    let mut unpack = Command::new("dpkg-deb");
    let out = unpack.arg("--fsys-tarfile").arg(archive).output().context("dpkg-deb")?;
    ensure!(out.status.success(), "dpkg-deb --fsys-tarfile {} failed", archive.display());
    let mut list = String::new();
    for entry in tar::Archive::new(out.stdout.as_slice()).entries()? {
        let path = entry?.path()?.display().to_string();
        let path = path.trim_start_matches("./").trim_end_matches('/');
        list.push_str(&format!("/{}\n", if path.is_empty() { "." } else { path }));
    }
    Ok(list)
}

fn archives(apt: &Path) -> Result<Vec<PathBuf>> {
    let mut archives = Vec::new();
    for entry in fs::read_dir(apt.join("archives"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            archives.push(path);
        }
    }
    archives.sort();
    Ok(archives)
}

/// Runs apt-get with records of its own, and with the machine's sources and keys.
fn apt_get(apt: &Path, architecture: Architecture, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    let (folder, architecture) = (apt.display(), architecture.name());
    let options = [
        format!("APT::Architecture={architecture}"),
        format!("APT::Architectures={architecture}"),
        "APT::Sandbox::User=root".to_string(),
        format!("Dir::State={folder}"),
        format!("Dir::State::status={folder}/status"),
        format!("Dir::Cache={folder}"),
    ];
    for option in options {
        command.arg("-o").arg(option);
    }
    run(command.arg("-qq").args(arguments))
}

fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// Runs a program to its end. Gives its output, or an error with all that it has written.
fn output(command: &mut Command) -> Result<String> {
    let shown = format!("{command:?}");
    let out = command.output().with_context(|| format!("cannot start {shown}"))?;
    ensure!(
        out.status.success(),
        "{shown} failed ({}):\n{}",
        out.status,
        String::from_utf8_lossy(&out.stderr)
    );
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}
