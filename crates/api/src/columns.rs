//! The columns in which kinds are shown as tables (`calicoctl/calicoctl/resourcemgr`).

use serde_json::Value as Json;

use crate::document::Document;

/// The AS number of nodes where neither they nor the BGPConfiguration `default` name one.
pub const DEFAULT_AS_NUMBER: u32 = 64512;

/// What columns need besides the document.
pub struct ColumnContext<'a> {
    /// The AS number for nodes that name none: that of the BGPConfiguration `default`, or
    /// [`DEFAULT_AS_NUMBER`].
    pub default_as_number: &'a dyn Fn() -> u32,
}

impl Default for ColumnContext<'_> {
    fn default() -> Self {
        ColumnContext { default_as_number: &|| DEFAULT_AS_NUMBER }
    }
}

/// A column.
#[derive(Debug)]
pub struct Column {
    /// The heading, upper case.
    pub heading: &'static str,
    /// The text of a cell. The resource is as read ([`crate::defaults::on_read`]).
    pub text: fn(&Document, &ColumnContext<'_>) -> String,
}

/// The columns of a kind.
#[derive(Debug)]
pub struct Columns {
    /// All columns of the kind.
    pub all: &'static [Column],
    /// The headings that are shown by default.
    pub default: &'static [&'static str],
    /// The headings that are shown in the wide format.
    pub wide: &'static [&'static str],
}

impl Columns {
    /// The column of that heading, which is case-sensitive.
    pub fn get(&self, heading: &str) -> Option<&'static Column> {
        self.all.iter().find(|column| column.heading == heading)
    }
}

pub(crate) const fn column(
    heading: &'static str,
    text: fn(&Document, &ColumnContext<'_>) -> String,
) -> Column {
    Column { heading, text }
}

pub(crate) const NAME: Column = column("NAME", |r, _| r.name().to_string());

pub(crate) fn text(document: &Document, path: &[&str]) -> String {
    document.text(path).unwrap_or_default().to_string()
}

pub(crate) fn flag(document: &Document, field: &str) -> String {
    document.field(&["spec", field]).and_then(Json::as_bool).unwrap_or(false).to_string()
}

pub(crate) fn number(document: &Document, field: &str) -> Option<String> {
    document.field(&["spec", field]).map(scalar)
}

pub(crate) fn join(document: &Document, field: &str) -> String {
    let items = document.field(&["spec", field]).and_then(Json::as_array);
    items.into_iter().flatten().filter_map(Json::as_str).collect::<Vec<_>>().join(",")
}

/// The text, cut to at most `max` characters. A cut text ends in three dots.
pub(crate) fn truncate(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_string();
    }
    text.chars().take(max.saturating_sub(3)).chain("...".chars()).collect()
}

/// A pointer as Go's templates print it.
pub(crate) fn nilable(json: Option<&Json>) -> String {
    json.map_or_else(|| "<nil>".into(), scalar)
}

/// A scalar as Go's `%v` prints it.
pub(crate) fn scalar(json: &Json) -> String {
    json.as_str().map_or_else(|| json.to_string(), str::to_string)
}
