//! Virtual machines. A machine keeps its addresses from pod to pod, until it is deleted.

mod machine;
mod objects;

use std::net::IpAddr;

use api::ipam_config::Persistence;
use api::{Family, HandleId};
use cni::CniError;
use cni::log::Level;
use ipam::{Change, HandleRelease, IpsByHandle, ReleaseUnowned, SetOwnerAttributes};
use store::Store;

pub use machine::{Left, Machine};
pub use objects::Objects;

use crate::assign::{self, Recipient};
use crate::namespace::Namespace;
use crate::request::{Deadline, Request};
use crate::result::{ResultAddress, Routes};

/// How often a machine's addresses are looked up again because they changed meanwhile.
const ATTEMPTS: usize = 10;

/// Gives a machine's pod the addresses that the machine has, or assigns its first ones. Also gives whether
/// the result has routes to them: a pod to which the machine is to move gets no routes before the move.
///
/// # Errors
/// Code 999 for the target of a migration if machines do not keep addresses, or if the machine has none;
/// otherwise as for other pods.
pub async fn add(
    request: &Request<'_, impl Store>,
    namespace: Option<&Namespace<'_>>,
    machine: &Machine,
    container: Recipient,
    deadline: Deadline,
) -> Result<(Vec<ResultAddress>, Routes), CniError> {
    let handle = machine.handle(request.ask.conf.name(), request.is_on_kubernetes());
    // The configuration is read before an invalid handle is reported: without persistence the handle is not
    // needed.
    if !is_persistent(request, deadline).await? {
        if machine.is_target() {
            return Err(CniError::internal(
                "live migration target pod is not allowed when KubeVirtVMAddressPersistence is disabled",
            ));
        }
        return Ok((assign::assign(request, namespace, container, deadline).await?, Routes::Each));
    }
    let handle = handle?;
    let mut attributes = container.attributes;
    attributes.extend(machine.attributes());
    for _ in 0..ATTEMPTS {
        let slot = Change::Set(attributes.clone());
        let (active, alternate) =
            if machine.is_target() { (Change::Keep, slot) } else { (slot, Change::Keep) };
        let planner = SetOwnerAttributes { handle: handle.clone(), active, alternate }.planner();
        let held = request.run(planner, deadline).await?;
        match held {
            Some(held) if !held.is_empty() => return Ok(given_of_machine(held, machine)),
            _ if machine.is_target() => {
                return Err(CniError::internal(format!(
                    "migration target pod but no IP allocated to VM handle {handle}"
                )));
            }
            None => {
                let (to, attributes) = (Some(handle.clone()), attributes.clone());
                let first = Recipient { handle: to, attributes, most: Some(1) };
                match assign::assign(request, namespace, first, deadline).await {
                    Ok(given) => return Ok((given, Routes::Each)),
                    // Another pod of the machine has counted or taken an address meanwhile. If it took one,
                    // that is the machine's.
                    Err(_) if is_there(request, handle.clone(), deadline).await => {}
                    Err(error) => return Err(error),
                }
            }
            // The machine has a handle but no addresses. An earlier request was interrupted after it had
            // counted an address in the handle. The count is corrected; otherwise a machine that may have
            // only one address would never get one.
            Some(_) => {
                request
                    .run(
                        ReleaseUnowned { handle: handle.clone(), pod: machine.pod.clone() }.planner(),
                        deadline,
                    )
                    .await?;
            }
        }
    }
    Err(CniError::internal(format!(
        "the addresses of handle {handle} are assigned and released faster than they can be looked at"
    )))
}

/// Whether the machine has a handle now. What cannot be told is no: the caller has an error to report.
async fn is_there(request: &Request<'_, impl Store>, handle: HandleId, deadline: Deadline) -> bool {
    let held = request.run(IpsByHandle::new(handle).planner(), deadline).await;
    held.is_ok_and(|held| held.is_some())
}

fn given_of_machine(mut held: Vec<IpAddr>, machine: &Machine) -> (Vec<ResultAddress>, Routes) {
    held.sort();
    let given =
        held.into_iter().map(|addr| ResultAddress { addr, prefix: Family::of(addr).bits() }).collect();
    (given, if machine.is_target() { Routes::None } else { Routes::Each })
}

/// Whether machines keep their addresses. They do, unless the configuration says otherwise.
async fn is_persistent(request: &Request<'_, impl Store>, deadline: Deadline) -> Result<bool, CniError> {
    let view = request.read(&store::ReadSet::new().key(api::Key::IpamConfig), deadline).await?;
    Ok(view.ipam_config().and_then(|config| config.persistence) != Some(Persistence::Disabled))
}

/// Records that a pod no longer uses its machine's addresses. Releases these addresses if the machine is
/// being deleted and no other pod uses them.
///
/// # Errors
/// Code 999.
pub async fn leave(
    request: &Request<'_, impl Store>,
    left: Left,
    deadline: Deadline,
) -> Result<(), CniError> {
    let Some(handle) = left.handle(request.ask.conf.name()) else { return Ok(()) };
    if left.is_going {
        let released = request
            .run(ReleaseUnowned { handle: handle.clone(), pod: left.pod.clone() }.planner(), deadline)
            .await?;
        if let Some(released) = released {
            if let HandleRelease::Partly(_, why) = released {
                return Err(CniError::internal(why));
            }
            if let HandleRelease::Released(addresses) = released {
                for addr in addresses {
                    request.log.say(Level::Info, format!("released {addr} of {handle}"));
                }
            }
            return Ok(());
        }
    }
    let leaves = || Change::Leave(left.pod.clone());
    let planner =
        SetOwnerAttributes { handle: handle.clone(), active: leaves(), alternate: leaves() }.planner();
    if let Some(kept) = request.run(planner, deadline).await? {
        for addr in kept {
            request.log.say(Level::Info, format!("{addr} stays with {handle}"));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "add_tests.rs"]
mod tests;
