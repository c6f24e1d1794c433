//! The packages that the project is built from, as cargo resolves them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use xtask::cargo::cargo;

/// A package that cargo resolves.
#[derive(Clone, Debug, Deserialize)]
pub struct Package {
    id: String,
    /// The name.
    pub name: String,
    /// The version.
    pub version: String,
    /// The licence as an SPDX expression; `None` where the manifest names none.
    pub license: Option<String>,
    /// The source of the package; `None` for packages of this tree.
    pub source: Option<String>,
    manifest_path: PathBuf,
}

impl Package {
    /// The folder of the package's sources.
    pub fn folder(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(Path::new("."))
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    kind: Option<String>,
}

/// All packages of the workspace for one platform, by their identity, and the normal dependencies between
/// them.
pub struct Packages {
    all: BTreeMap<String, Package>,
    arrows: BTreeMap<String, Vec<String>>,
}

impl Packages {
    /// Asks cargo for the packages.
    ///
    /// # Errors
    /// When cargo fails, or its answer cannot be understood.
    pub fn of(target: &str) -> Result<Packages> {
        let arguments = ["metadata", "--format-version=1", "--locked", "--filter-platform", target];
        let out = cargo(&arguments).output().context("cannot start cargo")?;
        anyhow::ensure!(
            out.status.success(),
            "cargo metadata failed: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        let metadata: Metadata = serde_json::from_slice(&out.stdout).context("cargo metadata")?;
        let resolved: BTreeSet<&str> = metadata.resolve.nodes.iter().map(|node| node.id.as_str()).collect();
        let packages = metadata.packages.iter().filter(|package| resolved.contains(package.id.as_str()));
        let all = packages.map(|package| (package.id.clone(), package.clone())).collect();
        let normal = |dependency: &Dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none());
        let arrows = metadata.resolve.nodes.into_iter().map(|node| {
            let to = node.deps.into_iter().filter(normal).map(|dependency| dependency.pkg).collect();
            (node.id, to)
        });
        Ok(Packages { all, arrows: arrows.collect() })
    }

    /// All packages, in the order of their names and versions.
    #[cfg(test)]
    fn all(&self) -> Vec<&Package> {
        sorted(self.all.values())
    }

    /// The folders that hold the sources of packages from elsewhere.
    pub fn folders(&self) -> BTreeSet<&Path> {
        let packages = self.all.values().filter(|package| package.source.is_some());
        packages.filter_map(|package| package.folder().parent()).collect()
    }

    /// The packages that are linked into these programs, procedural macros included, without the programs
    /// themselves.
    pub fn linked_into(&self, programs: &[&str]) -> Vec<&Package> {
        let ours = |package: &&Package| package.source.is_none() && programs.contains(&package.name.as_str());
        let mut open: Vec<&str> = self.all.values().filter(ours).map(|package| package.id.as_str()).collect();
        let mut met: BTreeSet<&str> = BTreeSet::new();
        while let Some(id) = open.pop() {
            if met.insert(id) {
                open.extend(self.arrows.get(id).into_iter().flatten().map(String::as_str));
            }
        }
        sorted(met.iter().filter_map(|id| self.all.get(*id)).filter(|package| package.source.is_some()))
    }
}

fn sorted<'a>(packages: impl Iterator<Item = &'a Package>) -> Vec<&'a Package> {
    let mut packages: Vec<_> = packages.collect();
    packages.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    packages
}

/// Compares the rules in `deny.toml` with the lock file, without cargo-deny.
#[cfg(test)]
mod tests {
    use super::*;
    use xtask::cargo::root;

    const TARGETS: [&str; 2] = ["x86_64-unknown-linux-musl", "x86_64-unknown-linux-gnu"];

    #[derive(Deserialize)]
    struct Policy {
        licenses: Licenses,
        bans: Bans,
    }

    #[derive(Deserialize)]
    struct Licenses {
        allow: Vec<String>,
        #[serde(default)]
        clarify: Vec<Clarified>,
    }

    #[derive(Deserialize)]
    struct Clarified {
        #[serde(rename = "crate")]
        package: String,
        expression: String,
    }

    #[derive(Deserialize)]
    struct Bans {
        skip: Vec<Skipped>,
    }

