//! The values that a template works on: those that Go would pass to the template, with the names of Go's
//! types. The texts of errors and the guard against injection use these names.

use std::collections::BTreeMap;

use golang::duration;

use golang::number;

/// A Go value.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// No value at all: an absent map entry, `nil`.
    Nothing,
    /// A `bool`.
    Bool(bool),
    /// An integer of whatever size.
    Int {
        /// `int` or a named one.
        go_type: String,
        /// The number.
        value: i64,
    },
    /// A `float64`.
    Float(f64),
    /// A string.
    Text {
        /// `string` or a named one.
        go_type: String,
        /// The string itself.
        text: String,
    },
    /// A `time.Time`, as Go prints it.
    Time(String),
    /// A slice.
    List {
        /// The type of each item.
        element_type: String,
        /// The items.
        items: Vec<Data>,
    },
    /// A map with strings for keys.
    Map {
        /// The type of each value.
        value_type: String,
        /// The entries, in the order in which Go's templates visit them.
        entries: BTreeMap<String, Data>,
    },
    /// A struct.
    Struct {
        /// The type's name, such as `v3.IPPoolSpec`.
        go_type: String,
        /// All fields of the struct, set or not. A template that names a field which is missing here gets an
        /// error.
        fields: Vec<Field>,
    },
    /// A pointer or an interface.
    Reference {
        /// The type's name, such as `*v3.IPPoolStatus` or `runtime.Object`.
        go_type: String,
        /// The value that it points to.
        target: Option<Box<Data>>,
    },
}

/// A field of a struct.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its name in Go.
    pub name: String,
    /// Whether the fields of this field's struct count as fields of the outer one.
    pub embedded: bool,
    /// What it holds.
    pub value: Data,
}

impl Data {
    /// A plain `string`.
    pub fn text(text: impl Into<String>) -> Data {
        Data::Text { go_type: "string".to_owned(), text: text.into() }
    }

    /// A plain `int`.
    pub fn int(value: i64) -> Data {
        Data::Int { go_type: "int".to_owned(), value }
    }

    /// The name of its type in Go.
    pub fn go_type(&self) -> String {
        match self {
            Data::Nothing => "<nil>".to_owned(),
            Data::Bool(_) => "bool".to_owned(),
            Data::Float(_) => "float64".to_owned(),
            Data::Time(_) => "time.Time".to_owned(),
            Data::List { element_type, .. } => format!("[]{element_type}"),
            Data::Map { value_type, .. } => format!("map[string]{value_type}"),
            Data::Int { go_type, .. }
            | Data::Text { go_type, .. }
            | Data::Struct { go_type, .. }
            | Data::Reference { go_type, .. } => go_type.clone(),
        }
    }

    /// Follows pointers and interfaces to the value; `None` if one of them holds nothing.
    pub(super) fn target(&self) -> Option<&Data> {
        match self {
            Data::Reference { target, .. } => target.as_ref()?.target(),
            data => Some(data),
        }
    }

    /// The field of that name, embedded structs' fields included.
    pub(super) fn field(&self, name: &str) -> Option<&Data> {
        let Data::Struct { fields, .. } = self else { return None };
        fields.iter().find(|field| field.name == name).map(|field| &field.value).or_else(|| {
            fields.iter().filter(|field| field.embedded).find_map(|field| field.value.target()?.field(name))
        })
    }

    /// About how many bytes the printed value takes.
    pub(super) fn weight(&self) -> usize {
        match self {
            Data::Nothing | Data::Bool(_) | Data::Int { .. } | Data::Float(_) => 20,
            Data::Text { text, .. } | Data::Time(text) => text.len(),
            Data::List { items, .. } => items.iter().map(|item| item.weight() + 1).sum(),
            Data::Map { entries, .. } => {
                entries.iter().map(|(key, value)| key.len() + value.weight() + 2).sum()
            }
            Data::Struct { fields, .. } => fields.iter().map(|field| field.value.weight() + 1).sum(),
            Data::Reference { target, .. } => target.as_ref().map_or(5, |target| target.weight()),
        }
    }

    /// Go's idea of truth: not zero, not empty. A struct is always true.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Data::Nothing => false,
            Data::Bool(value) => *value,
            Data::Int { value, .. } => *value != 0,
            Data::Float(value) => *value != 0.0,
            Data::Text { text, .. } => !text.is_empty(),
            Data::List { items, .. } => !items.is_empty(),
            Data::Map { entries, .. } => !entries.is_empty(),
            Data::Time(_) | Data::Struct { .. } => true,
            Data::Reference { target, .. } => target.is_some(),
        }
    }

    /// Go's `%v`. For an inner pointer Go prints an address; this prints the value there.
    pub(super) fn print(&self) -> String {
        let list = |items: Vec<String>| items.join(" ");
        match self {
            Data::Nothing => "<no value>".to_owned(),
            Data::Bool(value) => value.to_string(),
            Data::Int { go_type, value } if go_type == "time.Duration" => duration::text(*value),
            Data::Int { value, .. } => value.to_string(),
            Data::Float(value) => number::general(*value),
            Data::Text { text, .. } | Data::Time(text) => text.clone(),
            Data::List { items, .. } => format!("[{}]", list(items.iter().map(Data::print).collect())),
            Data::Map { entries, .. } => {
                let entries = entries.iter().map(|(key, value)| format!("{key}:{}", value.print()));
                format!("map[{}]", list(entries.collect()))
            }
            Data::Struct { go_type, fields } => self.string_method(go_type).unwrap_or_else(|| {
                format!("{{{}}}", list(fields.iter().map(|field| field.value.print()).collect()))
            }),
            Data::Reference { target: None, .. } => "<nil>".to_owned(),
            Data::Reference { target: Some(target), .. } => target.print(),
        }
    }

    /// The result of the type's `String` method; `None` for a type without one.
    fn string_method(&self, go_type: &str) -> Option<String> {
        let field = |name: &str| self.field(name).map(Data::print);
        match go_type {
            "v1.Time" => field("Time"),
            "v1.Duration" => field("Duration"),
            "v1.FieldsV1" => match self.field("Raw")? {
                Data::List { items, .. } => {
                    let byte = |item: &Data| match item {
                        Data::Int { value, .. } => u8::try_from(*value).ok(),
                        _ => None,
                    };
                    let bytes: Vec<u8> = items.iter().filter_map(byte).collect();
                    Some(String::from_utf8_lossy(&bytes).into_owned())
                }
                _ => None,
            },
            "numorstring.Protocol" | "numorstring.DSCP" => {
                field(if self.field("Type")?.is_true() { "StrVal" } else { "NumVal" })
            }
            _ => None,
        }
    }

    /// Whether `matches` is true for any string in the value. Keys of maps do not count.
    pub(super) fn any_text(&self, matches: &dyn Fn(&str) -> bool) -> bool {
        match self {
            Data::Text { text, .. } => matches(text),
            Data::List { items, .. } => items.iter().any(|item| item.any_text(matches)),
            Data::Map { entries, .. } => entries.values().any(|value| value.any_text(matches)),
            Data::Struct { fields, .. } => fields.iter().any(|field| field.value.any_text(matches)),
            Data::Reference { target, .. } => target.as_ref().is_some_and(|target| target.any_text(matches)),
            Data::Nothing | Data::Bool(_) | Data::Int { .. } | Data::Float(_) | Data::Time(_) => false,
        }
    }
}
