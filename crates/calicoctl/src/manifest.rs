//! The resources that a command is about: those in files, or those named on the command line.

use std::collections::HashMap;
use std::fmt;
use std::io::Read;
use std::path::PathBuf;

use api::{InputError, Kind, KindScope, Metadata, Resource, decode_document};
use resources::Identifier;
use serde_json::Value as Json;

use crate::failure::Failure;
use crate::input::documents::{self, Document, InputKind, ReadError};
use golang::yaml::{self, Plain, YamlError};

/// A resource of the input.
pub struct Written {
    /// The resource.
    pub resource: Resource,
    /// Where it stands; `None` for one that the command line names.
    pub place: Option<Place>,
}

/// A document of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file's path; `-` for standard input.
    file: String,
    /// The number of the document in the file, counted from 1.
    document: usize,
    /// The line of the file at which the document begins, counted from 1.
    line: usize,
}

impl Place {
    fn of(document: &Document) -> Place {
        Place { file: document.source.clone(), document: document.index + 1, line: document.line }
    }

    /// The place of a line of the document, counted from 1.
    fn at_line(&self, line: usize) -> String {
        format!("{self}, line {}", self.line + line - 1)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = if self.file == "-" { "standard input" } else { &self.file };
        write!(f, "{file}, document {}", self.document)
    }
}

/// What the input holds.
#[derive(Default)]
pub struct Manifest {
    /// The resources, in the order in which they were written.
    pub resources: Vec<Written>,
    /// What may not have been meant as it was understood, a line each.
    pub warnings: Vec<String>,
}

/// Why input gives no resources.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The input cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A document is not understood.
    #[error("{fault}")]
    Document {
        /// The document.
        place: Place,
        /// What is wrong with it.
        fault: DocumentFault,
        /// The line of the file on which the fault was noticed, where that is known.
        picture: Option<String>,
    },
    /// A file or a directory holds no resource.
    #[error("no resources specified in {what} {path}")]
    Empty {
        /// `file` or `directory`.
        what: &'static str,
        /// Its path.
        path: String,
    },
    /// A file holds nothing but comments. Calico's words are those for a document without a kind.
    #[error("unknown resource type () and/or version ()")]
    Comments(String),
}

/// What is wrong with a document.
#[derive(Debug, thiserror::Error)]
pub enum DocumentFault {
    /// It is no YAML.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// It is no resource.
    #[error(transparent)]
    Input(#[from] InputError),
}

impl From<ManifestError> for Failure {
    fn from(error: ManifestError) -> Self {
        let text = error.to_string();
        let in_calico_words = || Failure::in_calico_words(format!("failed to execute command: {text}"));
        match error {
            ManifestError::Document { place, fault, picture } => {
                let ours = format!("{}; nothing was done", where_and_how(&place, &fault, picture.as_deref()));
                match fault {
                    DocumentFault::Input(InputError::UnknownField { .. }) => Failure::Message(text.clone()),
                    _ => in_calico_words(),
                }
                .and(&ours)
            }
            ManifestError::Comments(path) => in_calico_words()
                .and(&format!("{path} holds nothing but comments: --skip-empty leaves such a file out")),
            ManifestError::Empty { .. } => Failure::Message(text),
            ManifestError::Read(_) => in_calico_words(),
        }
    }
}

/// Where a fault of a document stands, and what helps.
fn where_and_how(place: &Place, fault: &DocumentFault, picture: Option<&str>) -> String {
    match fault {
        DocumentFault::Yaml(YamlError::Malformed { line, .. }) => {
            let at = place.at_line(*line);
            match picture {
                Some(text)
                    if text.starts_with([' ', '\t']) && text.trim_start_matches(' ').starts_with('\t') =>
                {
                    format!("{at}: a tab cannot indent: write blanks in its place")
                }
                Some(text) => format!("{at}: {}", api::fault::short(text.trim_end(), LONGEST_PICTURE)),
                None => at,
            }
        }
        DocumentFault::Input(error) => match error.help() {
            Some(help) => format!("{place}: {help}"),
            None => place.to_string(),
        },
        DocumentFault::Yaml(_) => place.to_string(),
    }
}

/// The most bytes of a line that a message shows.
const LONGEST_PICTURE: usize = 120;

/// Reads all documents of a path before any of them is used. Every file must hold a resource, unless
/// `skip_empty` is set. Documents without content are left out.
///
/// # Errors
/// The first error.
pub fn read(
    path: &str,
    recursive: bool,
    skip_empty: bool,
    stdin: &mut dyn Read,
) -> Result<Manifest, ManifestError> {
    let (kind, files) = match path {
        "-" => (InputKind::File, vec![PathBuf::from(path)]),
        _ => documents::files(path, recursive)?,
    };
    let mut manifest = Manifest::default();
    let mut size = 0;
    for file in files {
        let file = file.display().to_string();
        let before = manifest.resources.len();
        let mut has_blank = false;
        documents::visit(&file, false, stdin, &mut |document| {
            size += document.text.len();
            if size > documents::MAX_INPUT {
                return Err(ReadError::TooMuch.into());
            }
            manifest.warn_of_lost(&document);
            match document.is_blank() {
                true => has_blank = true,
                false => manifest.take(&document)?,
            }
            Ok::<(), ManifestError>(())
        })?;
        if manifest.resources.len() == before && !skip_empty {
            return Err(match has_blank {
                true => ManifestError::Comments(file),
                false => ManifestError::Empty { what: InputKind::File.word(), path: file },
            });
        }
    }
    manifest.warn_of_twins();
    match manifest.resources.is_empty() && !skip_empty {
        true => Err(ManifestError::Empty { what: kind.word(), path: path.to_string() }),
        false => Ok(manifest),
    }
}

impl Manifest {
    /// Adds the resources of a document.
    fn take(&mut self, document: &Document) -> Result<(), ManifestError> {
        let place = Place::of(document);
        let understood = || -> Result<_, DocumentFault> {
            let (json, plain) = yaml::read_strict_noting(&document.text)?;
            Ok((decode_document(json)?, plain))
        };
        let (resources, plain) = understood().map_err(|fault| {
            let line = match &fault {
                DocumentFault::Yaml(YamlError::Malformed { line, .. }) => line.checked_sub(1),
                _ => None,
            };
            let text = String::from_utf8_lossy(&document.text);
            let picture = line.and_then(|line| text.lines().nth(line)).map(str::to_string);
            ManifestError::Document { place: place.clone(), fault, picture }
        })?;
        let stored = match plain.is_empty() {
            true => Vec::new(),
            false => resources.iter().map(Resource::to_json).collect(),
        };
        for scalar in plain {
            self.warnings.extend(retyped(&place, &stored, &scalar));
        }
        for resource in &resources {
            let odd = api::validate::oddities(resource).into_iter();
            let id = Identifier::of(resource);
            self.warnings.extend(odd.map(|odd| format!("{place}: {id}: {odd}")));
        }
        let written = |resource| Written { resource, place: Some(place.clone()) };
        self.resources.extend(resources.into_iter().map(written));
        Ok(())
    }

