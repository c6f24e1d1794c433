//! Pods in which KubeVirt runs virtual machines (`libcalico-go/lib/kubevirt/vmi.go`). A machine runs in one
//! pod after another, and can move to another node while it runs. Its addresses stay with it, so they are
//! held under a handle of the machine's own.

use std::collections::BTreeMap;

use api::HandleId;
use api::crd::why_no_name;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cni::CniError;
use golang::strconv::quote;
use ipam::PodName;
use serde::Deserialize;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

/// The beginning of the names of such pods. For other pods, KubeVirt is not asked.
const PREFIX: &str = "virt-launcher-";
/// The label of a pod to which a running machine is to move. Its value is the migration's UID.
const MIGRATION: &str = "kubevirt.io/migrationJobUID";
/// The longest handle. A longer one ends in a hash instead (`libcalico-go/lib/ipam/vmipam.go`).
const LONGEST_HANDLE: usize = 128;

/// Whether a pod, by its name, may run a virtual machine.
pub fn may_be(pod: &str) -> bool {
    pod.starts_with(PREFIX)
}

/// A virtual machine, and the pod that runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The pod that runs the machine.
    pub pod: PodName,
    /// The name of the machine and of its instance, which share it.
    name: String,
    uid: String,
    /// The UID of the machine; `None` for an instance without a machine.
    vm_uid: Option<String>,
    /// The UID of the migration whose target this pod is, if it is one.
    migration: Option<String>,
}

/// What remains of a machine when one of its pods is taken down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The pod that is taken down.
    pub pod: PodName,
    /// The machine's name.
    name: String,
    /// Whether the machine is deleted or being deleted. If so, it needs no address after its last pod.
    pub is_going: bool,
}

impl Machine {
    /// Whether the pod is the target of a migration of the running machine.
    pub fn is_target(&self) -> bool {
        self.migration.is_some()
    }

    /// The handle of the machine's addresses.
    ///
    /// # Errors
    /// Code 999, with the remedy, where the names make no valid handle.
    pub fn handle(&self, network: &str, is_on_kubernetes: bool) -> Result<HandleId, CniError> {
        let (namespace, name) = (&self.pod.namespace, &self.name);
        let cannot = |reason: String| {
            CniError::internal(format!(
                "the virtual machine {namespace}/{name} cannot keep its addresses on the network {network:?}: {reason}. Give it, or the network, a shorter name, or set kubeVirtVMAddressPersistence to Disabled in the IPAMConfiguration"
            ))
        };
        let handle = handle(network, namespace, name)
            .ok_or_else(|| cannot("their handle would have no name".to_string()))?;
        // (Calico tries for 90 seconds, then reports its own rate limiter.)
        match why_no_name(&handle.as_str().to_lowercase()) {
            Some(rule) if is_on_kubernetes => {
                Err(cannot(format!("their handle would be an IPAMHandle called {handle:?}, but {rule}")))
            }
            _ => Ok(handle),
        }
    }

    /// The attributes that are stored with the machine's addresses.
    pub fn attributes(&self) -> impl Iterator<Item = (String, String)> {
        let notes = [
            ("vmi-name", Some(&self.name)),
            ("vmi-uid", Some(&self.uid)),
            ("vm-uid", self.vm_uid.as_ref()),
            ("vmim-uid", self.migration.as_ref()),
        ];
        notes.into_iter().filter_map(|(key, value)| Some((key.to_string(), value?.clone())))
    }
}

impl Left {
    /// The handle of the machine's addresses; `None` where the names make no valid handle, so that there are
    /// no addresses.
    pub fn handle(&self, network: &str) -> Option<HandleId> {
        handle(network, &self.pod.namespace, &self.name)
    }
}

/// The handle `<network>.vmi.<namespace>.<machine>`. If it is too long, a hash replaces everything after the
/// network.
fn handle(network: &str, namespace: &str, name: &str) -> Option<HandleId> {
    let (prefix, suffix) = (format!("{network}.vmi."), format!("{namespace}.{name}"));
    if prefix.len() + suffix.len() <= LONGEST_HANDLE {
        return HandleId::new(&format!("{prefix}{suffix}"));
    }
    let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(suffix));
    let room = LONGEST_HANDLE.checked_sub(prefix.len() + 1).filter(|room| *room > 0)?;
    HandleId::new(&format!("{prefix}_{}", &hash[..room.min(hash.len())]))
}

