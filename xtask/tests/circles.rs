//! The modules of a crate depend on each other in one direction, too: no module imports itself back through
//! others.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The crates that have no circles.
const CRATES: [&str; 5] = ["calico", "calico-ipam", "cni", "filter", "setup"];

/// For each module of a crate, the modules of the same crate that it imports, by their names at the crate's
/// root. Tests and the root may import anything.
fn imports(crate_root: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut folders = vec![crate_root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let module = module(path.strip_prefix(crate_root.join("src")).unwrap());
            if ["lib", "main"].contains(&module.as_str()) || path.to_string_lossy().ends_with("_tests.rs") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            let found = imports.entry(module.clone()).or_default();
            for import in lines.flat_map(|line| line.split("crate::").skip(1)) {
                let name: String = import.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                // A name with another first letter is an item of the root, not a module.
                if name.starts_with(|c: char| c.is_ascii_lowercase()) && name != module {
                    found.insert(name);
                }
            }
        }
    }
    imports
}

fn module(path: &Path) -> String {
    let first = PathBuf::from(path.components().next().unwrap().as_os_str());
    first.with_extension("").to_string_lossy().into_owned()
}

/// The modules that import each other in a circle, each with its imports from the circle.
fn circle(mut imports: BTreeMap<String, BTreeSet<String>>) -> BTreeMap<String, BTreeSet<String>> {
    loop {
        // A module that imports none of the others left, or that none of them imports, is in no circle.
        let left: BTreeSet<String> = imports.keys().cloned().collect();
        let imported: BTreeSet<String> = imports.values().flatten().cloned().collect();
        imports.values_mut().for_each(|names| names.retain(|name| left.contains(name)));
        imports.retain(|module, names| !names.is_empty() && imported.contains(module));
        if imports.len() == left.len() {
            return imports;
        }
    }
}

#[test]
fn modules_point_one_way() {
    for name in CRATES {
        let imports = imports(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates").join(name));
        assert!(imports.values().any(|names| !names.is_empty()), "{name} has no modules");
        let circle = circle(imports);
        assert!(circle.is_empty(), "modules of {name} import each other in a circle: {circle:?}");
    }
}

#[test]
fn a_circle_is_found() {
    let graph = |arrows: &[(&str, &[&str])]| {
        let owned = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
        arrows.iter().map(|(from, to)| (from.to_string(), owned(to))).collect::<BTreeMap<_, _>>()
    };
    assert!(circle(graph(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])])).is_empty());
    let found = circle(graph(&[("a", &["b"]), ("b", &["c"]), ("c", &["b", "d"]), ("d", &[])]));
    assert_eq!(found, graph(&[("b", &["c"]), ("c", &["b"])]));
}
