//! Writes images as a folder in the OCI image layout.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use flate2::{Compression, GzBuilder};
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

use super::architecture::Architecture;
use super::files::Files;

/// The version of the layout, in a file that tells that a folder is one.
const MARK: &str = "oci-layout";

/// How layers are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Packing {
    /// As an archive with gzip, which every registry and runtime understands.
    Gzip,
    /// As an archive alone: quicker to make, and several times as large.
    None,
}

/// A folder that gets images.
pub struct Layout {
    folder: PathBuf,
    images: Vec<Json>,
}

/// A layer that is in a layout.
#[derive(Clone, Debug)]
pub struct Layer {
    descriptor: Json,
    /// The digest of the archive before it was packed.
    archive: String,
}

/// An image for one architecture.
pub struct Image {
    /// What its programs run on.
    pub architecture: Architecture,
    /// Its files, from the lowest layer up.
    pub layers: Vec<Layer>,
    /// How containers are started, in the words of an image's configuration: `Entrypoint`, `Env`, `Labels`.
    pub config: Json,
}

impl Layout {
    /// Makes a new layout. An older one in the same place is removed.
    ///
    /// # Errors
    /// When the folder holds something else, or cannot be written.
    pub fn create(folder: &Path) -> Result<Layout> {
        let place = || folder.display().to_string();
        fs::create_dir_all(folder).with_context(place)?;
        if fs::read_dir(folder).with_context(place)?.next().is_some() {
            ensure!(
                folder.join(MARK).exists(),
                "{} is neither empty nor a layout of images: name another folder",
                folder.display()
            );
            fs::remove_dir_all(folder).with_context(place)?;
        }
        fs::create_dir_all(folder.join("blobs/sha256")).with_context(place)?;
        fs::write(folder.join(MARK), json!({"imageLayoutVersion": "1.0.0"}).to_string())?;
        Ok(Layout { folder: folder.to_path_buf(), images: Vec::new() })
    }

    /// Writes a layer. Its files are of that time, in seconds since 1970.
    ///
    /// # Errors
    /// When a file cannot be read, or the layer cannot be written.
    pub fn layer(&self, files: &Files, packing: Packing, time: u64) -> Result<Layer> {
        let beside = self.folder.join("layer.new");
        let blob = Counted::new(File::create(&beside).with_context(|| beside.display().to_string())?);
        let (blob, archive, media_type) = match packing {
            Packing::None => {
                let mut blob = blob;
                files.write(&mut blob, time)?;
                let archive = blob.digest();
                (blob, archive, "layer.v1.tar")
            }
            Packing::Gzip => {
                // Neither a time nor a name gets into the header.
                let mut archive = Counted::new(GzBuilder::new().write(blob, Compression::default()));
                files.write(&mut archive, time)?;
                let digest = archive.digest();
                (archive.to.finish()?, digest, "layer.v1.tar+gzip")
            }
        };
        let digest = blob.digest();
        fs::rename(&beside, self.blob(&digest))?;
        Ok(Layer { descriptor: descriptor(media_type, &digest, blob.bytes), archive })
    }

    /// Adds an image with a name such as `rackpool/calicoctl:1.0`, for one or several architectures.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add(&mut self, name: &str, images: &[Image], time: u64) -> Result<()> {
        let mut manifests = Vec::new();
        for image in images {
            manifests.push(self.manifest(image, time)?);
        }
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": manifests,
        });
        let mut index = self.put("index.v1+json", &index)?;
        index["annotations"] = json!({
            "io.containerd.image.name": full_name(name),
            "org.opencontainers.image.ref.name": name,
        });
        self.images.push(index);
        Ok(())
    }

    fn manifest(&self, image: &Image, time: u64) -> Result<Json> {
        let architecture = image.architecture.name();
        let archives: Vec<_> = image.layers.iter().map(|layer| format!("sha256:{}", layer.archive)).collect();
        let layers: Vec<_> = image.layers.iter().map(|layer| &layer.descriptor).collect();
        let config = json!({
            "created": date(time)?,
            "architecture": architecture,
            "os": "linux",
            "config": image.config,
            "rootfs": {"type": "layers", "diff_ids": archives},
        });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": self.put("config.v1+json", &config)?,
            "layers": layers,
        });
        let mut manifest = self.put("manifest.v1+json", &manifest)?;
        manifest["platform"] = json!({"architecture": architecture, "os": "linux"});
        Ok(manifest)
    }

    /// Writes a file about the images beside them.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn beside(&self, name: &str, text: &str) -> Result<()> {
        let folder = self.folder.join("sbom");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), text).with_context(|| name.to_string())
    }

    /// Writes the list of the images, which makes the layout complete.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(self) -> Result<()> {
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": self.images,
        });
        fs::write(self.folder.join("index.json"), index.to_string()).context("index.json")
    }

    fn put(&self, media_type: &str, content: &Json) -> Result<Json> {
        let bytes = content.to_string();
        let digest = hex(&Sha256::digest(&bytes));
        fs::write(self.blob(&digest), &bytes)?;
        Ok(descriptor(media_type, &digest, bytes.len() as u64))
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.folder.join("blobs/sha256").join(digest)
    }
}

/// The name of an image as runtimes know it, with its registry.
pub fn full_name(name: &str) -> String {
    let has_registry = name.split_once('/').is_some_and(|(first, _)| first.contains(['.', ':']));
    match (has_registry, name.contains('/')) {
        (true, _) => name.to_string(),
        (false, true) => format!("docker.io/{name}"),
        (false, false) => format!("docker.io/library/{name}"),
    }
}

/// A time in seconds since 1970, as images tell it.
pub fn date(time: u64) -> Result<String> {
    Ok(jiff::Timestamp::from_second(i64::try_from(time)?)?.to_string())
}

fn descriptor(media_type: &str, digest: &str, size: u64) -> Json {
    json!({
        "mediaType": format!("application/vnd.oci.image.{media_type}"),
        "digest": format!("sha256:{digest}"),
        "size": size,
    })
}

/// Bytes in hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A writer that knows the digest and the number of all bytes that went through it.
struct Counted<W> {
    to: W,
    sum: Sha256,
    bytes: u64,
}

impl<W> Counted<W> {
    fn new(to: W) -> Counted<W> {
        Counted { to, sum: Sha256::new(), bytes: 0 }
    }

    fn digest(&self) -> String {
        hex(&self.sum.clone().finalize())
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.sum.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.to.flush()
    }
}