/// What Kubernetes knows about a pod that was made for a virtual machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Traces {
    pub(super) pod: PodName,
    pub(super) migration: Option<String>,
    /// The reference in the pod to the machine's instance.
    pub(super) owner: Reference,
    pub(super) instance: Option<Metadata>,
    /// The machine's name; `None` if the instance belongs to no machine.
    pub(super) vm_name: Option<String>,
    pub(super) vm: Option<Metadata>,
}

impl Traces {
    /// The machine, if all its objects exist; otherwise the reason, in Calico's words.
    pub(super) fn machine(self) -> Result<Machine, String> {
        let Reference { name, uid, .. } = &self.owner;
        let (namespace, pod) = (&self.pod.namespace, &self.pod.name);
        if name.is_empty() || uid.is_empty() {
            let (name, uid) = (quote(name), quote(uid));
            return Err(format!(
                "pod {namespace}/{pod} has invalid VMI ownerReference: name={name} uid={uid}"
            ));
        }
        let not_there = |plural: &str, missing: &str| {
            let missing = quote(missing);
            format!(
                "failed to query VMI resource {namespace}/{name}: {plural}.kubevirt.io {missing} not found"
            )
        };
        let instance = self.instance.ok_or_else(|| not_there("virtualmachineinstances", name))?;
        if instance.uid != *uid {
            let found = instance.uid;
            return Err(format!(
                "VMI UID mismatch: pod ownerReference has {uid} but VMI resource has {found}"
            ));
        }
        let vm_uid = match (self.vm_name, self.vm) {
            (None, _) => None,
            (Some(_), Some(vm)) => Some(vm.uid),
            (Some(vm_name), None) => return Err(not_there("virtualmachines", &vm_name)),
        };
        let (name, uid) = (name.clone(), uid.clone());
        Ok(Machine { pod: self.pod, name, uid, vm_uid, migration: self.migration })
    }

    /// What remains when the pod is taken down.
    pub(super) fn left(self) -> Left {
        let is_going = |object: &Metadata| object.deletion_timestamp.is_some();
        let is_going = match (&self.instance, &self.vm_name) {
            // The machine already runs as another instance.
            (Some(instance), _) if instance.uid != self.owner.uid => false,
            (Some(instance), None) => is_going(instance),
            (_, Some(_)) | (None, None) => self.vm.as_ref().is_none_or(is_going),
        };
        Left { pod: self.pod, name: self.owner.name, is_going }
    }
}

/// The metadata of an object that are needed here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Metadata {
    uid: String,
    labels: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<Reference>>,
    deletion_timestamp: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Reference {
    api_version: String,
    kind: String,
    pub(super) name: String,
    uid: String,
    controller: bool,
}

impl Metadata {
    /// The metadata of an object.
    ///
    /// # Errors
    /// When the object has no valid metadata.
    pub(super) fn of(object: &Json) -> Result<Metadata, serde_json::Error> {
        Metadata::deserialize(&object["metadata"])
    }

    /// The instance for which the pod was made; `None` if it was made for none.
    pub(super) fn controlling_instance(&self) -> Option<&Reference> {
        self.owners().find(|owner| owner.is_instance() && owner.controller)
    }

    /// The name of the machine to which an instance belongs; `None` if it belongs to none.
    pub(super) fn machine_name(&self) -> Option<&str> {
        self.owners().find(|owner| owner.is_machine()).map(|owner| owner.name.as_str())
    }

    /// The UID of the migration whose target the pod is; `None` if it is none.
    pub(super) fn migration(&self) -> Option<&str> {
        let uid = self.labels.as_ref()?.get(MIGRATION)?;
        (!uid.is_empty()).then_some(uid)
    }

    fn owners(&self) -> impl Iterator<Item = &Reference> {
        self.owner_references.iter().flatten()
    }
}

impl Reference {
    fn is_instance(&self) -> bool {
        self.is_of_kubevirt() && self.kind == "VirtualMachineInstance"
    }

    fn is_machine(&self) -> bool {
        self.is_of_kubevirt() && self.kind == "VirtualMachine" && !self.name.is_empty()
    }

    fn is_of_kubevirt(&self) -> bool {
        self.api_version.split_once('/').is_some_and(|(group, _)| group == "kubevirt.io")
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
