//! Programs of this project that tests of other crates run.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The variable that names a folder with all programs, which the runner of the tests has just built.
const PROGRAMS: &str = "RACKPOOL_PROGRAMS";
/// Variables that cargo sets for a test, about the test's package. If the nested build inherited them, the
/// build scripts that look at them would run again for each package whose tests start a build, and everything
/// that depends on those scripts would be compiled again.
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

/// The path of the program `name`: in the folder that `RACKPOOL_PROGRAMS` names; else built next to
/// `program`, in the same profile.
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
