//! Container images of the programs, made without Docker: static programs, and Debian's nft with what it
//! needs. The same programs give the same images, byte by byte.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::{dist, needs};
use xtask::cargo::{root, run, target_dir};

mod architecture;
mod contents;
mod debian;
mod files;
mod layout;
mod linked;

pub use architecture::Architecture;
use contents::{Making, RECIPES};
pub use files::Files;
pub use layout::{Image, Layout, Packing};

/// Arguments of `cargo xtask images`.
#[derive(Args)]
pub struct Images {
    /// The folder of the programs; by default the static programs for distribution are built. Shared
    /// libraries that the programs need are taken from this machine, and have to be of Debian's packages
    #[arg(long, value_name = "DIR")]
    pub programs: Option<PathBuf>,
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
        needs::program("nft", "nftables", "a part of rackpoold's image")?;
        let architecture = Architecture::of_this_machine()?;
        let programs = match &self.programs {
            Some(programs) => programs.clone(),
            None => dist::build()?,
        };
        let time = match self.time {
            Some(time) => time,
            None => git(&["log", "-1", "--format=%ct"])
                .context("the time of the commit; --time SECONDS gives another")?
                .parse()?,
        };
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
            let image = recipe
                .image(&layout, &programs, architecture, &making)
                .with_context(|| format!("the image {name} for {}", architecture.name()))?;
            layout.add(&name, &[image], time)?;
            names.push(name);
        }
        layout.finish()?;
        Ok(names)
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

/// What git says of the source.
fn git(arguments: &[&str]) -> Result<String> {
    let out = Command::new("git").args(arguments).current_dir(root()).output().context("git")?;
    anyhow::ensure!(out.status.success(), "git: {}", String::from_utf8_lossy(&out.stderr).trim());
    Ok(String::from_utf8(out.stdout)?.trim().to_string())
}
