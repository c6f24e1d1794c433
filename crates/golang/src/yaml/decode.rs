//! Turns nodes into values, as `goyaml.v2/decode.go` fills an empty interface, and these values into JSON, as
//! `sigs.k8s.io/yaml` does.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::sync::Arc;

use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet};
use serde_json::{Map, Number, Value};

use super::go_syntax::go_syntax;
use super::resolve::{Meaning, resolve};
use super::tree::{Documents, NodeId, NodeKind, Scalar, Tree};
use super::{MAX_DEPTH, MAX_REPEATED, MOST_PLAIN, MOST_STEPS, Plain, YamlError};
use crate::number;

/// What to do with a key that the map already has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Duplicates {
    LastWins,
    Refused,
}

/// A value that goyaml puts into an empty interface.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Decoded {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Text(String),
    List(Vec<Decoded>),
    Map(BTreeMap<Key, Decoded>),
}

use Decoded::{Bool, Float, Int, Uint};

type Entries = BTreeMap<Key, Decoded>;

/// A scalar as a map key. As in Go, `1`, `1.0` and `"1"` are three keys. In the order of keys, null comes
/// first, then text.
#[derive(Debug, Clone)]
pub(super) struct Key(pub(super) Decoded);

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        let rank = |value: &Decoded| match value {
            Decoded::Null => 0,
            Decoded::Text(_) => 1,
            Decoded::Bool(_) => 2,
            Decoded::Int(_) => 3,
            Decoded::Uint(_) => 4,
            Decoded::Float(_) => 5,
            // A list or a map as a key is refused before keys are compared.
            Decoded::List(_) | Decoded::Map(_) => 6,
        };
        match (&self.0, &other.0) {
            (Decoded::Bool(a), Decoded::Bool(b)) => a.cmp(b),
            (Decoded::Int(a), Decoded::Int(b)) => a.cmp(b),
            (Decoded::Uint(a), Decoded::Uint(b)) => a.cmp(b),
            (Decoded::Float(a), Decoded::Float(b)) => a.total_cmp(b),
            (Decoded::Text(a), Decoded::Text(b)) => a.cmp(b),
            (a, b) => rank(a).cmp(&rank(b)),
        }
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Key {}

/// Reads the first document. Later documents are not read.
pub(super) fn document(text: &[u8], duplicates: Duplicates) -> Result<(Value, Vec<Plain>), YamlError> {
    let Some(tree) = Documents::new(text).next_document()? else {
        return Ok((Value::Null, Vec::new()));
    };
    let mut decoder = Decoder {
        tree: &tree,
        duplicates,
        clashes: Vec::new(),
        expanding: HashSet::new(),
        work: Work::default(),
        line: 0,
        path: Vec::new(),
        plain: Vec::new(),
        plain_steps: 0,
    };
    let decoded = decoder.work.step(false).and_then(|()| decoder.node(Tree::ROOT, 0));
    let line = decoder.line + 1;
    let decoded = decoded.map_err(|text| YamlError::Malformed { text, line, is_quoting: true })?;
    if !decoder.clashes.is_empty() {
        return Err(YamlError::Duplicates(decoder.clashes));
    }
    let plain = decoder.plain;
    json(decoded).map(|value| (value, plain)).map_err(YamlError::NotJson)
}

struct Decoder<'a> {
    tree: &'a Tree,
    duplicates: Duplicates,
    clashes: Vec<String>,
    /// The alias nodes that are being expanded.
    expanding: HashSet<NodeId>,
    work: Work,
    /// The line of the current node.
    line: usize,
    /// The keys and indexes that lead to the current node.
    path: Vec<Arc<str>>,
    plain: Vec<Plain>,
    /// How long the paths in `plain` are together.
    plain_steps: usize,
}

/// goyaml's guard against small documents that expand to huge ones. It bounds the share of the work that
/// aliases cause.
#[derive(Default)]
struct Work {
    steps: u64,
    alias_steps: u64,
    /// How many bytes of text aliases repeat. goyaml does not count these.
    alias_bytes: usize,
}

impl Work {
    fn step(&mut self, in_alias: bool) -> Result<(), String> {
        const LOW: f64 = 400_000.0;
        const HIGH: f64 = 4_000_000.0;
        self.steps += 1;
        self.alias_steps += u64::from(in_alias);
        let steps = self.steps as f64;
        let allowed = 0.99 - 0.89 * ((steps.clamp(LOW, HIGH) - LOW) / (HIGH - LOW));
        if self.alias_steps > 100 && self.steps > 1000 && self.alias_steps as f64 / steps > allowed {
            return Err("document contains excessive aliasing".to_owned());
        }
        Ok(())
    }
}

impl Work {
    fn text(&mut self, length: usize, in_alias: bool) -> Result<(), String> {
        self.alias_bytes += if in_alias { length } else { 0 };
        match self.alias_bytes > MAX_REPEATED {
            true => Err("document contains excessive aliasing".to_owned()),
            false => Ok(()),
        }
    }
}

