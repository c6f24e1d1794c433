//! Builds the binaries for distribution: static, stripped, with link-time optimisation. The plugins are
//! copied onto hosts of any kind, so they must not depend on the host's libraries.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use elf::ElfBytes;
use elf::abi::PT_INTERP;
use elf::endian::LittleEndian;
use elf::file::Class;

use crate::images::Architecture;
use crate::packages::Packages;
use crate::{needs, notices, source};
use xtask::cargo::{EMBEDDED_PROGRAMS, PROGRAMS, cargo, root, run, target_dir};

/// Builds the binaries for this machine, and writes the notices beside them. Gives their folder.
pub fn build() -> Result<PathBuf> {
    build_for(Architecture::of_this_machine()?)
}

/// Builds the binaries for an architecture, and writes the notices beside them. Gives their folder.
pub fn build_for(architecture: Architecture) -> Result<PathBuf> {
    Build { architecture, profile: "dist", source: root(), target_dir: &target_dir()? }.run(&PROGRAMS, &[])
}

/// Builds the binaries from a copy of the source, into a folder of the copy. Gives their folder.
pub fn build_copy(source: &Path) -> Result<PathBuf> {
    let architecture = Architecture::of_this_machine()?;
    Build { architecture, profile: "dist", source, target_dir: &source.join("target") }.run(&PROGRAMS, &[])
}

/// Builds only the programs of the demo on the embedded store, without optimisation: the quickest proof that
/// static binaries can be built. Checks them in the same way.
pub fn build_quickly() -> Result<PathBuf> {
    let architecture = Architecture::of_this_machine()?;
    let build = Build { architecture, profile: "dev", source: root(), target_dir: &target_dir()? };
    build.run(&EMBEDDED_PROGRAMS, &["--no-default-features"])
}

/// How binaries are built.
struct Build<'a> {
    architecture: Architecture,
    profile: &'a str,
    /// The root of the source.
    source: &'a Path,
    target_dir: &'a Path,
}

impl Build<'_> {
    fn run(&self, programs: &[&str], features: &[&str]) -> Result<PathBuf> {
        let target = self.architecture.target();
        needs::standard_library(target)?;
        let all = Packages::of(target)?;
        let packages = programs.iter().flat_map(|program| ["--package", program]);
        let mut build = cargo(&["build", "--profile", self.profile, "--target", target]);
        build.current_dir(self.source).env("CARGO_TARGET_DIR", self.target_dir);
        let names = self.names_of_folders(&all)?;
        let flags = names.iter().map(|(folder, name)| format!("--remap-path-prefix={folder}={name}"));
        let mut flags: Vec<_> = flags.collect();
        flags.extend(self.compiler(&mut build)?.iter().map(ToString::to_string));
        build.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
        let flags = names.iter().map(|(folder, name)| format!("-ffile-prefix-map={folder}={name}"));
        build.env(format!("CFLAGS_{}", target.replace('-', "_")), flags.collect::<Vec<_>>().join(" "));
        // What `calicoctl version` tells; without git, nothing.
        if let Ok(commit) = source::git(&["describe", "--always", "--exclude=*", "--abbrev=9", "--dirty"]) {
            build.env("RACKPOOL_GIT_COMMIT", commit);
        }
        run(build.args(features).args(packages))?;
        // Cargo's folder for the profile dev has another name.
        let profile = if self.profile == "dev" { "debug" } else { self.profile };
        let dir = self.target_dir.join(target).join(profile);
        for program in programs {
            let path = dir.join(program);
            ensure!(
                is_static(&fs::read(&path)?),
                "{} asks for a program interpreter: it is not static",
                path.display()
            );
        }
        fs::write(dir.join(notices::FILE), notices::text(&all, programs)?)?;
        Ok(dir)
    }

    /// Provides a C compiler, and tells cargo of it. Gives flags for rustc.
    fn compiler(&self, build: &mut Command) -> Result<&'static [&'static str]> {
        if self.architecture == Architecture::of_this_machine()? {
            // By its name, cc finds it for this target.
            needs::musl()?;
            return Ok(&[]);
        }
        let (zig, name) =
            (needs::zig(self.architecture.zig())?, self.architecture.target().replace('-', "_"));
        build.env(format!("CC_{name}"), zig.compiler).env(format!("AR_{name}"), zig.archiver);
        build.env("ZIG_GLOBAL_CACHE_DIR", self.target_dir.join("tools/zig-cache"));
        // Rust brings musl and a linker for all machines.
        build.env(format!("CARGO_TARGET_{}_LINKER", name.to_uppercase()), "rust-lld");
        Ok(&["-Clink-self-contained=yes"])
    }

    /// The folders that differ between machines, each with the name that binaries have for it. So binaries do
    /// not depend on where they are built, and tell nobody.
    fn names_of_folders(&self, packages: &Packages) -> Result<Vec<(String, String)>> {
        let rustc = |arguments: &[&str]| -> Result<String> {
            let out = Command::new("rustc").args(arguments).output().context("rustc")?;
            Ok(String::from_utf8(out.stdout)?)
        };
        let about = rustc(&["-vV"])?;
        let commit = about.lines().find_map(|line| line.strip_prefix("commit-hash: ")).unwrap_or("unknown");
        let library = Path::new(rustc(&["--print=sysroot"])?.trim()).join("lib/rustlib/src/rust");
        let name = |folder: &Path, name: &str| (folder.display().to_string(), name.to_string());
        let mut names = vec![
            name(self.source, "/rackpool"),
            name(self.target_dir, "/rackpool/target"),
            name(&library, &format!("/rustc/{commit}")),
        ];
        names.extend(packages.folders().iter().map(|folder| name(folder, "/registry")));
        Ok(names)
    }
}

/// Whether a program of 64 bits names no loader, and so needs none.
fn is_static(program: &[u8]) -> bool {
    let Ok(elf) = ElfBytes::<LittleEndian>::minimal_parse(program) else { return false };
    let mut segments = elf.segments().into_iter().flatten();
    elf.ehdr.class == Class::ELF64 && segments.all(|segment| segment.p_type != PT_INTERP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_program_is_not_static() {
        let this = std::env::current_exe().unwrap();
        assert!(!is_static(&fs::read(this).unwrap()));
        assert!(!is_static(b"no program"));
    }
}
