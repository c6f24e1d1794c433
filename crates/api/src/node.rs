//! A Node as the allocator sees it.

use std::collections::BTreeMap;

use crate::document::Document;

/// What of a Node decides about pools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// The name.
    pub name: String,
    /// Its labels; pools' node selectors see these.
    pub labels: BTreeMap<String, String>,
}

impl Node {
    /// The node that the resource describes.
    pub fn of(resource: &Document) -> Node {
        Node { name: resource.name().to_string(), labels: resource.metadata().labels.clone() }
    }
}
