//! The bill of materials of an image or an archive, in SPDX 2.3: our programs, the packages that are linked
//! into each, and Debian's packages beside them.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

use super::architecture::Architecture;
use super::debian;
use super::layout::{date, hex};
use crate::notices::BESIDE_PACKAGES;
use crate::packages::Packages;

/// What a bill is about.
pub struct Subject<'a> {
    /// Its name: an image's, or an archive's.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// The architecture of the programs.
    pub architecture: Architecture,
    /// When it was made, in seconds since 1970.
    pub time: u64,
    /// Our programs in it.
    pub programs: &'a [&'a str],
}

/// The text of the bill. The same contents give the same text.
///
/// # Errors
/// When the time is out of bounds.
pub fn text(subject: &Subject<'_>, linked: &Packages, debian: &[debian::Package]) -> Result<String> {
    let whole = "SPDXRef-whole";
    let mut parts: BTreeMap<String, Json> = BTreeMap::new();
    let mut arrows = vec![arrow("SPDXRef-DOCUMENT", "DESCRIBES", whole)];
    let licence = Some("Apache-2.0");
    parts.insert(whole.to_string(), part(whole, subject.name, Some(subject.version), licence, None));
    for program in subject.programs {
        let id = id(&["program", program]);
        arrows.push(arrow(whole, "CONTAINS", &id));
        for package in linked.linked_into(&[*program]) {
            let (name, version) = (&package.name, &package.version);
            let part_id = self::id(&["crate", name, version]);
            arrows.push(arrow(&id, "STATIC_LINK", &part_id));
            parts.entry(part_id.clone()).or_insert_with(|| {
                let purl = format!("pkg:cargo/{name}@{}", version.replace('+', "%2B"));
                part(&part_id, name, Some(version), package.license.as_deref(), Some(&purl))
            });
        }
        for (name, licence, _) in BESIDE_PACKAGES {
            let part_id = self::id(&["part", name]);
            arrows.push(arrow(&id, "STATIC_LINK", &part_id));
            parts.entry(part_id.clone()).or_insert_with(|| part(&part_id, name, None, Some(licence), None));
        }
        parts.insert(id.clone(), part(&id, program, Some(subject.version), licence, None));
    }
    for package in debian {
        let id = id(&["debian", &package.name, &package.version]);
        arrows.push(arrow(whole, "CONTAINS", &id));
        let purl = format!(
            "pkg:deb/debian/{}@{}?arch={}",
            package.name,
            package.version.replace('+', "%2B").replace(':', "%3A"),
            package.architecture
        );
        let mut part = part(&id, &package.name, Some(&package.version), None, Some(&purl));
        part["sourceInfo"] = json!(format!("built from Debian's source package {}", package.source));
        parts.insert(id, part);
    }
    let (parts, arrows) = (json!(parts.into_values().collect::<Vec<_>>()), json!(arrows));
    let mut sum = Sha256::new();
    sum.update(parts.to_string());
    sum.update(arrows.to_string());
    let name = format!("{}-{}-{}", subject.name, subject.version, subject.architecture.name());
    let bill = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace":
            format!("{}/sbom/{name}-{}", env!("CARGO_PKG_REPOSITORY"), &hex(&sum.finalize())[..32]),
        "creationInfo": {
            "created": date(subject.time)?,
            "creators": [format!("Tool: rackpool-xtask-{}", env!("CARGO_PKG_VERSION"))],
        },
        "packages": parts,
        "relationships": arrows,
    });
    Ok(format!("{bill:#}\n"))
}

fn part(id: &str, name: &str, version: Option<&str>, licence: Option<&str>, purl: Option<&str>) -> Json {
    let licence = licence.and_then(expression).unwrap_or_else(|| "NOASSERTION".to_string());
    let mut part = json!({
        "SPDXID": id,
        "name": name,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": licence,
        "copyrightText": "NOASSERTION",
    });
    if let Some(version) = version {
        part["versionInfo"] = json!(version);
    }
    if let Some(purl) = purl {
        part["externalRefs"] = json!([{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": purl,
        }]);
    }
    part
}

/// A licence in SPDX's own words, where packages use older ones such as `MIT/Apache-2.0`.
fn expression(licence: &str) -> Option<String> {
    let licence = spdx::Expression::canonicalize(licence).ok()?.unwrap_or_else(|| licence.to_string());
    spdx::Expression::parse(&licence).ok()?;
    Some(licence)
}

fn arrow(from: &str, relationship: &str, to: &str) -> Json {
    json!({"spdxElementId": from, "relationshipType": relationship, "relatedSpdxElement": to})
}

/// An identity may have letters, digits, dots and hyphens.
fn id(words: &[&str]) -> String {
    let text = words.join("-");
    let text: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    format!("SPDXRef-{text}")
}
