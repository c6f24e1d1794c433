//! The binaries that are handed out: static, stripped, linked as a whole. The plugin is copied onto foreign hosts, so it needs nothing of them.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::cargo::{PROGRAMS, cargo, run, target_dir};
use crate::needs;

const TARGET: &str = "x86_64-unknown-linux-musl";

/// Builds them and tells the folder.
pub fn build() -> Result<PathBuf> {
    needs::musl(TARGET)?;
    let packages = PROGRAMS.iter().flat_map(|program| ["--package", program]);
    run(cargo(&["build", "--quiet", "--profile=dist", "--target", TARGET]).args(packages))?;
    let dir = target_dir()?.join(TARGET).join("dist");
    for program in PROGRAMS {
        let path = dir.join(program);
        ensure!(
            is_static(&std::fs::read(&path)?),
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
    #[test]
    fn a_shared_program_is_not_static() {
        let this = std::env::current_exe().unwrap();
        assert!(!super::is_static(&std::fs::read(this).unwrap()));
        assert!(!super::is_static(b"no program"));
    }
}
