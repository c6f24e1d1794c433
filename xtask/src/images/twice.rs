//! The proof that images do not depend on where they are built.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use clap::Parser;

use super::Images;
use crate::{dist, source};
use xtask::cargo::{PROGRAMS, root};

/// The command line of [`Images`] alone, for the values that it has by default.
#[derive(Parser)]
struct Alone {
    #[command(flatten)]
    images: Images,
}

/// Builds the programs once more, from a copy of the source in another folder, and compares the images made
/// from them with those made from these programs.
///
/// # Errors
/// When they differ; the error names the programs that do. When something cannot be built.
pub fn prove(programs: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let copy = folder.path().join("source");
    source::copy_to(&copy)?;
    let again = dist::build_copy(&copy)?;
    let mut differ = Vec::new();
    for name in PROGRAMS {
        if fs::read(programs.join(name))? != fs::read(again.join(name))? {
            differ.push(name);
        }
    }
    ensure!(
        differ.is_empty(),
        "built in {} and in {}, these differ: {differ:?}",
        root().display(),
        copy.display()
    );
    let mut written = Vec::new();
    for (name, programs) in [("first", programs), ("again", &again)] {
        let out = folder.path().join(name);
        let mut images = Alone::try_parse_from(["images"])?.images;
        images.programs = Some(programs.to_path_buf());
        images.write(&out)?;
        written.push(fs::read_to_string(out.join("index.json"))?);
    }
    ensure!(written[0] == written[1], "the images differ:\n{}\n{}", written[0], written[1]);
    for name in PROGRAMS {
        let has = |words: &Path| -> Result<bool> {
            let out = Command::new("grep").arg("-qF").arg(words).arg(again.join(name)).status()?;
            Ok(out.success())
        };
        ensure!(!has(&copy)?, "{name} tells that it was built in {}", copy.display());
    }
    println!("built from two folders, the images are the same: {}", written[0]);
    Ok(())
}

/// Makes images for all architectures.
///
/// # Errors
/// When something cannot be built.
pub fn for_all_architectures() -> Result<()> {
    let mut images = Alone::try_parse_from(["images", "--arch", "amd64,arm64"])?.images;
    let folder = tempfile::tempdir()?;
    images.archive = Some(folder.path().join("images.tar"));
    images.out = Some(folder.path().join("images"));
    images.run()
}
