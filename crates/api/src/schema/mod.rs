//! Go structs as tables: what decoding, canonical order, error texts and go-template names are made from.
//! What several kinds have is here; the rest stands with each kind.
//!
//! Sources: `api/pkg/apis/projectcalico/v3`, `libcalico-go/lib/apis/internalapi`,
//! `k8s.io/apimachinery/pkg/apis/meta/v1`.

mod meta;

pub use meta::{LIST_META, OBJECT_META};

/// A Go struct.
#[derive(Debug)]
pub struct Struct {
    /// Its Go name without the package: `IPPoolSpec`.
    pub go: &'static str,
    /// Its fields in Go's order, which is that of the JSON that Go writes.
    pub fields: &'static [Field],
}

impl Struct {
    /// The field of that JSON name: exactly, or else in any case, as Go's decoder finds it.
    pub fn field(&self, json: &str) -> Option<&'static Field> {
        let exact = self.fields.iter().find(|f| f.json == json);
        exact.or_else(|| self.fields.iter().find(|f| f.json.eq_ignore_ascii_case(json)))
    }

    /// The path of the field that somebody perhaps meant who wrote `wrong`: one of that very name further
    /// inside, or of a name like it.
    pub fn nearest(&'static self, wrong: &str) -> Option<String> {
        let mut paths = Vec::new();
        self.paths("", &mut paths);
        let name = crate::near::nearest(wrong, paths.iter().map(|(name, _)| *name))?;
        paths.into_iter().find(|(found, _)| *found == name).map(|(_, path)| path)
    }

    fn paths(&'static self, before: &str, out: &mut Vec<(&'static str, String)>) {
        for field in self.fields {
            let path = format!("{before}{}", field.json);
            let inside = match &field.ty.shape {
                Shape::Struct(of) => Some((*of, format!("{path}."))),
                Shape::List(Type { shape: Shape::Struct(of), .. }) => Some((*of, format!("{path}[]."))),
                _ => None,
            };
            out.push((field.json, path));
            if let Some((of, before)) = inside {
                of.paths(&before, out);
            }
        }
    }

    /// Whether a field has exactly that JSON name.
    pub fn knows(&self, json: &str) -> bool {
        self.fields.iter().any(|f| f.json == json)
    }
}

/// A field of a Go struct.
#[derive(Debug)]
pub struct Field {
    /// Its name in JSON.
    pub json: &'static str,
    /// Its name in Go, which is that in go-templates.
    pub go: &'static str,
    /// When it is left out of the JSON.
    pub omit: Omit,
    /// Its type, without the pointer if it is one; see [`Field::is_pointer`].
    pub ty: Type,
    /// Where the field is in the Go struct.
    pub place: Place,
}

impl Field {
    /// Whether it is a pointer in Go.
    pub fn is_pointer(&self) -> bool {
        self.omit == Omit::Absent
    }
}

/// Where a field is in the Go struct. JSON shows only some of Go's embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The field is in the struct itself.
    Own,
    /// The field is in the struct itself, and the field's own fields count as the struct's, too:
    /// `ObjectMeta`.
    Embedded,
    /// The field is in an embedded struct of that type, which JSON does not show: `v1.TypeMeta`.
    Within(&'static str),
}

/// When Go leaves a field out of the JSON that it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Omit {
    /// Never: a missing field is written with its zero value.
    Never,
    /// Never, and a missing field is written as true. Go writes false here; see `IPAMConfigurationSpec`.
    NeverTrue,
    /// The field is left out when it has its zero value (`omitempty` on a value).
    Zero,
    /// The field is left out when it is absent, but not when it is zero (`omitempty` on a pointer, and only
    /// there).
    Absent,
}

/// A Go type.
#[derive(Debug)]
pub struct Type {
    /// Its text in error messages, pointers left out, as Go leaves them out: `v3.IPPoolSpec`, `[]string`.
    pub go: &'static str,
    /// The JSON values that the type accepts.
    pub shape: Shape,
}