    #[derive(Deserialize)]
    struct Skipped {
        #[serde(rename = "crate")]
        package: String,
    }

    fn policy() -> Policy {
        toml::from_str(&std::fs::read_to_string(root().join("deny.toml")).unwrap()).unwrap()
    }

    fn is_allowed(licenses: &Licenses, expression: &str) -> bool {
        let allowed: Vec<spdx::Licensee> =
            licenses.allow.iter().map(|name| spdx::Licensee::parse(name).unwrap()).collect();
        let expression = spdx::Expression::parse_mode(expression, spdx::ParseMode::LAX).unwrap();
        expression.evaluate(|wanted| allowed.iter().any(|licensee| licensee.satisfies(wanted)))
    }

    #[test]
    fn every_licence_is_allowed() {
        let licenses = policy().licenses;
        assert!(is_allowed(&licenses, "MIT/Apache-2.0") && is_allowed(&licenses, "GPL-3.0-only OR MIT"));
        assert!(!is_allowed(&licenses, "GPL-3.0-only") && !is_allowed(&licenses, "MIT AND SSPL-1.0"));
        for target in TARGETS {
            let packages = Packages::of(target).unwrap();
            let all = packages.all();
            let refused = all.iter().filter(|package| {
                let clarified = licenses.clarify.iter().find(|one| one.package == package.name);
                let expression = package.license.as_deref().or(clarified.map(|one| one.expression.as_str()));
                !expression.is_some_and(|expression| is_allowed(&licenses, expression))
            });
            let refused: Vec<_> = refused.map(|p| (&p.name, &p.version, &p.license)).collect();
            assert!(refused.is_empty(), "not in deny.toml's licenses.allow: {refused:?}");
        }
    }

    #[test]
    fn no_package_is_there_twice_unless_it_is_said_why() {
        let skip: BTreeSet<String> = policy().bans.skip.into_iter().map(|skipped| skipped.package).collect();
        let mut used = BTreeSet::new();
        for target in TARGETS {
            let packages = Packages::of(target).unwrap();
            let mut versions: BTreeMap<&str, Vec<String>> = BTreeMap::new();
            for package in packages.all() {
                let name = format!("{}@{}", package.name, package.version);
                if skip.contains(&name) {
                    used.insert(name);
                } else {
                    versions.entry(&package.name).or_default().push(name);
                }
            }
            versions.retain(|_, versions| versions.len() > 1);
            assert!(versions.is_empty(), "several versions, and none in deny.toml's bans.skip: {versions:?}");
        }
        let unused: Vec<_> = skip.difference(&used).collect();
        assert!(unused.is_empty(), "deny.toml's bans.skip names what is not there: {unused:?}");
    }

    #[test]
    fn all_packages_come_from_one_registry() {
        let packages = Packages::of(TARGETS[0]).unwrap();
        let all = packages.all();
        let sources: BTreeSet<_> = all.iter().filter_map(|package| package.source.as_deref()).collect();
        assert_eq!(sources.len(), 1, "{sources:?}");
        assert!(sources.iter().all(|source| source.starts_with("registry+")), "{sources:?}");
        let elsewhere: Vec<_> = all
            .iter()
            .filter(|package| package.source.is_none() && !package.folder().starts_with(root()))
            .map(|package| &package.name)
            .collect();
        assert!(elsewhere.is_empty(), "outside of this tree: {elsewhere:?}");
    }

    #[test]
    fn what_is_linked_into_a_program() {
        let packages = Packages::of(TARGETS[0]).unwrap();
        let names = |programs: &[&str]| -> Vec<String> {
            packages.linked_into(programs).iter().map(|package| package.name.clone()).collect()
        };
        let plugin = names(&["calico-ipam"]);
        assert!(plugin.contains(&"rusqlite".to_string()) && !plugin.contains(&"gotmpl".to_string()));
        assert!(names(&["calicoctl"]).contains(&"gotmpl".to_string()));
        // Development and build dependencies are left out.
        assert!(!names(&["calicoctl"]).iter().any(|name| name == "insta" || name == "cc"));
        assert!(names(&["no-such-program"]).is_empty());
    }
}
