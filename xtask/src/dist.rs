//! The binaries that are handed out: static, stripped, linked as a whole. The plugin is copied onto foreign hosts, so it needs nothing of them.

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::packages::Packages;
use crate::{needs, notices};
use xtask::cargo::{PROGRAMS, cargo, run, target_dir};

const TARGET: &str = "x86_64-unknown-linux-musl";

/// Builds them, writes the notices beside them, and tells the folder.
pub fn build() -> Result<PathBuf> {
    let dir = build_with("dist")?;
    let text = notices::text(&Packages::of(TARGET)?, &PROGRAMS)?;
    fs::write(dir.join(notices::FILE), text)?;
    Ok(dir)
}

/// The same programs and the same check, without the optimisation as a whole, which takes minutes: for tests.
pub fn build_quickly() -> Result<PathBuf> {
    build_with("release")
}

fn build_with(profile: &str) -> Result<PathBuf> {
    needs::musl(TARGET)?;
    let packages = PROGRAMS.iter().flat_map(|program| ["--package", program]);
    run(cargo(&["build", "--quiet", "--profile", profile]).args(["--target", TARGET]).args(packages))?;
    let dir = target_dir()?.join(TARGET).join(profile);
    for program in PROGRAMS {
        let path = dir.join(program);
        ensure!(
            is_static(&fs::read(&path)?),
            "{} asks for a program interpreter: it is not static",
            path.display()
        );
    }
    Ok(dir)
}

/// Whether an ELF file of 64 bits has no program header of type PT_INTERP (3), that is, needs no dynamic loader.
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
