//! Makes THIRD-PARTY-NOTICES.txt: the authors and licences of what is linked into the static binaries.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use anyhow::{Context, Result, ensure};

use crate::packages::{Package, Packages};

/// The name of the file beside the binaries.
pub const FILE: &str = "THIRD-PARTY-NOTICES.txt";

/// Parts that are linked in without being packages: name, licence, and owner.
pub const BESIDE_PACKAGES: [(&str, &str, &str); 4] = [
    ("The Rust standard library", "MIT OR Apache-2.0", "Copyright (c) The Rust Project contributors"),
    ("musl libc", "MIT", "Copyright (c) 2005-2020 Rich Felker, et al."),
    ("goyaml, which the crate golang follows closely", "MIT", "Copyright (c) 2006-2011 Kirill Simonov"),
    ("SQLite", "blessing", "In the public domain"),
];
/// How the names of licence files begin, in upper case.
const BEGINNINGS: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE"];

/// The notices for some programs of this tree.
///
/// # Errors
/// When cargo cannot list the packages, or a package names no licence and has no licence file.
pub fn text(packages: &Packages, programs: &[&str]) -> Result<String> {
    let linked = packages.linked_into(programs);
    let mut out = format!("Third-party notices for {}\n\nThese programs contain:\n\n", programs.join(", "));
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, license, owner) in BESIDE_PACKAGES {
        writeln!(out, "  {name}: {license}. {owner}")?;
        for text in standard_texts(license)? {
            texts.entry(text).or_default().push(name.to_string());
        }
    }
    for package in linked {
        let name = format!("{} {}", package.name, package.version);
        writeln!(out, "  {name}: {}", package.license.as_deref().unwrap_or("see its licence below"))?;
        for text in texts_of(package).with_context(|| name.clone())? {
            texts.entry(text).or_default().push(name.clone());
        }
    }
    let mut texts: Vec<_> = texts.into_iter().collect();
    texts.sort_by(|(_, a), (_, b)| a.cmp(b));
    for (text, names) in texts {
        let line = "=".repeat(80);
        write!(out, "\n{line}\n{}\n{line}\n\n{text}\n", names.join(", "))?;
    }
    Ok(out)
}

/// The licence files of a package, or else the standard texts of the licences that it names.
fn texts_of(package: &Package) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(package.folder())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_uppercase();
        if BEGINNINGS.iter().any(|beginning| name.starts_with(beginning)) && entry.file_type()?.is_file() {
            let text = String::from_utf8_lossy(&fs::read(entry.path())?).replace("\r\n", "\n");
            texts.push(text.trim_matches('\n').to_string());
        }
    }
    texts.sort();
    match &package.license {
        Some(license) if texts.is_empty() => standard_texts(license),
        _ => {
            ensure!(!texts.is_empty(), "it names no licence and has no file with one");
            Ok(texts)
        }
    }
}

fn standard_texts(expression: &str) -> Result<Vec<String>> {
    let parsed = spdx::Expression::parse_mode(expression, spdx::ParseMode::LAX)?;
    let licenses = parsed.requirements().filter_map(|requirement| requirement.req.license.id());
    let texts: Vec<String> = licenses.map(|id| id.text().trim_matches('\n').to_string()).collect();
    ensure!(!texts.is_empty(), "{expression} names no licence that is known");
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtask::cargo::PROGRAMS;

    #[test]
    fn everything_linked_in_is_named_with_a_licence() {
        let packages = Packages::of("x86_64-unknown-linux-musl").unwrap();
        let text = text(&packages, &PROGRAMS).unwrap();
        let (list, texts) = text.split_once("====").unwrap();
        for package in packages.linked_into(&PROGRAMS) {
            let name = format!("{} {}", package.name, package.version);
            assert!(list.contains(&format!("  {name}: ")), "{name} is not in the list");
            assert!(texts.contains(&name), "{name} has no text");
        }
        for words in ["Permission is hereby granted, free of charge", "Apache License", "Rich Felker"] {
            assert!(text.contains(words), "{words}");
        }
    }

    #[test]
    fn a_package_without_any_licence_is_an_error() {
        standard_texts("LicenseRef-mine").unwrap_err();
        assert_eq!(standard_texts("MIT/Apache-2.0").unwrap().len(), 2);
    }
}
