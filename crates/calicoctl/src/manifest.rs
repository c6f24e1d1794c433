//! The resources that a command is about: those in files, or those named on the command line.

use std::io::Read;
use std::path::PathBuf;

use api::{InputError, Kind, KindScope, Metadata, Resource, decode_document};

use crate::failure::Failure;
use crate::input::documents::{self, InputKind, ReadError};
use golang::yaml::{self, YamlError};

/// Why input gives no resources.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The input cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A document is no YAML.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// A document is no resource.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A file or a directory holds no resource.
    #[error("no resources specified in {what} {path}")]
    Empty {
        /// `file` or `directory`.
        what: &'static str,
        /// Its path.
        path: String,
    },
}

impl From<ManifestError> for Failure {
    fn from(error: ManifestError) -> Self {
        match error {
            ManifestError::Input(unknown @ InputError::UnknownField(_)) => {
                Failure::Message(unknown.to_string())
            }
            empty @ ManifestError::Empty { .. } => Failure::Message(empty.to_string()),
            other => Failure::in_calico_words(format!("failed to execute command: {other}")),
        }
    }
}

/// Reads all documents of a path before any of them is used. Every file must hold a resource, unless
/// `skip_empty` is set.
///
/// # Errors
/// The first error.
pub fn read(
    path: &str,
    recursive: bool,
    skip_empty: bool,
    stdin: &mut dyn Read,
) -> Result<Vec<Resource>, ManifestError> {
    let (kind, files) = match path {
        "-" => (InputKind::File, vec![PathBuf::from(path)]),
        _ => documents::files(path, recursive)?,
    };
    let mut resources = Vec::new();
    let mut size = 0;
    for file in files {
        let file = file.display().to_string();
        let before = resources.len();
        documents::visit(&file, false, stdin, &mut |document| {
            size += document.text.len();
            if size > documents::MAX_INPUT {
                return Err(ReadError::TooMuch.into());
            }
            resources.extend(decode_document(yaml::read_strict(&document.text)?)?);
            Ok::<(), ManifestError>(())
        })?;
        if resources.len() == before && !skip_empty {
            return Err(ManifestError::Empty { what: InputKind::File.word(), path: file });
        }
    }
    match resources.is_empty() && !skip_empty {
        true => Err(ManifestError::Empty { what: kind.word(), path: path.to_string() }),
        false => Ok(resources),
    }
}

/// The kind that the user typed.
///
/// # Errors
/// When no kind has that name.
pub fn kind(typed: &str) -> Result<Kind, String> {
    Kind::from_alias(typed).ok_or_else(|| format!("resource type '{typed}' is not supported"))
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
