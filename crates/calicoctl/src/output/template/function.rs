//! The functions that templates may call: Go's own, and `join`, `joinAndTruncate` and `config`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use gotmpl::{Template, Value};

use super::data::Data;

/// The names of all functions. Their order does not matter.
pub(super) const NAMES: &[&str] = &[
    "and",
    "call",
    "config",
    "eq",
    "ge",
    "gt",
    "html",
    "index",
    "join",
    "joinAndTruncate",
    "js",
    "le",
    "len",
    "lt",
    "ne",
    "not",
    "or",
    "print",
    "printf",
    "println",
    "slice",
    "StructuralData",
    "urlquery",
];

/// The least and the largest number of arguments of a function.
pub(super) fn arity(name: &str) -> (usize, usize) {
    match name {
        "config" | "len" | "not" | "StructuralData" => (1, 1),
        "join" => (2, 2),
        "joinAndTruncate" => (3, 3),
        "ne" | "lt" | "le" | "gt" | "ge" => (2, 2),
        "print" | "println" | "html" | "js" | "urlquery" => (0, usize::MAX),
        _ => (1, usize::MAX),
    }
}

/// The largest width of a verb of `printf`. A verb can make so many bytes of an empty value.
const WIDEST: usize = 1 << 16;

/// An upper estimate of how many bytes a function would make of these arguments.
pub(super) fn weight(name: &str, args: &[Data]) -> usize {
    let all: usize = args.iter().map(Data::weight).sum();
    match (name, args) {
        ("join" | "joinAndTruncate", [items, separator, ..]) => {
            let count = match items.target() {
                Some(Data::List { items, .. }) => items.len(),
                Some(Data::Map { entries, .. }) => entries.len(),
                _ => 1,
            };
            all.saturating_add(count.saturating_mul(separator.weight()))
        }
        ("printf", [format, ..]) => {
            let verbs = format.print().matches('%').count();
            all.saturating_add(verbs.saturating_mul(WIDEST))
        }
        // Escaping makes characters longer.
        ("html" | "js" | "urlquery", _) => all.saturating_mul(6),
        ("print" | "println" | "call" | "slice", _) => all,
        // The other functions make no texts.
        _ => 0,
    }
}

/// Calls a function. The error is Go's text, without the words that Go puts in front of it.
pub(super) fn call(
    name: &str,
    args: &[Data],
    config: &dyn Fn(&str) -> Result<String, String>,
) -> Result<Data, String> {
    match name {
        "join" => Ok(Data::text(join(&args[0], &args[1].print(), None))),
        "joinAndTruncate" => {
            let Some(Data::Int { value, .. }) = args[2].target() else {
                return Err(format!("wrong type for value; expected int; got {}", args[2].go_type()));
            };
            // With a limit below 3 Go would slice out of bounds.
            match usize::try_from(*value) {
                Ok(0) | Err(_) => Ok(Data::text(join(&args[0], &args[1].print(), None))),
                Ok(limit) => Ok(Data::text(join(&args[0], &args[1].print(), Some(limit.max(3))))),
            }
        }
        "config" => config(&args[0].print()).map(Data::text),
        "StructuralData" => Ok(args[0].clone()),
        "not" => Ok(Data::Bool(!args[0].is_true())),
        "len" => len(&args[0]),
        "index" => args[1..].iter().try_fold(args[0].clone(), |item, key| index(&item, key)),
        _ => call_gotmpl(name, args),
    }
}

/// Calico's `join`: joins the items of a list, or the `key=value` pairs of a map in order. Anything else is
/// printed alone.
fn join(items: &Data, separator: &str, limit: Option<usize>) -> String {
    let items: Vec<String> = match items.target() {
        None | Some(Data::Nothing) => Vec::new(),
        Some(Data::List { items, .. }) => items.iter().map(Data::print).collect(),
        Some(Data::Map { entries, .. }) => {
            let mut pairs: Vec<_> =
                entries.iter().map(|(key, value)| format!("{key}={}", value.print())).collect();
            pairs.sort();
            pairs
        }
        Some(single) => vec![single.print()],
    };
    crate::output::join_and_truncate(&items, separator, limit)
}

