//! Builds the programs of Kubernetes, helm and cnitool from source, once for each version and user.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

/// A Go module whose `go.mod` names programs and their version.
struct Source {
    name: &'static str,
    /// The module's folder.
    folder: &'static str,
    go_mod: &'static str,
    /// The module of the programs.
    module: &'static str,
    /// Where the module has its programs, before their names.
    commands: &'static str,
    /// The variable of Go in which the programs have their version.
    version: Option<&'static str>,
}

const KUBERNETES: Source = Source {
    name: "kubernetes",
    folder: concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/kubernetes"),
    go_mod: include_str!("../../../../tools/kubernetes/go.mod"),
    module: "k8s.io/kubernetes",
    commands: "/cmd",
    version: Some("k8s.io/component-base/version.gitVersion"),
};
const HELM: Source = Source {
    name: "helm",
    folder: concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/helm"),
    go_mod: include_str!("../../../../tools/helm/go.mod"),
    module: "helm.sh/helm/v3",
    commands: "/cmd",
    version: Some("helm.sh/helm/v3/internal/version.version"),
};
const CNITOOL: Source = Source {
    name: "cnitool",
    folder: concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/cnitool"),
    go_mod: include_str!("../../../../tools/cnitool/go.mod"),
    module: "github.com/containernetworking/cni",
    commands: "",
    version: None,
};

/// Why there are no programs of Kubernetes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramsError {
    /// The programs are not built, and Go is not installed.
    #[error(
        "there is no program go in PATH, with which Kubernetes' own programs and helm are built. Install Go {} or newer \
         (Debian: apt-get install --no-install-recommends golang-go, where that is new enough; else from go.dev/dl), \
         or set RACKPOOL_SKIP_KUBERNETES=1 to leave out the tests that need them",
        KUBERNETES.directive("go")
    )]
    NoGo,
    /// The build failed; Go has written the reason to standard error.
    #[error("{name} {version} cannot be built: go build has failed ({status})")]
    Build {
        /// The name of what was built.
        name: &'static str,
        /// Its version.
        version: &'static str,
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
    #[error("neither XDG_CACHE_HOME nor HOME is set: there is no place to keep the programs that are built")]
    NoHome,
}

impl Source {
    /// The version of the programs, such as `v1.36.3`.
    fn version(&self) -> &'static str {
        self.directive(self.module)
    }

    fn directive(&self, start: &str) -> &'static str {
        let value = self.go_mod.lines().find_map(|line| {
            line.trim_start().trim_start_matches("require ").strip_prefix(start)?.strip_prefix(' ')
        });
        value.and_then(|value| value.split_whitespace().next()).expect("the file go.mod has the line")
    }

    /// Where the programs are kept.
    #[allow(clippy::disallowed_methods, reason = "tests have no environment handed to them")]
    fn kept(&self) -> Result<PathBuf, ProgramsError> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
        Ok(cache.ok_or(ProgramsError::NoHome)?.join("rackpool").join(self.name).join(self.version()))
    }
}

/// The version of Kubernetes' programs, such as `v1.36.3`.
pub fn version() -> &'static str {
    KUBERNETES.version()
}

/// The path of helm: the one in PATH if it is of version 3, else one that is built from source first, which
/// takes minutes.
///
/// # Errors
/// See [`ProgramsError`].
pub fn helm() -> Result<PathBuf, ProgramsError> {
    let in_path = Command::new("helm").args(["version", "--short"]).output();
    if in_path.is_ok_and(|out| out.status.success() && out.stdout.starts_with(b"v3.")) {
        return Ok("helm".into());
    }
    Ok(provide(&HELM, &["helm"])?.join("helm"))
}

/// The path of cnitool, which calls plugins as a container runtime does. It is built from source first where
/// it is missing.
///
/// # Errors
/// See [`ProgramsError`].
pub fn cnitool() -> Result<PathBuf, ProgramsError> {
    Ok(provide(&CNITOOL, &["cnitool"])?.join("cnitool"))
}

/// The folder that holds these programs (`kube-apiserver`, `kubelet`, ...) of [`version`]. Builds those that
/// are missing, which takes minutes.
///
/// # Errors
/// See [`ProgramsError`].
pub fn programs(names: &[&str]) -> Result<PathBuf, ProgramsError> {
    provide(&KUBERNETES, names)
}

fn provide(source: &Source, names: &[&str]) -> Result<PathBuf, ProgramsError> {
    let dir = source.kept()?;
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
        build(source, &missing, new.path())?;
        for name in missing {
            fs::rename(new.path().join(name), dir.join(name)).map_err(at(&dir))?;
        }
    }
    Ok(dir)
}

/// Whether [`programs`] would succeed for these names without Go.
pub fn are_built(names: &[&str]) -> bool {
    KUBERNETES.kept().is_ok_and(|dir| names.iter().all(|name| dir.join(name).is_file()))
}

/// Whether Go is installed.
pub fn has_go() -> bool {
    Command::new("go").arg("version").output().is_ok_and(|out| out.status.success())
}

#[allow(clippy::print_stderr, reason = "somebody waits for minutes")]
fn build(source: &Source, names: &[&str], to: &Path) -> Result<(), ProgramsError> {
    let (name, version) = (source.name, source.version());
    eprintln!("building {} of {name} {version}; this is done once and takes minutes", names.join(", "));
    let mut flags = "-s -w".to_string();
    if let Some(variable) = source.version {
        flags.push_str(&format!(" -X {variable}={version}"));
    }
    let status = Command::new("go")
        .current_dir(source.folder)
        .args(["build", "-trimpath", "-ldflags", &flags, "-o"])
        .arg(to)
        .args(names.iter().map(|name| format!("{}{}/{name}", source.module, source.commands)))
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(ProgramsError::Build { name, version, status }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ProgramsError::NoGo),
        Err(source) => Err(ProgramsError::Io { path: "go".into(), source }),
    }
}
