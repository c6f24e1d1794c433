//! The label selector language of Calico: parse, print, evaluate.
//!
//! A [`Selector`] is a parsed expression such as `rack == "1" && !has(spare)`. It accepts the texts that
//! `libcalico-go/lib/selector/{tokenizer,parser}` accepts, prints and matches as that does, and words its
//! errors in the same way. [`REFERENCE`] describes the language for its users.
//!
//! Two limits are this crate's own, so that hostile text cannot exhaust the stack: [`MAX_LENGTH`] and
//! [`MAX_DEPTH`]. They hold for the canonical text too: the printed text of an accepted selector is accepted
//! again.

#![no_std]

extern crate alloc;

mod error;
mod evaluate;
mod hint;
mod labels;
mod lexer;
mod node;
mod parser;
mod print;
mod restrictions;
mod unmet;

use alloc::{
    borrow::ToOwned,
    collections::{BTreeMap, BTreeSet},
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::{fmt, hash, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha224};

pub use error::ParseError;
pub use labels::Labels;
pub use lexer::MAX_LABEL_LENGTH;
pub use parser::{MAX_DEPTH, MAX_LENGTH};
pub use restrictions::Restriction;
pub use unmet::{LabelChanges, Unmet};

use node::Node;

/// The reference page of the language, in Markdown, for administrators.
pub const REFERENCE: &str = include_str!("reference.md");

/// A parsed selector: immutable, and cheap to clone.
///
/// Two selectors are equal if their canonical texts are equal, that is, if they are the same expression.
/// Expressions that merely match the same labels (`a == "1"` and `a in {"1"}`) are not equal.
#[derive(Clone)]
pub struct Selector(Arc<Parsed>);

struct Parsed {
    root: Node,
    canonical: String,
}

impl Selector {
    /// Parses `text`. A text that is empty, or has only spaces and tabs, is `all()`.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let (root, canonical) = parser::parse(text).map_err(|error| error.with_hint_from(text))?;
        Ok(Self(Arc::new(Parsed { root, canonical })))
    }

    /// The selector that matches everything.
    pub fn all() -> Self {
        Self(Arc::new(Parsed { root: Node::All, canonical: Node::All.to_string() }))
    }

    /// Tells whether `labels` satisfy this selector. Does not allocate.
    pub fn matches<L: Labels + ?Sized>(&self, labels: &L) -> bool {
        self.0.root.matches(labels)
    }

    /// The terms that keep `labels` from satisfying this selector, in the selector's order; empty where the
    /// labels satisfy it. Of terms joined by `||`, each one alone would help; of all others, all are needed.
    pub fn unmet<L: Labels + ?Sized>(&self, labels: &L) -> Vec<Unmet> {
        let mut unmet = Vec::new();
        self.0.root.unmet(labels, &mut unmet);
        unmet
    }

    /// A few changes of labels after which `labels` satisfy this selector; `None` where none was found.
    pub fn changes_for<L: Labels + ?Sized>(&self, labels: &L) -> Option<LabelChanges> {
        let changes = self.0.root.changes_for(true, &labels)?;
        let changed = unmet::Changed { before: &labels, changes: &changes };
        self.matches(&changed).then_some(changes)
    }

    /// The names of the labels that this selector tests.
    pub fn label_names(&self) -> BTreeSet<&str> {
        let mut names = BTreeSet::new();
        self.0.root.add_label_names(&mut names);
        names
    }

    /// Tells whether this is `all()` itself. Other expressions may match everything too.
    pub fn is_all(&self) -> bool {
        matches!(self.0.root, Node::All)
    }

    /// Tells whether `global()` occurs anywhere in this selector.
    pub fn has_global(&self) -> bool {
        self.0.root.has_global()
    }

    /// The canonical text: one spelling for each expression, as Calico prints it.
    ///
    /// It parses to a selector that matches the same labels. It is not always the canonical text of
    /// *that* selector: `!(!has(a))` prints as `!!has(a)`, which prints as `has(a)`.
    pub fn canonical(&self) -> &str {
        &self.0.canonical
    }

    /// The identifier under which Calico indexes selectors: `s:` and 38 characters of URL-safe base64
    /// (`libcalico-go/lib/hash`).
    pub fn unique_id(&self) -> String {
        let digest = Sha224::new().chain_update("s:").chain_update(self.canonical()).finalize();
        let mut id = "s:".to_owned();
        URL_SAFE_NO_PAD.encode_string(digest, &mut id);
        id
    }

    /// What each label must satisfy for this selector to match, by the label's name. These conditions are
    /// necessary, not sufficient: they serve to look up candidates in an index. A label that is not listed is
    /// unrestricted.
    pub fn restrictions(&self) -> BTreeMap<&str, Restriction<'_>> {
        self.0.root.restrictions()
    }
}

impl Default for Selector {
    fn default() -> Self {
        Self::all()
    }
}

impl FromStr for Selector {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.canonical())
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Selector({})", self.canonical())
    }
}

impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        self.canonical() == other.canonical()
    }
}

impl Eq for Selector {}

impl hash::Hash for Selector {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.canonical().hash(state);
    }
}

/// The canonical form of `text`. White space around `text` is ignored, line breaks included. A text that
/// cannot be parsed is returned unchanged, but trimmed (`libcalico-go/lib/selector/selector.go`,
/// `Normalise`).
pub fn normalise(text: &str) -> String {
    let text = text.trim();
    Selector::parse(text).map_or_else(|_| text.to_owned(), |selector| selector.to_string())
}
