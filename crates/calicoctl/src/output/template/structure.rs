//! The guard that every template's output passes (google/safetext's `yamltemplate`): data must not change the
//! structure of the YAML that the template makes.

use std::collections::BTreeMap;

use super::data::{Data, Field};
use golang::yaml::resolve::{Meaning, resolve};
use golang::yaml::tree::{Documents, NodeId, NodeKind, Tree};

/// Data without any of these characters needs no guard.
pub(super) const SPECIAL: &str = "{}[]&*#?|-.<>=!%@:\"'`,\r\n";

/// The text that replaces every string for the baseline.
pub(super) fn baseline(_: &str) -> String {
    "baseline".to_owned()
}

/// Changes a string so that it may change the structure: writes every character twice, except quotes and
/// backslashes.
pub(super) fn double_characters(text: &str) -> String {
    text.chars()
        .flat_map(|c| std::iter::repeat_n(c, if matches!(c, '\\' | '\'' | '"') { 1 } else { 2 }))
        .collect()
}

/// A copy of the data with all strings changed, as safetext makes it by reflection. It fails if a copied
/// value would not have the type that its place in Go needs: a struct inside of a struct, a list of structs
/// or of named strings.
pub(super) fn with_changed_strings(data: &Data, change: &dyn Fn(&str) -> String) -> Result<Data, String> {
    copy(data, change).map(|(data, _)| data)
}

/// The copy, and its type in Go. The copy of a struct is a pointer, and that of a named string is a plain
/// string.
fn copy(data: &Data, change: &dyn Fn(&str) -> String) -> Result<(Data, String), String> {
    let place = |value: &Data, wanted: &str| {
        let (copied, go_type) = copy(value, change)?;
        if go_type == wanted || wanted == "interface {}" {
            Ok(copied)
        } else {
            Err(format!("reflect.Set: value of type {go_type} is not assignable to type {wanted}"))
        }
    };
    let copied = match data {
        Data::Text { text, .. } => return Ok((Data::text(change(text)), "string".to_owned())),
        // In Go a time is a struct with private fields.
        Data::Time(_) => return Ok((data.clone(), "*time.Time".to_owned())),
        Data::List { element_type, items } => Data::List {
            element_type: element_type.clone(),
            items: items.iter().map(|item| place(item, element_type)).collect::<Result<_, _>>()?,
        },
        Data::Map { value_type, entries } => Data::Map {
            value_type: value_type.clone(),
            entries: entries
                .iter()
                .map(|(key, value)| Ok((key.clone(), place(value, value_type)?)))
                .collect::<Result<_, String>>()?,
        },
        Data::Struct { go_type, fields } => {
            let field = |field: &Field| -> Result<Field, String> {
                Ok(Field { value: place(&field.value, &field.value.go_type())?, ..field.clone() })
            };
            let fields = fields.iter().map(field).collect::<Result<_, _>>()?;
            return Ok((Data::Struct { go_type: go_type.clone(), fields }, format!("*{go_type}")));
        }
        Data::Reference { go_type, target: Some(target) } => {
            let (copied, target_type) = copy(target, change)?;
            return if format!("*{target_type}") == *go_type {
                Ok((
                    Data::Reference { go_type: go_type.clone(), target: Some(Box::new(copied)) },
                    go_type.clone(),
                ))
            } else {
                Ok((copied, target_type))
            };
        }
        Data::Nothing
        | Data::Bool(_)
        | Data::Int { .. }
        | Data::Float(_)
        | Data::Reference { target: None, .. } => data.clone(),
    };
    Ok((copied, data.go_type()))
}

/// The structure of a YAML text. Each scalar is reduced to its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    Null,
    Text,
    /// A number, boolean or time.
    Other(&'static str),
    List(Vec<Shape>),
    /// The values by the texts of their keys.
    Map(BTreeMap<String, Shape>),
}

/// The structures of all documents in `text`; `None` if it is not YAML, or has a key twice in a map.
pub(super) fn shapes(text: &str) -> Option<Vec<Shape>> {
    let mut documents = Documents::new(text.as_bytes());
    let mut shapes = Vec::new();
    while let Some(tree) = documents.next_document().ok()? {
        let mut work = MAX_NODES;
        shapes.push(shape(&tree, Tree::ROOT, 0, &mut work)?);
    }
    Some(shapes)
}

/// How deep a document may nest with its aliases expanded: a text may refer to itself.
const MAX_DEPTH: usize = 250;
/// The most nodes of a document with its aliases expanded. Each alias may double the number.
const MAX_NODES: usize = 5_000_000;

fn shape(tree: &Tree, id: NodeId, depth: usize, work: &mut usize) -> Option<Shape> {
    *work = work.checked_sub(1).filter(|_| depth <= MAX_DEPTH)?;
    let inner = depth + 1;
    Some(match &tree.node(id).kind {
        NodeKind::Scalar(scalar) if !scalar.implicit => Shape::Text,
        NodeKind::Scalar(scalar) => match resolve(&scalar.value, false) {
            Meaning::Null => Shape::Null,
            // The YAML reader of Go's guard knows only `true` and `false` as booleans.
            Meaning::Bool(_) if !matches!(scalar.value.to_lowercase().as_str(), "true" | "false") => {
                Shape::Text
            }
            Meaning::Text => Shape::Text,
            meaning => Shape::Other(meaning.tag()),
        },
        NodeKind::Sequence(items) => {
            Shape::List(items.iter().map(|&item| shape(tree, item, inner, work)).collect::<Option<_>>()?)
        }
        NodeKind::Mapping(children) => {
            let mut map = BTreeMap::new();
            for pair in children.chunks_exact(2) {
                let NodeKind::Scalar(key) = &tree.node(pair[0]).kind else { return None };
                if map.insert(key.value.clone(), shape(tree, pair[1], inner, work)?).is_some() {
                    return None;
                }
            }
            Shape::Map(map)
        }
        NodeKind::Alias { target, .. } => shape(tree, *target, inner, work)?,
    })
}

/// Whether `one` and `other` both have the structure of `base`. Where the baseline has text, any scalar fits.
pub(super) fn agree(base: &Shape, one: &Shape, other: &Shape) -> bool {
    match (base, one, other) {
        (Shape::List(base), Shape::List(one), Shape::List(other)) => agree_all(base, one, other),
        (Shape::Map(base), Shape::Map(one), Shape::Map(other)) => {
            base.len() == one.len()
                && base.len() == other.len()
                && base.iter().all(|(key, base)| match (one.get(key), other.get(key)) {
                    (Some(one), Some(other)) => agree(base, one, other),
                    _ => false,
                })
        }
        (Shape::Text, one, other) => {
            [one, other].iter().all(|shape| !matches!(shape, Shape::List(_) | Shape::Map(_)))
        }
        (base, one, other) => base == one && base == other,
    }
}

/// The same for sequences of structures, such as all documents of a text.
pub(super) fn agree_all(base: &[Shape], one: &[Shape], other: &[Shape]) -> bool {
    base.len() == one.len()
        && base.len() == other.len()
        && base.iter().zip(one).zip(other).all(|((base, one), other)| agree(base, one, other))
}
