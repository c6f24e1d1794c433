//! Nodes of a datastore beside Kubernetes whose Kubernetes node is gone.

use std::collections::BTreeSet;

use api::node::name_in_kubernetes;
use api::{Kind, Resource, Revision};
use store::View;

/// None of the datastore's nodes is a node of that Kubernetes cluster: it is another cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "Kubernetes knows none of the {0} nodes that the datastore has of it, so it may be another cluster, and no node is deleted. Look at KUBECONFIG; `calicoctl delete node` deletes a node that is gone"
)]
pub struct OtherCluster(usize);

/// The nodes whose node in Kubernetes is not among the `known`. Nodes that were never of Kubernetes stay.
///
/// # Errors
/// See [`OtherCluster`].
pub fn orphans<'v>(
    view: &'v View,
    known: &BTreeSet<String>,
) -> Result<Vec<(&'v Resource, &'v Revision)>, OtherCluster> {
    let of_kubernetes: Vec<_> = view
        .resources(Kind::Node)
        .filter_map(|(node, revision)| Some((node, revision, name_in_kubernetes(node)?)))
        .collect();
    let count = of_kubernetes.len();
    let gone = of_kubernetes.into_iter().filter(|(_, _, name)| !known.contains(*name));
    let gone: Vec<_> = gone.map(|(node, revision, _)| (node, revision)).collect();
    match gone.len() == count && count > 0 {
        true => Err(OtherCluster(count)),
        false => Ok(gone),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use api::Record;
    use serde_json::json;
    use store::Slot;

    use super::*;

    fn view(nodes: &[(&str, &str)]) -> View {
        let mut view = View::new();
        for (name, reference) in nodes {
            let references = match *reference {
                "" => json!([{"orchestrator": "openstack", "nodeName": "x"}]),
                reference => json!([{"orchestrator": "k8s", "nodeName": reference}]),
            };
            let json = json!({"metadata": {"name": name}, "spec": {"orchRefs": references}});
            let node = Resource::from_json(Kind::Node, json).unwrap();
            let (key, revision) = (node.key(), Revision::from(1));
            let record = Record { key: key.clone(), value: api::Value::Resource(node), revision };
            view.insert(key, Slot::Full(Arc::new(record)));
        }
        view
    }

    fn names(view: &View, known: &[&str]) -> Result<Vec<String>, OtherCluster> {
        let known = known.iter().map(|name| (*name).to_string()).collect();
        Ok(orphans(view, &known)?.into_iter().map(|(node, _)| node.name().to_string()).collect())
    }

    #[test]
    fn a_node_goes_by_its_name_in_kubernetes() {
        let view = view(&[("a", "host-a"), ("b", "host-b"), ("bare", "")]);
        assert_eq!(names(&view, &["host-a", "host-b"]), Ok(vec![]));
        assert_eq!(names(&view, &["host-a", "b"]), Ok(vec!["b".to_string()]));
    }

    #[test]
    fn another_cluster_deletes_nothing() {
        let of_kubernetes = view(&[("a", "a"), ("b", "b")]);
        for known in [&["c", "d"][..], &[]] {
            assert_eq!(names(&of_kubernetes, known), Err(OtherCluster(2)));
        }
        assert_eq!(names(&view(&[("bare", "")]), &["c"]), Ok(vec![]));
    }
}
