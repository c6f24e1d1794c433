//! A Node as the allocator sees it.

use std::collections::BTreeMap;

use serde_json::Value as Json;

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

/// The name of a Node in Kubernetes, by its `orchRefs`; `None` for a host that is no node of Kubernetes.
pub fn name_in_kubernetes(node: &Document) -> Option<&str> {
    let references = node.field(&["spec", "orchRefs"]).and_then(Json::as_array);
    let of_kubernetes =
        references.into_iter().flatten().filter(|reference| reference["orchestrator"] == "k8s");
    let name = of_kubernetes.filter_map(|reference| reference["nodeName"].as_str()).next_back();
    name.filter(|name| !name.is_empty())
}
