//! A Node as the allocator sees it.

use std::collections::BTreeMap;

use crate::document::Document;

/// The parts of a Node that decide which pools it may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// The name.
    pub name: String,
    /// The node's labels, which pools' node selectors see.
    pub labels: BTreeMap<String, String>,
}

impl Node {
    /// The node that the resource describes.
    pub fn of(resource: &Document) -> Node {
        Node { name: resource.name().to_string(), labels: resource.metadata().labels.clone() }
    }
}
