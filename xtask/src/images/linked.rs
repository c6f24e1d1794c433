//! A program and what it needs: the loader and the shared libraries that its header names, and theirs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use elf::ElfBytes;
use elf::abi::{DT_NEEDED, PT_INTERP};
use elf::endian::LittleEndian;

use super::architecture::Architecture;

/// How many symbolic links are followed for one file.
const LINKS: usize = 16;

/// What a program asks for, by its header.
#[derive(Debug, Default)]
struct Asked {
    loader: Option<String>,
    libraries: Vec<String>,
}

/// What a program needs, found below `root`: paths as the program's loader sees them, each with the file that
/// has the content. A static program needs nothing.
///
/// # Errors
/// When the file is no program for the architecture, or when a library is not in a folder that the loader
/// looks into by itself.
pub fn needed_by(
    program: &Path,
    root: &Path,
    architecture: Architecture,
) -> Result<BTreeMap<String, PathBuf>> {
    let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut open = vec![program.to_path_buf()];
    while let Some(file) = open.pop() {
        let asked = asked_by(&file, architecture).with_context(|| file.display().to_string())?;
        let mut wanted: Vec<_> = asked.loader.into_iter().collect();
        for library in &asked.libraries {
            wanted.push(path_of(library, root, architecture).with_context(|| {
                format!("{} needs {library}, which is in no folder of libraries", file.display())
            })?);
        }
        for path in wanted {
            // The loader is known by its own path, and is a library of others, too.
            let name = path.rsplit('/').next().unwrap_or_default();
            if found.keys().any(|known| known.ends_with(&format!("/{name}"))) {
                continue;
            }
            let source = resolved(&path, root)?;
            open.push(source.clone());
            found.insert(path, source);
        }
    }
    Ok(found)
}

fn asked_by(file: &Path, architecture: Architecture) -> Result<Asked> {
    let bytes = fs::read(file)?;
    let elf = ElfBytes::<LittleEndian>::minimal_parse(&bytes).context("it is no program")?;
    ensure!(
        elf.ehdr.e_machine == architecture.machine(),
        "it is no program for {}, by the machine number {} in its header",
        architecture.name(),
        elf.ehdr.e_machine
    );
    let mut asked = Asked::default();
    let segments = elf.segments().context("it has no program headers")?;
    if let Some(segment) = segments.iter().find(|segment| segment.p_type == PT_INTERP) {
        let loader = elf.segment_data(&segment)?;
        asked.loader = Some(String::from_utf8(loader.to_vec())?.trim_end_matches('\0').to_string());
    }
    let parts = elf.find_common_data()?;
    if let (Some(dynamic), Some(strings)) = (parts.dynamic, parts.dynsyms_strs) {
        for entry in dynamic.iter().filter(|entry| entry.d_tag == DT_NEEDED) {
            asked.libraries.push(strings.get(usize::try_from(entry.d_val())?)?.to_string());
        }
    }
    Ok(asked)
}

/// The path of a library as its loader finds it.
fn path_of(library: &str, root: &Path, architecture: Architecture) -> Option<String> {
    let triplet = architecture.triplet();
    let folders = [
        &format!("/lib/{triplet}"),
        &format!("/usr/lib/{triplet}"),
        "/lib64",
        "/usr/lib64",
        "/lib",
        "/usr/lib",
    ];
    let mut paths = folders.iter().map(|folder| format!("{folder}/{library}"));
    paths.find(|path| resolved(path, root).is_ok())
}

/// The file below `root` that a path leads to. Links with absolute targets stay below `root`, too.
fn resolved(path: &str, root: &Path) -> Result<PathBuf> {
    let mut place = root.join(path.trim_start_matches('/'));
    for _ in 0..LINKS {
        match fs::symlink_metadata(&place) {
            Ok(metadata) if metadata.is_symlink() => {
                let to = fs::read_link(&place)?;
                place = match to.strip_prefix("/") {
                    Ok(to) => root.join(to),
                    Err(_) => place.parent().unwrap_or(root).join(to),
                };
            }
            Ok(_) => return Ok(place),
            Err(error) => return Err(error).with_context(|| place.display().to_string()),
        }
    }
    bail!("{path}: more than {LINKS} symbolic links")
}
