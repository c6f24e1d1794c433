//! What is in each image.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::{Value as Json, json};

use super::architecture::Architecture;
use super::debian::Root;
use super::files::Files;
use super::layout::{Image, Layout, Packing, date};
use super::sbom;
use crate::notices;
use crate::packages::Packages;
use xtask::cargo::root;

/// The path of Debian's nft.
const NFT: &str = "/usr/sbin/nft";
/// Where an image has the texts about what is in it.
const TEXTS: &str = "usr/share/doc/rackpool";
/// The name of the file with the bill of materials.
const BILL: &str = "sbom.spdx.json";

/// What an image has of ours, and how it is started.
pub struct Recipe {
    /// The image's name, without registry and tag.
    pub name: &'static str,
    /// One line about it.
    about: &'static str,
    /// The programs, each with its path in the image. The first is the one that a container runs.
    programs: &'static [(&'static str, &'static str)],
    /// Whether Debian's nft is in it.
    has_nft: bool,
}

/// The images.
pub const RECIPES: [Recipe; 2] = [
    Recipe {
        name: "rackpool/rackpoold",
        about: "rackpool's node agent and controllers, with the CNI plugins that the agent installs",
        programs: &[
            ("rackpoold", "usr/bin/rackpoold"),
            ("calico", "opt/rackpool/plugins/calico"),
            ("calico-ipam", "opt/rackpool/plugins/calico-ipam"),
        ],
        has_nft: true,
    },
    Recipe {
        name: "rackpool/calicoctl",
        about: "rackpool's calicoctl: IP pools, nodes and addresses",
        programs: &[("calicoctl", "usr/bin/calicoctl")],
        has_nft: false,
    },
];

/// What an image for one architecture is made from.
pub struct Source {
    /// The architecture.
    pub architecture: Architecture,
    /// The folder of our programs.
    pub programs: PathBuf,
    /// Where Debian's files are.
    pub debian: Root,
}

/// What all images of one making have in common.
pub struct Making {
    /// How layers are packed.
    pub packing: Packing,
    /// The time of all files, in seconds since 1970.
    pub time: u64,
    /// The version of the programs.
    pub version: String,
    /// The commit of the source.
    pub revision: Option<String>,
}

impl Recipe {
    /// Makes the image for one architecture from a folder of programs, and writes its layers.
    ///
    /// # Errors
    /// When a program or something that it needs is missing.
    pub fn image(&self, layout: &Layout, source: &Source, making: &Making) -> Result<Image> {
        let Source { architecture, programs: folder, debian } = source;
        let architecture = *architecture;
        let programs: Vec<PathBuf> = self.programs.iter().map(|(name, _)| folder.join(name)).collect();
        for program in &programs {
            ensure!(program.is_file(), "{} is missing", program.display());
        }
        let mut needed = debian.needed_by(&programs, architecture)?;
        if self.has_nft {
            let nft = debian.program(NFT, architecture).context("nft, of Debian's package nftables")?;
            needed.extend(nft);
        }
        let mut ours = Files::default();
        for ((_, path), source) in self.programs.iter().zip(programs) {
            ours.program(path, source);
        }
        let names: Vec<_> = self.programs.iter().map(|(name, _)| *name).collect();
        let licence = std::fs::read(root().join("LICENSE")).context("LICENSE")?;
        ours.put(&format!("{TEXTS}/LICENSE"), licence);
        let packages = Packages::of(architecture.target())?;
        ours.put(&format!("{TEXTS}/{}", notices::FILE), notices::text(&packages, &names)?);
        let subject = sbom::Subject {
            name: self.name,
            version: &making.version,
            architecture,
            time: making.time,
            programs: &names,
        };
        let bill = sbom::text(&subject, &packages, &needed.packages)?;
        layout
            .beside(&format!("{}-{}.spdx.json", self.name.replace('/', "-"), architecture.name()), &bill)?;
        ours.put(&format!("{TEXTS}/{BILL}"), bill);
        // Debian's files change seldom: in a layer of their own they are fetched once.
        let mut layers = Vec::new();
        for files in [needed.files, base(), ours] {
            if !files.is_empty() {
                layers.push(layout.layer(&files, making.packing, making.time)?);
            }
        }
        Ok(Image { architecture, layers, config: self.config(making)? })
    }

    fn config(&self, making: &Making) -> Result<Json> {
        let program = self.programs.first().map(|(_, path)| format!("/{path}"));
        let mut labels = json!({
            "org.opencontainers.image.created": date(making.time)?,
            "org.opencontainers.image.description": self.about,
            "org.opencontainers.image.licenses": "Apache-2.0",
            "org.opencontainers.image.source": env!("CARGO_PKG_REPOSITORY"),
            "org.opencontainers.image.title": self.name,
            "org.opencontainers.image.version": making.version,
        });
        if let Some(revision) = &making.revision {
            labels["org.opencontainers.image.revision"] = json!(revision);
        }
        Ok(json!({
            "Entrypoint": [program],
            "Env": ["PATH=/usr/bin:/usr/sbin"],
            "Labels": labels,
            "WorkingDir": "/",
        }))
    }
}

/// What programs expect of any host.
fn base() -> Files {
    let mut files = Files::default();
    files.put("etc/passwd", "root:x:0:0:root:/:/\nnobody:x:65534:65534:nobody:/:/\n");
    files.put("etc/group", "root:x:0:\nnogroup:x:65534:\n");
    files.folder("tmp", 0o1777);
    files
}