    /// Warns of text that Calico's reader drops: what stands behind the dashes of a separator, and what
    /// follows the end of a document that no separator ends.
    fn warn_of_lost(&mut self, document: &Document) {
        let place = Place::of(document);
        let behind = document.behind_dashes.as_str();
        if !behind.is_empty() && !behind.starts_with('#') {
            let shown = api::fault::short(behind, LONGEST_PICTURE);
            self.warnings
                .push(format!("{place}: what stands behind the dashes before it is not read: {shown}"));
        }
        if yaml::has_more(&document.text) {
            self.warnings.push(format!(
                "{place}: only the first of several documents in it is read; put a line --- between them"
            ));
        }
    }

    fn warn_of_twins(&mut self) {
        let mut seen = HashMap::new();
        for Written { resource, place } in &self.resources {
            let Some(place) = place else { continue };
            let id = Identifier::of(resource);
            if let Some(earlier) = seen.insert(id.to_string(), place) {
                self.warnings.push(format!(
                    "{id} is written twice, in {earlier} and in {place}: both are tried, in this order"
                ));
            }
        }
    }
}

/// The warning that YAML takes a scalar without quotes for something else, and the resource holds another
/// text than was written.
fn retyped(place: &Place, resources: &[Json], scalar: &Plain) -> Option<String> {
    if scalar.is_tagged {
        let (at, field, text) = (place.at_line(scalar.line), scalar.path.join("."), &scalar.text);
        let tag = text.split(' ').next().unwrap_or_default();
        return Some(format!(
            "{at}: {field}: {text} without quotes has a tag in YAML, {tag}, which is no part of the value; write {text:?} in quotes"
        ));
    }
    let mut path = scalar.path.as_slice();
    let mut resource = resources.first()?;
    if let Some((list, rest)) = path.split_first().filter(|(first, _)| &***first == "items") {
        let (at, rest) = rest.split_first()?;
        debug_assert_eq!(&**list, "items");
        (resource, path) = (resources.get(at.parse::<usize>().ok()?)?, rest);
    }
    let found = path.iter().try_fold(resource, |json, step| match json {
        Json::Array(items) => items.get(step.parse::<usize>().ok()?),
        Json::Object(map) => map.get(&**step),
        _ => None,
    })?;
    let stored = found.as_str().filter(|stored| *stored != scalar.text)?;
    let (at, field, text) = (place.at_line(scalar.line), path.join("."), &scalar.text);
    Some(format!(
        "{at}: {field}: {text} without quotes is not this text in YAML, but a number or a boolean, and is taken for {stored:?}; write {text:?} in quotes"
    ))
}

/// The kind that the user typed.
///
/// # Errors
/// When no kind has that name.
pub fn kind(typed: &str) -> Result<Kind, String> {
    Kind::from_alias(typed).ok_or_else(|| {
        let aliases = Kind::ALL.iter().flat_map(|kind| kind.aliases().iter().copied());
        let (front, back) = typed.split_once('/').map_or((typed, None), |(front, back)| (front, Some(back)));
        let help = match (api::near::nearest(front, aliases), back) {
            _ if [".yaml", ".yml", ".json"].iter().any(|end| typed.ends_with(end)) => {
                format!("did you mean -f {typed}?")
            }
            (Some(near), Some(name)) => format!("did you mean {near} {name}?"),
            (Some(near), None) => format!("did you mean {near}?"),
            (None, _) => {
                let kinds = Kind::ALL.iter().filter(|kind| kind.is_offered());
                let kinds: Vec<_> = kinds.map(|kind| kind.name()).collect();
                format!("the kinds are {}", kinds.join(", "))
            }
        };
        format!("resource type '{typed}' is not supported\n{help}")
    })
}

/// Resources of which only kind and name are known. Without names this is one resource without a name.
///
/// # Errors
/// When the kind is unknown, or a name is empty.
pub fn resources_named(typed: &str, names: &[String]) -> Result<Vec<Resource>, String> {
    let kind = kind(typed)?;
    if names.iter().any(String::is_empty) {
        return Err("resource name may not be empty".to_string());
    }
    let of = |name: &str| {
        let metadata = Metadata { name: name.to_string(), ..Metadata::default() };
        Resource::new(kind, metadata, serde_json::Map::new()).canonical()
    };
    Ok(if names.is_empty() { vec![of("")] } else { names.iter().map(|name| of(name)).collect() })
}

/// What the command line says about namespaces.
#[derive(Clone, Copy, Debug, Default)]
pub struct Namespaces<'a> {
    /// The value of `-n`. An empty one counts as not given.
    pub namespace: Option<&'a str>,
    /// Whether `-A` was given.
    pub all: bool,
}