impl Decoder<'_> {
    /// `depth` is the number of collections around the node, with aliases expanded.
    fn node(&mut self, id: NodeId, depth: usize) -> Result<Decoded, String> {
        self.enter(depth)?;
        self.line = self.tree.node(id).line;
        match &self.tree.node(id).kind {
            NodeKind::Scalar(value) => {
                self.work.text(value.value.len(), !self.expanding.is_empty())?;
                let decoded = scalar(value)?;
                let is_plain = value.implicit && matches!(decoded, Bool(_) | Int(_) | Uint(_) | Float(_));
                let is_tagged = value.tag.starts_with('!');
                let has_room = self.plain.len() < MOST_PLAIN && self.plain_steps < MOST_STEPS;
                if (is_plain || is_tagged) && has_room {
                    self.plain_steps += self.path.len();
                    let text = match is_tagged {
                        true => format!("{} {}", value.tag, value.value).trim_end().to_string(),
                        false => value.value.clone(),
                    };
                    self.plain.push(Plain { path: self.path.clone(), text, line: self.line + 1, is_tagged });
                }
                Ok(decoded)
            }
            NodeKind::Sequence(items) => {
                let items = items.iter().enumerate();
                let list = items.map(|(at, &item)| self.within(at.to_string().into(), item, depth + 1));
                list.collect::<Result<_, _>>().map(Decoded::List)
            }
            NodeKind::Mapping(children) => self.entries(children, depth).map(Decoded::Map),
            NodeKind::Alias { name, target } => {
                self.expand(id, name)?;
                let value = self.node(*target, depth + 1)?;
                self.expanding.remove(&id);
                Ok(value)
            }
        }
    }

    /// The node at that step from the current one.
    fn within(&mut self, step: Arc<str>, id: NodeId, depth: usize) -> Result<Decoded, String> {
        self.path.push(step);
        let decoded = self.node(id, depth);
        self.path.pop();
        decoded
    }

    fn enter(&mut self, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("exceeded max depth of {MAX_DEPTH}"));
        }
        self.work.step(!self.expanding.is_empty())
    }

    fn expand(&mut self, alias: NodeId, name: &str) -> Result<(), String> {
        if self.expanding.insert(alias) {
            Ok(())
        } else {
            Err(format!("anchor '{name}' value contains itself"))
        }
    }

    /// The entries of a map. Its own keys win over those of a merge, wherever the merge stands.
    fn entries(&mut self, children: &[NodeId], depth: usize) -> Result<Entries, String> {
        let (mut own, mut merged) = (Entries::new(), Entries::new());
        for pair in children.chunks_exact(2) {
            let (key, value) = (pair[0], pair[1]);
            let line = self.tree.node(value).line + 1;
            if self.is_merge(key) {
                for (key, value) in self.merge(value, depth + 1)? {
                    self.enter_key(&mut merged, key, value, line);
                }
                continue;
            }
            let key = self.node(key, depth + 1)?;
            if matches!(key, Decoded::List(_) | Decoded::Map(_)) {
                return Err(format!("invalid map key: {}", go_syntax(&key)));
            }
            let step = key_text(&key, &Decoded::Null).unwrap_or_default().into();
            let value = self.within(step, value, depth + 1)?;
            self.enter_key(&mut own, Key(key), value, line);
        }
        merged.extend(own);
        Ok(merged)
    }

    /// Of two equal keys the later wins, or both are told.
    fn enter_key(&mut self, map: &mut Entries, key: Key, value: Decoded, line: usize) {
        match map.entry(key) {
            Entry::Occupied(entry) if self.duplicates == Duplicates::Refused => {
                let key = go_syntax(&entry.key().0);
                self.clashes.push(format!("line {line}: key {key} already set in map"));
            }
            Entry::Occupied(mut entry) => drop(entry.insert(value)),
            Entry::Vacant(entry) => drop(entry.insert(value)),
        }
    }

    fn is_merge(&self, key: NodeId) -> bool {
        matches!(&self.tree.node(key).kind, NodeKind::Scalar(scalar)
            if scalar.value == "<<" && (scalar.implicit || scalar.tag == "tag:yaml.org,2002:merge"))
    }

    /// The entries of a map, or of a list of maps, of which the earlier ones win.
    fn merge(&mut self, from: NodeId, depth: usize) -> Result<Entries, String> {
        match &self.tree.node(from).kind {
            NodeKind::Sequence(maps) => {
                let mut all = Entries::new();
                for &one in maps.iter().rev() {
                    all.extend(self.merge_one(one, depth)?);
                }
                Ok(all)
            }
            _ => self.merge_one(from, depth),
        }
    }

    fn merge_one(&mut self, from: NodeId, depth: usize) -> Result<Entries, String> {
        let wrong = "map merge requires map or sequence of maps as the value";
        match &self.tree.node(from).kind {
            NodeKind::Mapping(children) => {
                self.enter(depth)?;
                self.entries(children, depth)
            }
            NodeKind::Alias { name, target } => {
                let NodeKind::Mapping(children) = &self.tree.node(*target).kind else {
                    return Err(wrong.to_owned());
                };
                self.enter(depth)?;
                self.expand(from, name)?;
                self.enter(depth)?;
                let entries = self.entries(children, depth)?;
                self.expanding.remove(&from);
                Ok(entries)
            }
            NodeKind::Scalar(_) | NodeKind::Sequence(_) => Err(wrong.to_owned()),
        }
    }
}

