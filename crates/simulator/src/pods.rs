//! The pods of the cluster, as their kubelets tell of them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use controllers::witness::{Pod, PodKey};

use crate::names::pod_of;

/// The pods.
#[derive(Debug, Default)]
pub(crate) struct Pods {
    now: BTreeMap<PodKey, (String, Pod)>,
    /// The pods that changed, in order.
    log: Vec<PodKey>,
}

/// The key of a handle's pod.
pub(crate) fn key_of(id: &str) -> PodKey {
    PodKey::new("default", pod_of(id))
}

impl Pods {
    /// A pod of that handle starts on a node, or has addresses there.
    pub fn is_on(&mut self, id: &str, node: &str, addresses: &[IpAddr]) {
        let pod = Pod::Seen { node: node.into(), is_finished: false, addresses: addresses.into() };
        self.now.insert(key_of(id), (id.to_string(), pod));
        self.log.push(key_of(id));
    }

    /// The pod of that handle is gone.
    pub fn is_gone(&mut self, id: &str) {
        if self.now.remove(&key_of(id)).is_some() {
            self.log.push(key_of(id));
        }
    }

    /// All pods on a node are gone.
    pub fn are_gone(&mut self, node: &str) {
        let is_on = |pod: &Pod| matches!(pod, Pod::Seen { node: on, .. } if **on == *node);
        let gone = self.now.values().filter(|(_, pod)| is_on(pod)).map(|(id, _)| id.clone());
        gone.collect::<Vec<_>>().iter().for_each(|id| self.is_gone(id));
    }

    /// A pod, asked for now.
    pub fn get(&self, key: &PodKey) -> Option<&Pod> {
        self.now.get(key).map(|(_, pod)| pod)
    }

    /// Whether the pod of that handle is there.
    pub fn has(&self, id: &str) -> bool {
        self.now.contains_key(&key_of(id))
    }

    /// All pods.
    pub fn all(&self) -> impl Iterator<Item = (&PodKey, &Pod)> {
        self.now.iter().map(|(key, (_, pod))| (key, pod))
    }

    /// The addresses that kubelets have told, each with its handle.
    pub fn told(&self) -> impl Iterator<Item = (IpAddr, &str)> {
        self.now.values().flat_map(|(id, pod)| {
            let addresses: &[IpAddr] = match pod {
                Pod::Seen { addresses, .. } => addresses,
                Pod::Unreadable => &[],
            };
            addresses.iter().map(|addr| (*addr, id.as_str()))
        })
    }

    /// The pods that changed after that many changes, and how many changes there are.
    pub fn changes(&self, after: usize) -> (&[PodKey], usize) {
        (&self.log[after.min(self.log.len())..], self.log.len())
    }
}
