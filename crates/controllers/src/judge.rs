//! Judges one allocation: whether somebody uses it.
//!
//! Blocks hold no UID. So an allocation is known by its namespace, pod, node, handle and sequence number, and
//! a pod that comes back under its name protects the old allocation until its kubelet has told its addresses.

use std::net::IpAddr;

use api::Attribute;
use api::block::is_kept_by_windows;

use crate::witness::{Pod, PodKey, Users};

/// What is to be thought of an allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Somebody uses it.
    InUse,
    /// Nobody here can say whether it is used: it stays.
    NotJudged,
    /// Its pod has no address yet, and may be the one that gets this one.
    Waiting,
    /// It belongs to a tunnel of its node: it stays as long as the node, or any pod there, does.
    Tunnel,
    /// Nobody uses it.
    Leaked(Why),
}

/// Why nobody uses an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// There is no pod of that name.
    PodGone,
    /// The pod of that name runs on another node.
    PodElsewhere,
    /// The pod has ended.
    PodFinished,
    /// The pod has other addresses.
    OtherAddresses,
    /// The pod that ran the virtual machine is gone. The machine itself is to be asked for.
    MachineStopped,
    /// No WorkloadEndpoint has the address.
    NoEndpoint,
    /// The node of this tunnel is gone.
    NodeGone,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Why::PodGone => "its pod does not exist",
            Why::PodElsewhere => "its pod runs on another node",
            Why::PodFinished => "its pod has ended",
            Why::OtherAddresses => "its pod has other addresses",
            Why::MachineStopped => "its virtual machine is gone, or stopped and keeps no address",
            Why::NoEndpoint => "no WorkloadEndpoint has it",
            Why::NodeGone => "its node does not exist",
        })
    }
}

/// The pod that an allocation names; `None` where it names none.
pub fn pod_of(attribute: &Attribute) -> Option<PodKey> {
    let field = |name: &str| attribute.owner.get(name).filter(|text| !text.is_empty());
    Some(PodKey::new(field("namespace")?.as_str(), field("pod")?.as_str()))
}

/// The node that an allocation names; `None` where it names none.
pub fn node_of(attribute: &Attribute) -> Option<&str> {
    attribute.owner.get("node").map(String::as_str).filter(|node| !node.is_empty())
}

/// Whether an allocation is a virtual machine's, and outlives the pods that run the machine: the handle is
/// `<network>.vmi.<namespace>.<machine>`. (Where addresses are not kept, a machine's pod has a handle as
/// every pod.)
pub fn is_machines(attribute: &Attribute) -> bool {
    attribute.handle().is_some_and(|id| id.contains(".vmi."))
}

/// The namespace and the name of the virtual machine that an allocation is for, where they are certain: as
/// its pod noted them, or else from the handle, unless a hash or another reading of the dots hides them.
pub fn machine_of(attribute: &Attribute) -> Option<(&str, &str)> {
    let field = |name: &str| attribute.owner.get(name).map(String::as_str);
    if let (Some(namespace), Some(name)) = (field("namespace"), field("vmi-name")) {
        return Some((namespace, name));
    }
    let (_, machine) = attribute.handle()?.split_once(".vmi.")?;
    let (namespace, name) = machine.split_once('.')?;
    let is_certain =
        !machine.contains("vmi.") && !machine.contains('_') && !namespace.is_empty() && !name.is_empty();
    is_certain.then_some((namespace, name))
}

/// Judges an allocation. `is_node_there` says whether the node that it names exists.
pub fn judge(attribute: &Attribute, addr: IpAddr, users: &Users, is_node_there: bool) -> Standing {
    let Some(handle) = attribute.handle().filter(|id| !id.is_empty()) else { return Standing::NotJudged };
    if attribute.released_at.is_some() || attribute.odd.is_some() || is_kept_by_windows(handle) {
        return Standing::NotJudged;
    }
    // The last pod that ran the machine took its name off; nobody else will come back for the address.
    let is_ownerless = attribute.owner.is_empty() && attribute.alternate_owner.is_empty();
    if is_ownerless && matches!(users, Users::Pods(_)) && machine_of(attribute).is_some() {
        return Standing::Leaked(Why::MachineStopped);
    }
    let Some(node) = node_of(attribute) else { return Standing::NotJudged };
    if let Some(kind) = attribute.owner.get("type") {
        return match is_tunnel(kind) {
            true => Standing::Tunnel,
            false => Standing::NotJudged,
        };
    }
    match users {
        Users::Pods(pods) => {
            let Some(pod) = pod_of(attribute) else { return Standing::NotJudged };
            let standing = by_pod(pods.get(&pod), node, addr);
            match standing {
                Standing::Leaked(_) if is_machines(attribute) => Standing::Leaked(Why::MachineStopped),
                standing => standing,
            }
        }
        Users::Endpoints(endpoints) => {
            let is_known = !is_node_there || endpoints.knows_network(node, handle);
            match endpoints.have(addr) {
                true => Standing::InUse,
                // A machine's address is kept for it, endpoint or not.
                false if is_machines(attribute) || endpoints.has_unreadable() || !is_known => {
                    Standing::NotJudged
                }
                false => Standing::Leaked(Why::NoEndpoint),
            }
        }
    }
}

fn by_pod(pod: Option<&Pod>, node: &str, addr: IpAddr) -> Standing {
    match pod {
        None => Standing::Leaked(Why::PodGone),
        Some(Pod::Unreadable) => Standing::NotJudged,
        Some(Pod::Seen { node: runs_on, .. }) if **runs_on != *node => Standing::Leaked(Why::PodElsewhere),
        Some(Pod::Seen { is_finished: true, .. }) => Standing::Leaked(Why::PodFinished),
        Some(Pod::Seen { addresses, .. }) if addresses.is_empty() => Standing::Waiting,
        Some(Pod::Seen { addresses, .. }) if addresses.contains(&addr) => Standing::InUse,
        Some(Pod::Seen { .. }) => Standing::Leaked(Why::OtherAddresses),
    }
}

/// Whether an allocation of that type is a tunnel's (`ipipTunnelAddress` and others).
fn is_tunnel(kind: &str) -> bool {
    kind.ends_with("TunnelAddress")
}
