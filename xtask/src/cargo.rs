//! Runs cargo, and finds the programs that it has built.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// How the names of the variables begin by which cargo tells a program about its package.
const OF_THE_PACKAGE: [&[u8]; 2] = [b"CARGO_PKG_", b"CARGO_MANIFEST_"];

/// The root of the workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// A cargo command in the root of the workspace.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(arguments).current_dir(root());
    // Removes what cargo tells this program about its package. Build scripts that depend on it would run
    // again, and everything that depends on those be compiled again.
    let told = std::env::vars_os().map(|(name, _)| name);
    for name in
        told.filter(|name| OF_THE_PACKAGE.iter().any(|start| name.as_encoded_bytes().starts_with(start)))
    {
        command.env_remove(name);
    }
    command
}

/// Runs a command. It is an error if the command fails.
pub fn run(command: &mut Command) -> Result<()> {
    let shown = format!("{command:?}");
    let status = command.status().with_context(|| format!("cannot start {shown}"))?;
    if !status.success() {
        bail!("{shown} failed ({status})");
    }
    Ok(())
}

/// The path of this program. If cargo has built the program again meanwhile, as it does for its tests, this
/// is the new one, which serves as well.
pub fn this_program() -> Result<PathBuf> {
    let path = std::env::current_exe().context("this program's file")?;
    let name = path.to_string_lossy().into_owned();
    Ok(name.strip_suffix(" (deleted)").map_or(path, PathBuf::from))
}

/// The programs that users run. Each is in a package of the same name.
pub const PROGRAMS: [&str; 4] = ["calicoctl", "calico-ipam", "calico", "rackpoold"];

/// The programs that the demo on the embedded store calls.
pub const EMBEDDED_PROGRAMS: [&str; 2] = ["calicoctl", "calico-ipam"];

/// Builds [`PROGRAMS`] in the development profile. Gives the folder that holds them.
pub fn build_programs() -> Result<PathBuf> {
    run(cargo(&["build"]).args(PROGRAMS.iter().flat_map(|program| ["--package", program])))?;
    Ok(target_dir()?.join("debug"))
}

/// Builds [`EMBEDDED_PROGRAMS`] without the other stores, which would be most of the work. Gives the folder
/// that holds them.
pub fn build_embedded_programs() -> Result<PathBuf> {
    println!("building {} for the embedded store alone", EMBEDDED_PROGRAMS.join(" and "));
    let programs = EMBEDDED_PROGRAMS.iter().flat_map(|program| ["--package", program]);
    run(cargo(&["build", "--no-default-features"]).args(programs))?;
    Ok(target_dir()?.join("debug"))
}

/// The folder that cargo builds into.
pub fn target_dir() -> Result<PathBuf> {
    let out =
        cargo(&["metadata", "--format-version=1", "--no-deps"]).output().context("cannot start cargo")?;
    let metadata: serde_json::Value = serde_json::from_slice(&out.stdout).context("cargo metadata")?;
    let dir = metadata["target_directory"].as_str().context("cargo metadata tells no target_directory")?;
    Ok(PathBuf::from(dir))
}
