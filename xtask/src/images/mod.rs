//! Container images of the programs, made without Docker: static programs, and Debian's nft with what it
//! needs. The same programs give the same images, byte by byte.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::source::{commit_time, git};
use crate::{dist, needs};
use xtask::cargo::{run, target_dir};

mod architecture;
mod contents;
mod debian;
mod files;
mod layout;
mod linked;
mod sbom;
#[cfg(test)]
mod tests;
mod twice;
mod unpacked;

pub use architecture::Architecture;
use contents::{Making, RECIPES, Source};
use debian::Root;
pub use files::Files;
pub use layout::{Image, Layout, Packing, hex};
pub use sbom::{Subject, text as bill};
pub use twice::{for_all_architectures, prove};

/// Arguments of `cargo xtask images`.
#[derive(Args)]
pub struct Images {
    /// The folder of the programs; by default the static programs for distribution are built. Shared
    /// libraries that the programs need are taken from Debian's packages. With several architectures, the
    /// folder has a folder for each
    #[arg(long, value_name = "DIR")]
    pub programs: Option<PathBuf>,
    /// For which architectures; by default this machine's. Several, with commas between, make one image for
    /// all of them
    #[arg(long, value_enum, value_name = "ARCH", value_delimiter = ',')]
    pub arch: Vec<Architecture>,
    /// The folder that the images are written to, in the OCI image layout; by default target/images
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// The tag of the images; by default the version
    #[arg(long, value_name = "TAG", default_value = env!("CARGO_PKG_VERSION"))]
    pub tag: String,
    /// How layers are packed
    #[arg(long, value_enum, default_value_t = Packing::Gzip)]
    pub packing: Packing,
    /// The time of all files, in seconds since 1970; by default that of the commit
    #[arg(long, value_name = "SECONDS", env = "SOURCE_DATE_EPOCH")]
    pub time: Option<u64>,
    /// Write all images into one file, too, which `ctr images import` takes on machines without a registry
    #[arg(long, value_name = "FILE")]
    pub archive: Option<PathBuf>,
    /// Push the images to this registry, by skopeo, with the credentials of `skopeo login`
    #[arg(long, value_name = "HOST[:PORT]")]
    pub push: Option<String>,
    /// The registry speaks HTTP without TLS, or has a certificate that nobody vouches for
    #[arg(long, requires = "push")]
    pub insecure: bool,
}

impl Images {
    /// Writes the images, and says which they are.
    ///
    /// # Errors
    /// When something that belongs in them is missing, or cannot be built or written.
    pub fn run(self) -> Result<()> {
        let folder = match &self.out {
            Some(folder) => folder.clone(),
            None => target_dir()?.join("images"),
        };
        let names = self.write(&folder)?;
        println!("{}", folder.display());
        for name in &names {
            println!("  {name}");
        }
        if let Some(archive) = &self.archive {
            let mut files = Files::default();
            files.copy_all(&folder)?;
            let file = File::create(archive).with_context(|| archive.display().to_string())?;
            files.write(BufWriter::new(file), 0)?;
            println!("{}", archive.display());
        }
        if let Some(registry) = &self.push {
            needs::program("skopeo", "skopeo", "hands images to a registry")?;
            for name in &names {
                push(&folder, name, registry, name, self.insecure)?;
                println!("pushed {registry}/{name}");
            }
        }
        Ok(())
    }

    /// Writes the images to a folder. Gives their names, with tags.
    ///
    /// # Errors
    /// As for [`Images::run`].
    pub fn write(&self, folder: &Path) -> Result<Vec<String>> {
        let sources = self.sources()?;
        let time = time(self.time)?;
        let making = Making {
            packing: self.packing,
            time,
            version: env!("CARGO_PKG_VERSION").to_string(),
            revision: git(&["rev-parse", "HEAD"]).ok(),
        };
        let mut layout = Layout::create(folder)?;
        let mut names = Vec::new();
        for recipe in &RECIPES {
            let name = format!("{}:{}", recipe.name, self.tag);
            let mut images = Vec::new();
            for source in &sources {
                let image = recipe.image(&layout, source, &making);
                images.push(image.with_context(|| format!("{name} for {}", source.architecture.name()))?);
            }
            layout.add(&name, &images, time)?;
            names.push(name);
        }
        layout.finish()?;
        Ok(names)
    }

    /// What the images are made from, for each architecture.
    fn sources(&self) -> Result<Vec<Source>> {
        let own = Architecture::of_this_machine()?;
        let wanted = if self.arch.is_empty() { vec![own] } else { self.arch.clone() };
        let mut sources = Vec::new();
        for architecture in wanted {
            let programs = match &self.programs {
                Some(programs) if self.arch.len() > 1 => programs.join(architecture.name()),
                Some(programs) => programs.clone(),
                None => dist::build_for(architecture)?,
            };
            let debian = if architecture == own {
                needs::program("nft", "nftables", "a part of rackpoold's image")?;
                Root::of_this_machine()
            } else {
                let folder = target_dir()?.join("debian").join(architecture.name());
                Root::unpacked(&folder, architecture, "nftables")?
            };
            sources.push(Source { architecture, programs, debian });
        }
        Ok(sources)
    }
}

/// Pushes an image of a layout into a registry, for all its architectures and under another name there.
///
/// # Errors
/// When skopeo fails.
pub fn push(layout: &Path, name: &str, registry: &str, name_there: &str, is_insecure: bool) -> Result<()> {
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["copy", "--quiet", "--all", "--preserve-digests", "--insecure-policy"]);
    if is_insecure {
        skopeo.arg("--dest-tls-verify=false");
    }
    skopeo.arg(format!("oci:{}:{name}", layout.display()));
    run(skopeo.arg(format!("docker://{registry}/{name_there}")))
}

/// The time of all files, in seconds since 1970: the given one, or else that of the commit.
///
/// # Errors
/// When there is no commit.
pub fn time(given: Option<u64>) -> Result<u64> {
    match given {
        Some(time) => Ok(time),
        None => commit_time().context("the commit's time; --time SECONDS gives another"),
    }
}
