//! Programs of this project that tests of other crates run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// The programs that this process has had built. The lock is held meanwhile: who wants one waits for it.
static BUILT: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
/// The variable that names a folder with all programs, which the runner of the tests has just built.
const PROGRAMS: &str = "RACKPOOL_PROGRAMS";
/// How the names of the variables begin by which cargo tells a test about its package. They are not passed on
/// to the build: build scripts that depend on them would run again, and everything that depends on those be
/// compiled again, for each package whose tests start the build.
const OF_THE_PACKAGE: [&[u8]; 2] = [b"CARGO_PKG_", b"CARGO_MANIFEST_"];

/// The path of the program `name`: in the folder that `RACKPOOL_PROGRAMS` names; else built next to
/// `program`, in the same profile, once in the life of the process.
///
/// # Panics
/// When the program can be neither found nor built.
#[allow(clippy::disallowed_methods, reason = "a test takes its programs from where its runner put them")]
pub fn program_beside(program: &Path, name: &str) -> PathBuf {
    if let Some(folder) = std::env::var_os(PROGRAMS) {
        let there = Path::new(&folder).join(name);
        assert!(there.is_file(), "{PROGRAMS} names a folder without {name}: {}", there.display());
        return there;
    }
    let folder = program.parent().expect("a program lies in its profile's folder");
    let there = folder.join(name);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if built.contains(&there) {
        return there;
    }
    let target = folder.parent().expect("a profile's folder lies in the target folder");
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--package", name, "--target-dir"]).arg(target);
    if folder.ends_with("release") {
        build.arg("--release");
    }
    let told = std::env::vars_os().map(|(name, _)| name);
    for name in
        told.filter(|name| OF_THE_PACKAGE.iter().any(|start| name.as_encoded_bytes().starts_with(start)))
    {
        build.env_remove(name);
    }
    let ended = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo runs");
    assert!(ended.success() && there.is_file(), "{name} cannot be built");
    built.push(there.clone());
    there
}