/// The JSON values that a Go type accepts.
#[derive(Debug)]
pub enum Shape {
    /// A string.
    Text,
    /// true or false.
    Bool,
    /// A whole number between two limits, both included.
    Int {
        /// The smallest.
        min: i64,
        /// The largest.
        max: i64,
    },
    /// A number.
    Float,
    /// A map from strings to strings.
    Map,
    /// A list.
    List(&'static Type),
    /// An object.
    Struct(&'static Struct),
    /// `numorstring.ASNumber`: a number, or a text in one of two notations; written as a number.
    AsNumber,
    /// `numorstring.Uint8OrString` (protocols, DSCP): a number of 8 bits or any text.
    Uint8OrText,
    /// `metav1.Time`: RFC 3339, kept to the second.
    Time,
    /// `metav1.Duration`: Go's notation for durations.
    Duration,
    /// Anything at all.
    Any,
}

pub(crate) const fn field(json: &'static str, go: &'static str, omit: Omit, ty: Type) -> Field {
    Field { json, go, omit, ty, place: Place::Own }
}

/// A text in an embedded struct of that type, which JSON does not show.
pub(crate) const fn text_within(embedded: &'static str, json: &'static str, go: &'static str) -> Field {
    Field { json, go, omit: Omit::Zero, ty: STRING, place: Place::Within(embedded) }
}

pub(crate) const fn ty(go: &'static str, shape: Shape) -> Type {
    Type { go, shape }
}

pub(crate) const fn text(go: &'static str) -> Type {
    ty(go, Shape::Text)
}

pub(crate) const fn object(go: &'static str, of: &'static Struct) -> Type {
    ty(go, Shape::Struct(of))
}

/// A list of objects.
macro_rules! objects {
    ($go:literal, $of:path) => {
        Type { go: concat!("[]", $go), shape: Shape::List(&Type { go: $go, shape: Shape::Struct(&$of) }) }
    };
}
pub(crate) use objects;

pub(crate) const STRING: Type = text("string");
pub(crate) const BOOL: Type = ty("bool", Shape::Bool);
pub(crate) const INT: Type = ty("int", Shape::Int { min: i64::MIN, max: i64::MAX });
pub(crate) const INT64: Type = ty("int64", Shape::Int { min: i64::MIN, max: i64::MAX });
pub(crate) const INT32: Type = ty("int32", Shape::Int { min: i32::MIN as i64, max: i32::MAX as i64 });
pub(crate) const UINT16: Type = ty("uint16", Shape::Int { min: 0, max: u16::MAX as i64 });
pub(crate) const UINT8: Type = ty("uint8", Shape::Int { min: 0, max: u8::MAX as i64 });
pub(crate) const STRING_MAP: Type = ty("map[string]string", Shape::Map);
pub(crate) const STRINGS: Type =
    Type { go: "[]string", shape: Shape::List(&Type { go: "string", shape: Shape::Text }) };
pub(crate) const DURATION: Type = ty("v1.Duration", Shape::Duration);
pub(crate) const TIME: Type = ty("v1.Time", Shape::Time);
pub(crate) const AS_NUMBER: Type = ty("numorstring.ASNumber", Shape::AsNumber);

pub(crate) const KIND: Field = text_within("v1.TypeMeta", "kind", "Kind");
pub(crate) const API_VERSION: Field = text_within("v1.TypeMeta", "apiVersion", "APIVersion");
pub(crate) const METADATA: Field = Field {
    json: "metadata",
    go: "ObjectMeta",
    omit: Omit::Never,
    ty: object("v1.ObjectMeta", &OBJECT_META),
    place: Place::Embedded,
};
pub(crate) const CONDITIONS: Type = objects!("v1.Condition", meta::CONDITION);

pub(crate) const PASSWORD: Type = object("v3.BGPPassword", &BGP_PASSWORD);

static BGP_PASSWORD: Struct = Struct {
    go: "BGPPassword",
    fields: &[field("secretKeyRef", "SecretKeyRef", Omit::Absent, SECRET_KEY_SELECTOR)],
};

const SECRET_KEY_SELECTOR: Type = object("v1.SecretKeySelector", &SECRET_KEY);

static SECRET_KEY: Struct = Struct {
    go: "SecretKeySelector",
    fields: &[
        text_within("v1.LocalObjectReference", "name", "Name"),
        field("key", "Key", Omit::Never, STRING),
        field("optional", "Optional", Omit::Absent, BOOL),
    ],
};
