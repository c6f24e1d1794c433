//! Builds the binaries for distribution: static, stripped, with link-time optimisation. The plugins are
//! copied onto hosts of any kind, so they must not depend on the host's libraries.

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::packages::Packages;
use crate::{needs, notices};
use xtask::cargo::{EMBEDDED_PROGRAMS, PROGRAMS, cargo, run, target_dir};

const TARGET: &str = "x86_64-unknown-linux-musl";

/// Builds the binaries, and writes the notices beside them. Gives their folder.
pub fn build() -> Result<PathBuf> {
    let dir = build_with("dist", &PROGRAMS, &[])?;
    let text = notices::text(&Packages::of(TARGET)?, &PROGRAMS)?;
    fs::write(dir.join(notices::FILE), text)?;
    Ok(dir)
}

/// Builds only the programs of the demo on the embedded store, without optimisation: the quickest proof that
/// static binaries can be built. Checks them in the same way.
pub fn build_quickly() -> Result<PathBuf> {
    build_with("dev", &EMBEDDED_PROGRAMS, &["--no-default-features"])
}

fn build_with(profile: &str, programs: &[&str], features: &[&str]) -> Result<PathBuf> {
    needs::musl(TARGET)?;
    let packages = programs.iter().flat_map(|program| ["--package", program]);
    let mut build = cargo(&["build", "--profile", profile, "--target", TARGET]);
    run(build.args(features).args(packages))?;
    // Cargo's folder for the profile dev has another name.
    let dir = target_dir()?.join(TARGET).join(if profile == "dev" { "debug" } else { profile });
    for program in programs {
        let path = dir.join(program);
        ensure!(
            is_static(&fs::read(&path)?),
            "{} asks for a program interpreter: it is not static",
            path.display()
        );
    }
    Ok(dir)
}

/// Whether an ELF file of 64 bits has no program header of type PT_INTERP (3), that is, needs no dynamic
/// loader.
fn is_static(elf: &[u8]) -> bool {
    let number = |at: usize, len: usize| {
        elf.get(at..at + len).map(|bytes| bytes.iter().rev().fold(0usize, |n, b| n << 8 | usize::from(*b)))
    };
    let (Some(table), Some(size), Some(count)) = (number(32, 8), number(54, 2), number(56, 2)) else {
        return false;
    };
    elf.starts_with(b"\x7fELF\x02") && (0..count).all(|i| number(table + i * size, 4) != Some(3))
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