fn len(data: &Data) -> Result<Data, String> {
    let length = match data.target() {
        Some(Data::Text { text, .. }) => text.len(),
        Some(Data::List { items, .. }) => items.len(),
        Some(Data::Map { entries, .. }) => entries.len(),
        Some(Data::Nothing) | None => return Err("len of nil pointer".to_owned()),
        Some(other) => return Err(format!("len of type {}", other.go_type())),
    };
    Ok(Data::int(length as i64))
}

fn index(data: &Data, key: &Data) -> Result<Data, String> {
    match (data.target(), key.target()) {
        (Some(Data::List { items, .. }), Some(Data::Int { value, .. })) => usize::try_from(*value)
            .ok()
            .and_then(|at| items.get(at).cloned())
            .ok_or_else(|| format!("index out of range: {value}")),
        (Some(Data::Map { entries, .. }), Some(Data::Text { text, .. })) => {
            Ok(entries.get(text).cloned().unwrap_or(Data::text("")))
        }
        (Some(Data::List { .. }), _) => Err(format!("cannot index slice/array with type {}", key.go_type())),
        (Some(Data::Map { .. }), _) => Err(format!("value has type {}; should be string", key.go_type())),
        (None | Some(Data::Nothing), _) => Err("index of nil pointer".to_owned()),
        (Some(other), _) => Err(format!("can't index item of type {}", other.go_type())),
    }
}

/// Calls one of gotmpl's functions: runs a template that consists of that call.
fn call_gotmpl(name: &str, args: &[Data]) -> Result<Data, String> {
    let result = Arc::new(Mutex::new(Value::Nil));
    let slot = Arc::clone(&result);
    let operands: String = (0..args.len()).map(|at| format!(" (index . {at})")).collect();
    let template = Template::new("call")
        .func("keep", move |args| {
            *slot.lock().unwrap_or_else(PoisonError::into_inner) =
                args.first().cloned().unwrap_or(Value::Nil);
            Ok(Value::Nil)
        })
        .parse(&format!("{{{{keep ({name}{operands})}}}}"))
        .map_err(|error| error.to_string())?;
    let args: Vec<Value> = args.iter().map(to_gotmpl).collect();
    template.execute_to_string(&Value::List(args.into())).map_err(|error| {
        let text = error.to_string();
        text.strip_prefix("execution error: ").map(str::to_owned).unwrap_or(text)
    })?;
    let value = result.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(from_gotmpl(&value))
}

fn to_gotmpl(data: &Data) -> Value {
    match data {
        Data::Nothing => Value::Nil,
        Data::Bool(value) => Value::Bool(*value),
        Data::Int { value, .. } => Value::Int(*value),
        Data::Float(value) => Value::Float(*value),
        Data::Text { text, .. } | Data::Time(text) => Value::String(text.as_str().into()),
        Data::List { items, .. } => Value::List(items.iter().map(to_gotmpl).collect::<Vec<_>>().into()),
        Data::Map { entries, .. } => {
            let entries: BTreeMap<_, _> =
                entries.iter().map(|(key, value)| (key.as_str().into(), to_gotmpl(value))).collect();
            Value::Map(Arc::new(entries))
        }
        Data::Struct { .. } => Value::String(data.print().into()),
        Data::Reference { target, .. } => target.as_ref().map_or(Value::Nil, |target| to_gotmpl(target)),
    }
}

fn from_gotmpl(value: &Value) -> Data {
    match value {
        Value::Bool(value) => Data::Bool(*value),
        Value::Int(value) => Data::int(*value),
        Value::Uint(value) => {
            Data::Int { go_type: "uint64".to_owned(), value: i64::try_from(*value).unwrap_or(i64::MAX) }
        }
        Value::Float(value) => Data::Float(*value),
        Value::String(text) => Data::text(text.to_string()),
        Value::List(items) => Data::List {
            element_type: "interface {}".to_owned(),
            items: items.iter().map(from_gotmpl).collect(),
        },
        Value::Map(entries) => Data::Map {
            value_type: "interface {}".to_owned(),
            entries: entries.iter().map(|(key, value)| (key.to_string(), from_gotmpl(value))).collect(),
        },
        _ => Data::Nothing,
    }
}
