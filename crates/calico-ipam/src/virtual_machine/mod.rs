//! Virtual machines. The addresses that a machine has go with it from pod to pod, until it is deleted.

mod machine;
mod objects;

use std::net::IpAddr;

use api::Family;
use api::ipam_config::Persistence;
use cni::CniError;
use cni::log::Level;
use ipam::{Change, HandleRelease, ReleaseUnowned, SetOwnerAttributes};
use store::Store;

pub use machine::{Left, Machine};
pub use objects::Objects;

use crate::assign::{self, Recipient};
use crate::namespace::Namespace;
use crate::request::{Deadline, Request};
use crate::result::{ResultAddress, Routes};

/// How often to look again at what a machine has, because it got something meanwhile.
const ATTEMPTS: usize = 10;

/// Gives a machine's pod the addresses that the machine has, or its first ones; and tells whether it is given
/// routes to them: what a machine is to move to has none before it has moved.
///
/// # Errors
/// Code 999: a target of a migration where machines do not keep addresses, or of a machine that has none;
/// else as for other pods.
pub async fn add(
    request: &Request<'_, impl Store>,
    namespace: Option<&Namespace<'_>>,
    machine: &Machine,
    container: Recipient,
    deadline: Deadline,
) -> Result<(Vec<ResultAddress>, Routes), CniError> {
    let handle = machine.handle(request.ask.conf.name(), request.is_on_kubernetes());
    // Where there can be no handle, the configuration counts all the same.
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
            Some(held) if !held.is_empty() => return Ok(kept(held, machine)),
            _ if machine.is_target() => {
                return Err(CniError::internal(format!(
                    "migration target pod but no IP allocated to VM handle {handle}"
                )));
            }
            None => {
                let first = Recipient { handle: Some(handle), attributes, most: Some(1) };
                return Ok((assign::assign(request, namespace, first, deadline).await?, Routes::Each));
            }
            // A request that came to no end has counted what it never took; a machine that may have only one
            // address would never get one.
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

fn kept(mut held: Vec<IpAddr>, machine: &Machine) -> (Vec<ResultAddress>, Routes) {
    held.sort();
    let given =
        held.into_iter().map(|addr| ResultAddress { addr, prefix: Family::of(addr).bits() }).collect();
    (given, if machine.is_target() { Routes::None } else { Routes::Each })
}

/// Whether machines keep their addresses: unless the configuration says otherwise.
async fn is_persistent(request: &Request<'_, impl Store>, deadline: Deadline) -> Result<bool, CniError> {
    let view = request.read(&store::ReadSet::new().key(api::Key::IpamConfig), deadline).await?;
    Ok(view.ipam_config().and_then(|config| config.persistence) != Some(Persistence::Disabled))
}

/// Notes that a pod has left its machine's addresses; releases them if the machine is on its way out and
/// nobody else has them.
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
