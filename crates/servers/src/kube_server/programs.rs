//! Builds the programs of Kubernetes from source, once for each version and user.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

/// The folder of the Go module whose `go.mod` names the programs and their version.
const MODULE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/kubernetes");
const GO_MOD: &str = include_str!("../../../../tools/kubernetes/go.mod");

/// Why there are no programs of Kubernetes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramsError {
    /// The programs are not built, and Go is not installed.
    #[error(
        "there is no program go in PATH, with which Kubernetes' own programs are built. Install Go {} or newer \
         (Debian: apt-get install --no-install-recommends golang-go, where that is new enough; else from go.dev/dl), \
         or set RACKPOOL_SKIP_KUBERNETES=1 to leave out the tests that need them",
        go_version()
    )]
    NoGo,
    /// The build failed; Go has written the reason to standard error.
    #[error("Kubernetes {} cannot be built: go build has failed ({status})", version())]
    Build {
        /// The exit status of Go.
        status: ExitStatus,
    },
    /// The folder for the built programs cannot be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// No environment variable names a home or cache directory.
    #[error("neither XDG_CACHE_HOME nor HOME is set: there is no place to keep Kubernetes' programs")]
    NoHome,
}

/// The version of the programs, such as `v1.36.3`.
pub fn version() -> &'static str {
    directive("k8s.io/kubernetes ")
}

/// The oldest version of Go that builds the programs.
fn go_version() -> &'static str {
    directive("go ")
}

fn directive(start: &str) -> &'static str {
    let value =
        GO_MOD.lines().find_map(|line| line.trim_start().trim_start_matches("require ").strip_prefix(start));
    value.and_then(|value| value.split_whitespace().next()).expect("tools/kubernetes/go.mod has the line")
}

/// The folder that holds these programs (`kube-apiserver`, `kubelet`, ...) of [`version`]. Builds those that
/// are missing, which takes minutes.
///
/// # Errors
/// See [`ProgramsError`].
pub fn programs(names: &[&str]) -> Result<PathBuf, ProgramsError> {
    let dir = folder()?;
    let missing = || names.iter().copied().filter(|name| !dir.join(name).is_file()).collect::<Vec<_>>();
    if missing().is_empty() {
        return Ok(dir);
    }
    let at = |path: &Path| {
        let path = path.to_path_buf();
        move |source| ProgramsError::Io { path, source }
    };
    fs::create_dir_all(&dir).map_err(at(&dir))?;
    let lock_path = dir.join("lock");
    let lock = File::create(&lock_path).map_err(at(&lock_path))?;
    lock.lock().map_err(at(&lock_path))?;
    // Another process may have built them while this one waited for the lock.
    let missing = missing();
    if !missing.is_empty() {
        let new = tempfile::tempdir_in(&dir).map_err(at(&dir))?;
        build(&missing, new.path())?;
        for name in missing {
            fs::rename(new.path().join(name), dir.join(name)).map_err(at(&dir))?;
        }
    }
    Ok(dir)
}

/// Whether [`programs`] would succeed for these names without Go.
pub fn are_built(names: &[&str]) -> bool {
    folder().is_ok_and(|dir| names.iter().all(|name| dir.join(name).is_file()))
}

/// Whether Go is installed.
pub fn has_go() -> bool {
    Command::new("go").arg("version").output().is_ok_and(|out| out.status.success())
}

#[allow(clippy::print_stderr, reason = "somebody waits for minutes")]
fn build(names: &[&str], to: &Path) -> Result<(), ProgramsError> {
    eprintln!(
        "building {} of Kubernetes {}; this is done once and takes minutes",
        names.join(", "),
        version()
    );
    let flags = format!("-s -w -X k8s.io/component-base/version.gitVersion={}", version());
    let status = Command::new("go")
        .current_dir(MODULE)
        .args(["build", "-trimpath", "-ldflags", &flags, "-o"])
        .arg(to)
        .args(names.iter().map(|name| format!("k8s.io/kubernetes/cmd/{name}")))
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(ProgramsError::Build { status }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ProgramsError::NoGo),
        Err(source) => Err(ProgramsError::Io { path: "go".into(), source }),
    }
}

#[allow(clippy::disallowed_methods, reason = "tests have no environment handed to them")]
fn folder() -> Result<PathBuf, ProgramsError> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    Ok(cache.ok_or(ProgramsError::NoHome)?.join("rackpool/kubernetes").join(version()))
}
