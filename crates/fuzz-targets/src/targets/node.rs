//! What a node's agent reads beside its store: files of others, and lists of programs.

use api::Timestamp;
use filter::kube_proxy::KubeProxy;
use filter::{Interface, Interfaces};
use rackpoold::install::door;
use rackpoold::node::condition::{Condition, conditions_patch};
use rackpoold::node::detect::Method;
use rackpoold::node::name::MachineId;
use serde_json::Value as Json;

use super::Target;
use crate::input::{bounded, text, told, words};

pub(super) const TARGETS: &[Target] = &[
    Target { name: "network-template", what: "a template of a network's configuration", run: template },
    Target { name: "notes", what: "the notes of what was installed", run: notes },
    Target { name: "detection-method", what: "how a node's address is found", run: method },
    Target { name: "node-conditions", what: "a Node with its conditions", run: conditions },
    Target { name: "kube-proxy", what: "the configuration of kube-proxy", run: kube_proxy },
    Target {
        name: "kube-proxy-flags",
        what: "the command line of kube-proxy, a word on each line",
        run: proxy_flags,
    },
    Target { name: "route-table", what: "what `ip -j route` writes", run: route_table },
    Target { name: "interface", what: "an interface's name or pattern, or a machine's ID", run: interface },
];

fn template(bytes: &[u8]) {
    let words = [
        ("CNI_MTU", "1450".to_string()),
        ("KUBERNETES_NODE_NAME", "node\"-\\1".to_string()),
        ("KUBECONFIG_FILEPATH", "/etc/cni/net.d/calico-kubeconfig".to_string()),
    ];
    match door::template(&text(bytes), &words) {
        Ok(json) => bounded("the configuration", json.to_string().len(), bytes.len(), 8),
        Err(error) => told(error, bytes.len()),
    }
}

fn notes(bytes: &[u8]) {
    bounded("the files", door::notes(&text(bytes)).unwrap_or_default(), bytes.len(), 1);
}

fn method(bytes: &[u8]) {
    match Method::parse(&text(bytes)) {
        Ok(method) => bounded("what is sought", method.sought().len(), bytes.len(), 8),
        Err(said) => bounded("an error's text", said.len(), bytes.len(), 64),
    }
}

fn conditions(bytes: &[u8]) {
    let Ok(node) = serde_json::from_slice::<Json>(bytes) else { return };
    let wanted = [Condition::network_is_up(), Condition::problem(&[])];
    let Some(patch) = conditions_patch(&node, &wanted, Timestamp::UNIX_EPOCH) else { return };
    bounded("the patch", patch.to_string().len(), bytes.len(), 2);
    // What the patch makes of a Node without conditions says what is wanted.
    assert_eq!(conditions_patch(&patch, &wanted[..0], Timestamp::UNIX_EPOCH), None);
}

fn kube_proxy(bytes: &[u8]) {
    match KubeProxy::of_configuration(&text(bytes)) {
        Ok(proxy) => conflicts(&proxy, bytes.len()),
        Err(said) => bounded("an error's text", said.len(), bytes.len(), 16),
    }
}

fn proxy_flags(bytes: &[u8]) {
    conflicts(&KubeProxy::of_flags(&words(bytes)), bytes.len());
}

fn conflicts(proxy: &KubeProxy, input: usize) {
    for conflict in proxy.conflicts(&[]) {
        told(conflict, input);
    }
}

fn route_table(bytes: &[u8]) {
    match routes::kernel::read(&text(bytes)) {
        Ok(table) => {
            bounded("the routes", table.len(), bytes.len(), 1);
            routes::kernel::uplink_of(&table, [10, 0, 0, 1].into());
        }
        Err(error) => told(error, bytes.len()),
    }
}

fn interface(bytes: &[u8]) {
    let text = text(bytes);
    match Interface::parse(&text) {
        Ok(name) => assert_eq!(name.as_str(), text),
        Err(error) => bounded("an error's text", error.to_string().len(), text.len(), 16),
    }
    assert!(Interface::parse(&text).is_err() || Interfaces::parse(&text).is_ok());
    MachineId::of(&text);
}
