//! Which files are in the archive and in the package, and where.

use std::fs;
use std::io::Write;

use anyhow::{Context, Result, ensure};
use flate2::{Compression, GzBuilder};

use super::{NAME, Source, Texts, VERSION, debian};
use crate::images::Files;
use crate::notices;
use xtask::cargo::root;

const UNIT: &str = "rackpoold-node.service";
/// The folders of the programs that users call, and of the plugins.
const PROGRAMS: [&str; 2] = ["calicoctl", "rackpoold"];
const PLUGINS: [&str; 2] = ["calico", "calico-ipam"];

/// The folders of one form of release.
struct Folders<'a> {
    programs: &'a str,
    plugins: &'a str,
    texts: &'a str,
    example: &'a str,
    bash: &'a str,
    zsh: &'a str,
    fish: &'a str,
    manual: &'a str,
}

/// The files of the archive.
pub fn archive(source: &Source, texts: &Texts<'_>) -> Result<Files> {
    let top = format!("{NAME}-{VERSION}-linux-{}", source.architecture.name());
    let below = |folder: &str| format!("{top}/{folder}");
    let mut files = common(
        source,
        texts,
        &Folders {
            programs: &below("bin"),
            plugins: &below("plugins"),
            texts: &top,
            example: &below("examples"),
            bash: &below("completions/bash"),
            zsh: &below("completions/zsh"),
            fish: &below("completions/fish"),
            manual: &below("man/man1"),
        },
    )?;
    files.copy(&format!("{top}/LICENSE"), root().join("LICENSE"));
    files.copy(&format!("{top}/README.md"), root().join("docs/plain-host.md"));
    files.copy(&format!("{top}/systemd/{UNIT}"), root().join("deploy/systemd").join(UNIT));
    files.put(&format!("{top}/{}", notices::FILE), texts.notices.as_str());
    Ok(files)
}

/// The files of the package, without those that are for dpkg alone.
pub fn package(source: &Source, texts: &Texts<'_>) -> Result<Files> {
    let doc = format!("usr/share/doc/{NAME}");
    let mut files = common(
        source,
        texts,
        &Folders {
            programs: "usr/bin",
            // Where Debian has its plugins, and its containerd looks for them.
            plugins: "usr/lib/cni",
            texts: &doc,
            example: &format!("{doc}/examples"),
            bash: "usr/share/bash-completion/completions",
            zsh: "usr/share/zsh/vendor-completions",
            fish: "usr/share/fish/vendor_completions.d",
            manual: "usr/share/man/man1",
        },
    )?;
    let unit = fs::read_to_string(root().join("deploy/systemd").join(UNIT)).context(UNIT)?;
    let (_, unit) = unit.split_once("[Unit]").context("a unit has a part Unit")?;
    let unit = format!("[Unit]{}", unit.replace("/usr/local/bin/", "/usr/bin/"));
    files.put(&format!("usr/lib/systemd/system/{UNIT}"), unit);
    files.copy("etc/rackpool/rackpoold.env", root().join("deploy/debian/rackpoold.env"));
    let overrides = root().join("deploy/debian/lintian-overrides");
    files.copy(&format!("usr/share/lintian/overrides/{NAME}"), overrides);
    files.copy(&format!("{doc}/copyright"), root().join("deploy/debian/copyright"));
    files.put(&format!("{doc}/{}.gz", notices::FILE), packed(texts.notices.as_bytes())?);
    files.put(&format!("{doc}/NEWS.gz"), packed(&fs::read(root().join("CHANGELOG.md"))?)?);
    files.put(&format!("{doc}/changelog.gz"), packed(debian::changelog(source)?.as_bytes())?);
    Ok(files)
}

fn common(source: &Source, texts: &Texts<'_>, folders: &Folders<'_>) -> Result<Files> {
    let mut files = Files::default();
    for (folder, names) in [(folders.programs, PROGRAMS), (folders.plugins, PLUGINS)] {
        for name in names {
            let program = source.programs.join(name);
            ensure!(program.is_file(), "{} is missing", program.display());
            files.program(&format!("{folder}/{name}"), program);
        }
    }
    files.put(&format!("{}/sbom.spdx.json", folders.texts), texts.bill.as_str());
    let example = "10-rackpool.conflist";
    files.copy(&format!("{}/{example}", folders.example), root().join("deploy/examples").join(example));
    for entry in fs::read_dir(texts.manual).with_context(|| texts.manual.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let text = fs::read(&path)?;
        if let Some(program) = name.strip_suffix(".bash") {
            files.put(&format!("{}/{program}", folders.bash), text);
        } else if name.starts_with('_') {
            files.put(&format!("{}/{name}", folders.zsh), text);
        } else if name.ends_with(".fish") {
            files.put(&format!("{}/{name}", folders.fish), text);
        } else {
            files.put(&format!("{}/{name}.gz", folders.manual), packed(&text)?);
        }
    }
    Ok(files)
}

fn packed(text: &[u8]) -> Result<Vec<u8>> {
    let mut packed = GzBuilder::new().write(Vec::new(), Compression::best());
    packed.write_all(text)?;
    Ok(packed.finish()?)
}