/// Base64 as Go reads it: what the last letter says beyond the last byte does not matter.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

fn scalar(scalar: &Scalar) -> Result<Decoded, String> {
    let text = || Decoded::Text(scalar.value.clone());
    let short_tag = match scalar.tag.strip_prefix("tag:yaml.org,2002:") {
        Some(short) => short,
        None if scalar.tag.is_empty() && scalar.implicit => "",
        None => return Ok(text()),
    };
    let meaning = match short_tag {
        "" | "timestamp" => resolve(&scalar.value, false),
        "bool" | "int" | "float" | "null" => resolve(&scalar.value, true),
        "binary" => {
            let without_breaks: String = scalar.value.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
            return BASE64
                .decode(without_breaks)
                .map(|bytes| Decoded::Text(String::from_utf8_lossy(&bytes).into_owned()))
                .map_err(|_| "!!binary value contains invalid base64 data".to_owned());
        }
        _ => return Ok(text()),
    };
    let meaning = match (short_tag, meaning) {
        ("float", Meaning::Int(value)) => Meaning::Float(value as f64),
        (tag, meaning) if tag.is_empty() || meaning.tag()[2..] == *tag => meaning,
        (tag, meaning) => {
            return Err(format!("cannot decode {} `{}` as a !!{tag}", meaning.tag(), scalar.value));
        }
    };
    Ok(match meaning {
        Meaning::Null => Decoded::Null,
        Meaning::Bool(value) => Decoded::Bool(value),
        Meaning::Int(value) => Decoded::Int(value),
        Meaning::Uint(value) => Decoded::Uint(value),
        Meaning::Float(value) => Decoded::Float(value),
        Meaning::Timestamp | Meaning::Text => text(),
    })
}

/// Turns a value into JSON. Like Go, this converts all keys before it complains about numbers that JSON
/// lacks.
fn json(value: Decoded) -> Result<Value, String> {
    let mut infinite = None;
    let value = convert(value, &mut infinite)?;
    match infinite {
        None => Ok(value),
        Some(number) => Err(format!("json: unsupported value: {}", number::general(number))),
    }
}

fn convert(value: Decoded, infinite: &mut Option<f64>) -> Result<Value, String> {
    Ok(match value {
        Decoded::Null => Value::Null,
        Decoded::Bool(value) => Value::Bool(value),
        Decoded::Int(value) => Value::Number(value.into()),
        Decoded::Uint(value) => Value::Number(value.into()),
        Decoded::Float(value) => match Number::from_f64(value) {
            Some(number) => Value::Number(number),
            None => {
                infinite.get_or_insert(value);
                Value::Null
            }
        },
        Decoded::Text(value) => Value::String(value),
        Decoded::List(items) => {
            let items: Result<_, _> = items.into_iter().map(|item| convert(item, infinite)).collect();
            Value::Array(items?)
        }
        Decoded::Map(entries) => {
            let mut sorted = BTreeMap::new();
            for (key, value) in entries {
                sorted.insert(key_text(&key.0, &value)?, value);
            }
            let mut object = Map::new();
            for (key, value) in sorted {
                object.insert(key, convert(value, infinite)?);
            }
            Value::Object(object)
        }
    })
}

fn key_text(key: &Decoded, value: &Decoded) -> Result<String, String> {
    let go_type = match key {
        Decoded::Text(text) => return Ok(text.clone()),
        Decoded::Int(value) => return Ok(value.to_string()),
        Decoded::Bool(value) => return Ok(value.to_string()),
        Decoded::Float(value) => {
            return Ok(match number::general_32(*value) {
                text if text == "+Inf" => ".inf".to_owned(),
                text if text == "-Inf" => "-.inf".to_owned(),
                text if text == "NaN" => ".nan".to_owned(),
                text => text,
            });
        }
        Decoded::Uint(_) => "uint64",
        Decoded::Null | Decoded::List(_) | Decoded::Map(_) => "%!s(<nil>)",
    };
    let (key, value) = (go_syntax(key), go_syntax(value));
    Err(format!("unsupported map key of type: {go_type}, key: {key}, value: {value}"))
}
