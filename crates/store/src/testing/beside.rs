//! The programs of this project that a test of another one calls.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder with all programs, built just now by whoever runs the tests.
const PROGRAMS: &str = "RACKPOOL_PROGRAMS";
/// What cargo tells a test about its package. Build scripts that look at these would be run anew for each package that a build is started from, and all
/// that rests on them be compiled anew.
const OF_THE_PACKAGE: [&str; 9] = [
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_LINKS",
    "CARGO_MANIFEST_PATH",
    "CARGO_PKG_NAME",
    "CARGO_PKG_VERSION",
    "CARGO_PKG_VERSION_MAJOR",
    "CARGO_PKG_VERSION_MINOR",
    "CARGO_PKG_VERSION_PATCH",
    "CARGO_PKG_VERSION_PRE",
];

/// The program of that name: in the folder that `RACKPOOL_PROGRAMS` names, else built beside `program`, in the same profile.
///
/// # Panics
/// When it cannot be had.
#[allow(clippy::disallowed_methods, reason = "a test takes its programs from where its runner put them")]
pub fn program_beside(program: &Path, name: &str) -> PathBuf {
    if let Some(folder) = std::env::var_os(PROGRAMS) {
        let there = Path::new(&folder).join(name);
        assert!(there.is_file(), "{PROGRAMS} names a folder without {name}: {}", there.display());
        return there;
    }
    let folder = program.parent().expect("a program lies in its profile's folder");
    let target = folder.parent().expect("a profile's folder lies in the target folder");
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--package", name, "--target-dir"]).arg(target);
    if folder.ends_with("release") {
        build.arg("--release");
    }
    for variable in OF_THE_PACKAGE {
        build.env_remove(variable);
    }
    let built = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo runs");
    let there = folder.join(name);
    assert!(built.success() && there.is_file(), "{name} cannot be built");
    there
}
