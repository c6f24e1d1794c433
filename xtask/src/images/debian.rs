//! Files of Debian's packages: whose they are, in which version, and under which licence.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::architecture::Architecture;
use super::files::Files;
use super::linked::needed_by;

/// The folder of the licences that many packages share.
const COMMON: &str = "/usr/share/common-licenses";

/// A folder with Debian's files and dpkg's records of them: a machine's own, or one into which packages were
/// unpacked.
pub struct Root {
    folder: PathBuf,
}

/// A package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The architecture that it is for.
    pub architecture: String,
    /// The source that it is built from, with the version.
    pub source: String,
    /// What dpkg knows of it.
    stanza: String,
}

/// Programs with all that they need, and the packages that this is from.
#[derive(Default)]
pub struct Programs {
    /// The files, with the packages' licences among them.
    pub files: Files,
    /// The packages, in the order of their names.
    pub packages: Vec<Package>,
}

impl Programs {
    /// Adds all of the others.
    pub fn extend(&mut self, others: Programs) {
        self.files.extend(others.files);
        self.packages.extend(others.packages);
        self.packages.sort_by(|a, b| a.name.cmp(&b.name));
        self.packages.dedup();
    }
}

impl Root {
    /// This machine's.
    pub fn of_this_machine() -> Root {
        Root::of(PathBuf::from("/"))
    }

    /// That in a folder.
    pub fn of(folder: PathBuf) -> Root {
        Root { folder }
    }

    /// A program of a package, and what it needs. It has the same path there as here.
    ///
    /// # Errors
    /// When one of the files is missing, or is of no package, or a package's licence is missing.
    pub fn program(&self, path: &str, architecture: Architecture) -> Result<Programs> {
        let program = self.folder.join(path.trim_start_matches('/'));
        let mut found = needed_by(&program, &self.folder, architecture)?;
        found.insert(path.to_string(), program);
        self.with_licences(found)
    }

    /// What programs need that are of no package.
    ///
    /// # Errors
    /// As for [`Root::program`].
    pub fn needed_by(&self, programs: &[PathBuf], architecture: Architecture) -> Result<Programs> {
        let mut found = BTreeMap::new();
        for program in programs {
            found.extend(needed_by(program, &self.folder, architecture)?);
        }
        self.with_licences(found)
    }

    fn with_licences(&self, found: BTreeMap<String, PathBuf>) -> Result<Programs> {
        if found.is_empty() {
            return Ok(Programs::default());
        }
        let packages = self.packages_of(&found.keys().map(String::as_str).collect::<Vec<_>>())?;
        let mut files = Files::default();
        files.link("lib", "usr/lib");
        files.link("lib64", "usr/lib64");
        for (path, source) in found {
            files.program(&in_usr(&path), source);
        }
        let mut common = BTreeSet::new();
        for package in &packages {
            let path = format!("usr/share/doc/{}/copyright", package.name);
            let copyright = self.folder.join(&path);
            let text = fs::read(&copyright).with_context(|| {
                format!(
                    "{} is missing, the licence of {}: apt-get install --reinstall {}",
                    copyright.display(),
                    package.name,
                    package.name
                )
            })?;
            common.extend(common_licences(&String::from_utf8_lossy(&text)));
            files.put(&path, text);
            // Scanners look here for what an image is made of.
            files.put(&format!("var/lib/dpkg/status.d/{}", package.name), package.stanza.as_bytes());
        }
        for name in common {
            let path = format!("{COMMON}/{name}");
            files.put(&path, fs::read(&path).with_context(|| path.clone())?);
        }
        Ok(Programs { files, packages })
    }

    /// The packages that have these files.
    fn packages_of(&self, paths: &[&str]) -> Result<Vec<Package>> {
        // A file may have been installed as /lib/x and be found as /usr/lib/x, or the other way round.
        let twice = paths.iter().flat_map(|path| {
            let below = path.strip_prefix("/usr").unwrap_or(path);
            [below.to_string(), format!("/usr{below}")]
        });
        let said = self.dpkg_query("--search", &twice.collect::<Vec<_>>())?;
        let mut owners: BTreeMap<String, String> = BTreeMap::new();
        let lines = said.lines().filter(|line| !line.starts_with("diversion by "));
        for (packages, path) in lines.filter_map(|line| line.split_once(": ")) {
            let package = packages.split(", ").next().unwrap_or(packages);
            owners.insert(in_usr(path), package.to_string());
        }
        for path in paths {
            ensure!(
                owners.contains_key(&in_usr(path)),
                "{path} is of no Debian package, so its licence is not known"
            );
        }
        let names: BTreeSet<String> = owners.into_values().collect();
        let said = self.dpkg_query("--status", &names.iter().cloned().collect::<Vec<_>>())?;
        let packages: Vec<Package> = said.split("\n\n").filter_map(package_of).collect();
        ensure!(packages.len() == names.len(), "dpkg-query --status does not tell of all of {names:?}");
        Ok(packages)
    }

    /// What dpkg's records say. That some of the words are not known to it is no error.
    fn dpkg_query(&self, verb: &str, words: &[String]) -> Result<String> {
        let mut command = Command::new("dpkg-query");
        command
            .arg(format!("--admindir={}", self.folder.join("var/lib/dpkg").display()))
            .arg(verb)
            .args(words);
        let out = command
            .env("LC_ALL", "C")
            .output()
            .context("dpkg-query cannot be started; images are made from a Debian machine's files")?;
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }
}

/// A path as it is where /bin, /lib, /lib64 and /sbin are links into /usr.
fn in_usr(path: &str) -> String {
    match path.strip_prefix("/usr/") {
        Some(_) => path.to_string(),
        None => format!("/usr{path}"),
    }
}

/// The common licences that a copyright file points to.
fn common_licences(copyright: &str) -> BTreeSet<String> {
    let mentions = copyright.split("/usr/share/common-licenses/").skip(1);
    let names = mentions.map(|rest| {
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '.'));
        rest[..end.unwrap_or(rest.len())].trim_end_matches('.').to_string()
    });
    names.filter(|name| !name.is_empty()).collect()
}

/// A field of what dpkg knows of a package.
pub fn field<'s>(stanza: &'s str, name: &str) -> Option<&'s str> {
    stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn package_of(stanza: &str) -> Option<Package> {
    let field = |name: &str| field(stanza, name).map(str::to_string);
    let (name, version) = (field("Package")?, field("Version")?);
    // `Source: name (version)`, each part only where it differs from the package's own.
    let source = field("Source").unwrap_or_else(|| name.clone());
    let source = match source.split_once(" (") {
        Some((source, version)) => format!("{source} {}", version.trim_end_matches(')')),
        None => format!("{source} {version}"),
    };
    let stanza = format!("{}\n", stanza.trim_matches('\n'));
    Some(Package { name, version, architecture: field("Architecture")?, source, stanza })
}