impl Namespaces<'_> {
    /// Puts the resource into its namespace: its own, the one of `-n`, or `default`; with `-A` into none
    /// (`calicoctl/commands/common`, `handleNamespace`).
    ///
    /// # Errors
    /// When the kind has no namespaces and one is given, or when the resource and `-n` name different ones.
    pub fn place(&self, resource: &Resource) -> Result<Resource, String> {
        let kind = resource.kind();
        let wanted = self.namespace.filter(|n| !n.is_empty());
        let own = resource.metadata().namespace.as_deref();
        if kind.scope() == KindScope::Cluster {
            if own.is_some() {
                return Err(format!(
                    "namespace should not be specified for a non-namespaced resource. {kind} is not a namespaced resource"
                ));
            }
            if self.all || wanted.is_some() {
                return Err(format!("{kind} is not namespaced"));
            }
            return Ok(resource.clone());
        }
        let namespace = match (own, wanted) {
            _ if self.all && wanted.is_some() => {
                return Err(
                    "cannot use both --namespace and --all-namespaces flags at the same time".to_string()
                );
            }
            _ if self.all => None,
            (Some(own), Some(wanted)) if own != wanted => {
                return Err(format!("resource namespace does not match client namespace. {own} != {wanted}"));
            }
            (own, wanted) => Some(own.or(wanted).unwrap_or("default").to_string()),
        };
        Ok(resource.with(|metadata, _| metadata.namespace = namespace))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_settled() {
        let resource = |kind, namespace: Option<&str>| {
            let metadata = Metadata {
                name: "x".into(),
                namespace: namespace.map(str::to_string),
                ..Metadata::default()
            };
            Resource::new(kind, metadata, serde_json::Map::new())
        };
        let (pool, wep) = (Kind::IPPool, Kind::WorkloadEndpoint);
        for (kind, own, namespace, all, wanted) in [
            (pool, None, None, false, Ok(None)),
            (pool, None, Some("x"), false, Err("IPPool is not namespaced")),
            (pool, None, None, true, Err("IPPool is not namespaced")),
            (
                pool,
                Some("x"),
                None,
                false,
                Err(
                    "namespace should not be specified for a non-namespaced resource. IPPool is not a namespaced resource",
                ),
            ),
            (wep, None, None, false, Ok(Some("default"))),
            (wep, None, Some("a"), false, Ok(Some("a"))),
            (wep, Some("a"), Some("a"), false, Ok(Some("a"))),
            (
                wep,
                Some("a"),
                Some("b"),
                false,
                Err("resource namespace does not match client namespace. a != b"),
            ),
            (wep, Some("a"), None, true, Ok(None)),
            (
                wep,
                None,
                Some("a"),
                true,
                Err("cannot use both --namespace and --all-namespaces flags at the same time"),
            ),
        ] {
            let placed = Namespaces { namespace, all }.place(&resource(kind, own));
            let placed = placed.map(|resource| resource.metadata().namespace.clone());
            let wanted = wanted.map(|n: Option<&str>| n.map(str::to_string)).map_err(str::to_string);
            assert_eq!(placed, wanted, "{kind} {own:?} {namespace:?} {all}");
        }
    }
}
