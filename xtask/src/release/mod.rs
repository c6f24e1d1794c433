//! What users of hosts without Kubernetes install: an archive, and a package of Debian. Both have the
//! programs, the agent's unit, completions, manual pages, an example of a network, licences and a bill of
//! materials.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use flate2::{Compression, GzBuilder};
use sha2::{Digest as _, Sha256};

use crate::images::{self, Architecture, Subject};
use crate::packages::Packages;
use crate::{dist, notices};
use xtask::cargo::{PROGRAMS, cargo, root, run, target_dir};

mod contents;
mod debian;
#[cfg(test)]
mod tests;

use contents::{archive, package};

/// The name of archive and package.
const NAME: &str = "rackpool";
/// The version of the programs.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Arguments of `cargo xtask dist`.
#[derive(Args)]
pub struct Dist {
    /// The folder of the programs; by default the static programs are built
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// For which architecture; by default this machine's
    #[arg(long, value_enum, value_name = "ARCH")]
    arch: Option<Architecture>,
    /// The folder for the archive and the package; by default target/release-files
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The time of all files, in seconds since 1970; by default that of the commit
    #[arg(long, value_name = "SECONDS", env = "SOURCE_DATE_EPOCH")]
    time: Option<u64>,
}

impl Dist {
    /// Writes archive, package and their sums, and says where.
    ///
    /// # Errors
    /// When something cannot be built or written.
    pub fn run(self) -> Result<()> {
        let architecture = self.arch.map_or_else(Architecture::of_this_machine, Ok)?;
        let programs = match self.programs {
            Some(programs) => programs,
            None => dist::build_for(architecture)?,
        };
        println!("{}", programs.display());
        let out = self.out.map_or_else(|| Ok(target_dir()?.join("release-files")), Ok::<_, anyhow::Error>)?;
        let time = images::time(self.time)?;
        for file in write(&Source { programs, architecture, time, is_quick: false }, &out)? {
            println!("{}", out.join(file).display());
        }
        Ok(())
    }
}

/// What a release is made from.
pub struct Source {
    /// The folder of the programs.
    pub programs: PathBuf,
    /// What they run on.
    pub architecture: Architecture,
    /// The time of all files, in seconds since 1970.
    pub time: u64,
    /// Whether to pack quickly, which makes larger files.
    pub is_quick: bool,
}

/// Writes archive, package and their sums into a folder. Gives the names of the files.
///
/// # Errors
/// When something that belongs in them is missing, or cannot be built or written.
pub fn write(source: &Source, out: &Path) -> Result<Vec<String>> {
    fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    let manual = tempfile::tempdir()?;
    write_manual(manual.path())?;
    let texts = Texts::of(source, manual.path())?;
    let architecture = source.architecture.name();
    let names = [
        format!("{NAME}-{VERSION}-linux-{architecture}.tar.gz"),
        format!("{NAME}_{VERSION}_{architecture}.deb"),
    ];
    let file = File::create(out.join(&names[0])).with_context(|| names[0].clone())?;
    let level = if source.is_quick { Compression::fast() } else { Compression::default() };
    let mut packed = GzBuilder::new().write(file, level);
    archive(source, &texts)?.write(&mut packed, source.time)?;
    packed.finish()?;
    debian::write(&package(source, &texts)?, source, &out.join(&names[1]))?;
    let mut sums = String::new();
    for name in &names {
        let sum = images::hex(&Sha256::digest(fs::read(out.join(name))?));
        sums.push_str(&format!("{sum}  {name}\n"));
    }
    let [archive, package] = names;
    let name = format!("{NAME}-{VERSION}-{architecture}.sha256");
    fs::write(out.join(&name), sums)?;
    Ok(vec![archive, package, name])
}

/// Texts that are made.
struct Texts<'a> {
    notices: String,
    bill: String,
    /// The folder of manual pages and completions.
    manual: &'a Path,
}

impl<'a> Texts<'a> {
    fn of(source: &Source, manual: &'a Path) -> Result<Texts<'a>> {
        let packages = Packages::of(source.architecture.target())?;
        let subject = Subject {
            name: NAME,
            version: VERSION,
            architecture: source.architecture,
            time: source.time,
            programs: &PROGRAMS,
        };
        Ok(Texts {
            notices: notices::text(&packages, &PROGRAMS)?,
            bill: images::bill(&subject, &packages, &[])?,
            manual,
        })
    }
}

/// Writes manual pages and completions, as the definitions of the command lines have them.
fn write_manual(folder: &Path) -> Result<()> {
    let programs = ["calicoctl", "rackpoold"];
    let mut build = cargo(&["build", "--quiet", "--workspace"]);
    for program in programs {
        build.args(["--features", &format!("{program}/manual"), "--example", &format!("{program}-manual")]);
    }
    run(&mut build)?;
    for program in programs {
        let example = target_dir()?.join("debug/examples").join(format!("{program}-manual"));
        run(std::process::Command::new(example).arg(folder).current_dir(root()))?;
    }
    Ok(())
}
