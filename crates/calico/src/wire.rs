//! The host's end of a container's pair: which one is whose. It is found by its name, and the name alone
//! decides nothing: a pod's next container has the same, a container's second interface begins with the same,
//! and names that are cut or hashed can be alike. The alias says whose it is, which ADD sets to the
//! container's ID. Ends that Calico made have none: of those the namespace of the other side decides, or the
//! addresses that the host routes to them.

use std::net::IpAddr;

use api::Resource;
use api::capability::Backend;
use cni::CniError;
use cni::log::Level;
use dataplane::{HostEnd, Replaces};
use serde_json::Value as Json;
use store::Store;

use crate::endpoint::{self, Stored, Workload, networks};
use crate::holdings;
use crate::kernel;
use crate::names;
use crate::request::Request;

fn refused(error: impl std::fmt::Display) -> CniError {
    CniError::internal(error)
}

/// Finds a name for the host's end of what an ADD is to attach, and which pair it replaces there. Nothing is
/// done yet.
///
/// # Errors
/// Code 999: the container has an interface that another would get in the way of, or the name is another
/// container's.
pub async fn place(request: &mut Request<'_, impl Store>, workload: &Workload) -> Result<Replaces, CniError> {
    let first = request.names.host_interface.clone();
    if let Some(name) = own_name(request, workload.exact.as_ref()) {
        request.names.host_interface = name;
    } else {
        let found = kernel::host_end(&first).await.map_err(refused)?;
        let inside = match &found {
            Some(end) => other_interface(request, end).await,
            None => None,
        };
        let (taken, routed) = match (&inside, &found) {
            (Some(_), Some(end)) => (true, end.addresses.clone()),
            _ => (false, Vec::new()),
        };
        let siblings = workload.siblings(&request.names.container);
        let recorded =
            siblings.iter().find_map(|other| other.text(&["spec", "endpoint"]).map(str::to_string));
        if let Some(other) = inside.or(recorded) {
            refuse_second(request, &other, &siblings, &routed).await?;
            if taken || siblings.iter().any(|other| interface_name(other) == Some(&first)) {
                request.names.host_interface = request.names.further_interface();
            }
        }
    }
    loop {
        let Some(end) = kernel::host_end(&request.names.host_interface).await.map_err(refused)? else {
            return Ok(Replaces::None);
        };
        let holder = if is_containers(request, &end).await { None } else { another(request, &end).await? };
        let Some(holder) = holder else { return Ok(Replaces::Index(end.index)) };
        let further = request.names.further_interface();
        // A pod's end is looked for by its name. That of others is the beginning of their ID, which may be
        // the beginning of another's.
        if request.names.is_pod() || end.interface == further {
            // The error reaches the pod's events; who else has pods is not the tenant's to know.
            request.log.say(Level::Error, format!("{} is another's: {holder}", end.interface));
            return Err(CniError::internal(format!(
                "the host's interface of {} would be {}, which is another workload's (the plugin's log says whose): give it another name, or detach that one first",
                request.names.workload(),
                end.interface
            )));
        }
        request.names.host_interface = further;
    }
}

/// The name that the store has for the host's end of this very interface.
fn own_name(request: &Request<'_, impl Store>, stored: Option<&Stored>) -> Option<String> {
    // There the name is not stored, but made anew from the pod's.
    let (stored, _) = stored.filter(|_| request.site.backend != Backend::Kubernetes)?;
    let is_own = !endpoint::is_of_another(stored, &request.names.container);
    interface_name(stored).filter(|_| is_own).map(str::to_string)
}

fn interface_name(endpoint: &Resource) -> Option<&str> {
    endpoint.text(&["spec", "interfaceName"]).filter(|name| !name.is_empty())
}

/// Whether an end is of the request's container, by its alias; without one, by the namespace that the other
/// side is in.
async fn is_containers(request: &Request<'_, impl Store>, end: &HostEnd) -> bool {
    let container = &request.names.container;
    if is_noted(end, container) || is_noted_for_another(end, container) {
        return is_noted(end, container);
    }
    let Some(inside) = &end.other_side else { return false };
    let there = kernel::host_end_of(&request.ask.call.netns, inside).await;
    there.ok().flatten().is_some_and(|there| there.index == end.index)
}

/// The interface of the request's container that an end belongs to, if it is another one than the request's.
async fn other_interface(request: &Request<'_, impl Store>, end: &HostEnd) -> Option<String> {
    let inside = end.other_side.as_ref().filter(|inside| **inside != request.ask.call.interface)?;
    is_containers(request, end).await.then(|| inside.clone())
}

/// Two interfaces on one network would share a handle, by which both are released at once. In Kubernetes the
/// endpoint is the pod: there is one.
async fn refuse_second(
    request: &Request<'_, impl Store>,
    other: &str,
    siblings: &[&Resource],
    routed: &[IpAddr],
) -> Result<(), CniError> {
    let (container, network, wanted) =
        (&request.names.container, request.ask.conf.name(), &request.ask.call.interface);
    if request.site.backend == Backend::Kubernetes {
        return Err(CniError::internal(format!(
            "container {container} is attached as {other} already, and cannot have {wanted}, too: in Kubernetes the record of a pod has room for one interface. Let another plugin make the second one"
        )));
    }
    let mut addresses: Vec<IpAddr> = siblings.iter().flat_map(|endpoint| networks(endpoint)).collect();
    addresses.extend(routed);
    let profile = Json::from(network);
    let names_network = |endpoint: &&Resource| {
        let profiles = endpoint.field(&["spec", "profiles"]).and_then(Json::as_array);
        request.ipam_type() != "calico-ipam" && profiles.is_some_and(|profiles| profiles.contains(&profile))
    };
    let held = holdings::of_container(request).await?;
    let is_held = addresses.iter().any(|addr| held.contains(addr)) || lead_elsewhere(request, &held).await?;
    if is_held || siblings.iter().any(names_network) {
        return Err(CniError::internal(format!(
            "container {container} is attached to network {network} as {other} already, and cannot have {wanted} on it, too: one interface a container and network. Detach {other} first, or give {wanted} a network of another name"
        )));
    }
    Ok(())
}

/// Whether the host routes one of the container's addresses to another interface of it than the request's:
/// its endpoint may be gone.
async fn lead_elsewhere(request: &Request<'_, impl Store>, addresses: &[IpAddr]) -> Result<bool, CniError> {
    let mut ends = kernel::host_ends_to(addresses).await.map_err(refused)?;
    ends.retain(|end| !is_noted_for_another(end, &request.names.container));
    if ends.is_empty() {
        return Ok(false);
    }
    let here = kernel::host_end_of(&request.ask.call.netns, &request.ask.call.interface).await;
    let here = here.map_err(refused)?.map(|end| end.index);
    Ok(ends.iter().any(|end| Some(end.index) != here))
}

/// Whether the request's interface is there as its endpoint says, and has its addresses still.
///
/// # Errors
/// Code 999: the kernel or the store does not say.
pub async fn is_attached(request: &Request<'_, impl Store>, endpoint: &Resource) -> Result<bool, CniError> {
    let addresses = networks(endpoint);
    let found = kernel::host_end_of(&request.ask.call.netns, &request.ask.call.interface).await;
    let is_wired = found.map_err(refused)?.is_some_and(|end| {
        !is_noted_for_another(&end, &request.names.container)
            && addresses.iter().all(|addr| end.addresses.contains(addr))
    });
    if !is_wired || addresses.is_empty() {
        return Ok(false);
    }
    Ok(request.ipam_type() != "calico-ipam" || holdings::are_containers(request, &addresses).await?)
}

/// Whose an end is that an ADD must not replace, in words: as the blocks say of the addresses that the host
/// routes to it. `None` for one of a former container of the same pod.
async fn another(request: &Request<'_, impl Store>, end: &HostEnd) -> Result<Option<String>, CniError> {
    Ok(match (holdings::of_others(request, &end.addresses).await?, &end.alias) {
        (Some((addr, holder)), _) => Some(format!("{addr} of {holder} is routed to it")),
        // What is no pod has no former container.
        (None, Some(alias)) if !request.names.is_pod() => Some(format!("it is container {alias}'s")),
        (None, _) => None,
    })
}

/// What of a container stays attached.
#[derive(Clone, Debug, Default)]
pub struct Left {
    /// Whether another interface of it does.
    pub is_attached: bool,
    /// The addresses of its other interfaces.
    pub addresses: Vec<IpAddr>,
}

/// Takes down what the request's interface is attached by, for its addresses are about to be given back.
/// `stored` is its endpoint. What is another's stays.
///
/// # Errors
/// Code 999: the kernel does not do it, or the store does not say whose it is.
pub async fn take_down(request: &Request<'_, impl Store>, stored: Option<&Stored>) -> Result<Left, CniError> {
    take_down_inside(request, stored).await?;
    let mut names = vec![request.names.host_interface.clone()];
    let mut workload = Workload::default();
    if request.site.backend != Backend::Kubernetes {
        names.push(request.names.further_interface());
        names.extend(own_name(request, stored).filter(|name| !names.contains(name)));
        if stored.is_none() {
            workload = endpoint::of_others(request).await?;
        }
    }
    let siblings = workload.siblings(&request.names.container);
    let mut left = Left::default();
    left.addresses.extend(siblings.iter().flat_map(|endpoint| networks(endpoint)));
    for name in names {
        let Some(end) = kernel::host_end(&name).await.map_err(refused)? else { continue };
        if !is_ours_to_take(request, &end, stored).await? {
            continue;
        }
        if is_of_other_interface(request, &end, stored, &siblings) {
            let line = format!("{name} is of another interface of {}, and stays", request.names.container);
            request.log.say(Level::Info, line);
            left.is_attached = true;
            left.addresses.extend(end.addresses);
            continue;
        }
        remove(request, &end).await?;
    }
    Ok(left)
}

/// By the container's side. A namespace that was made anew under the old path is another container's.
async fn take_down_inside(
    request: &Request<'_, impl Store>,
    stored: Option<&Stored>,
) -> Result<(), CniError> {
    if request.ask.call.netns.is_empty() {
        return Ok(());
    }
    let (netns, interface) = (&request.ask.call.netns, &request.ask.call.interface);
    // What is no side of a pair of the host's was made by somebody else.
    let found = kernel::host_end_of(netns, interface).await.map_err(refused)?;
    let Some(end) = found else { return Ok(()) };
    // Where neither an alias nor a record tells, the runtime's word is all there is.
    let is_unknown = end.alias.is_none()
        && request.ipam_type() != "calico-ipam"
        && addresses_of_container(request, stored).await?.is_empty();
    if is_unknown || is_ours_to_take(request, &end, stored).await? {
        return remove(request, &end).await;
    }
    Ok(())
}

/// Whether an end is of the request's container: by its alias; without one, by the addresses that the host
/// routes to it.
async fn is_ours_to_take(
    request: &Request<'_, impl Store>,
    end: &HostEnd,
    stored: Option<&Stored>,
) -> Result<bool, CniError> {
    let interface = &end.interface;
    let container = request.names.container.clone();
    let is_ours = is_noted(end, &container)
        || !is_noted_for_another(end, &container) && {
            let held = addresses_of_container(request, stored).await?;
            end.addresses.iter().any(|addr| held.contains(addr))
        };
    if !is_ours {
        let whose = match &end.alias {
            Some(alias) => format!("container {alias}'s"),
            None => "of nobody in particular, and no address of this container is routed to it".to_string(),
        };
        request.log.say(Level::Info, format!("{interface} is {whose}, and stays"));
    }
    Ok(is_ours)
}

/// Those of the container's endpoint. In Kubernetes an endpoint is what a pod says of itself.
fn addresses_of_endpoint(request: &Request<'_, impl Store>, stored: Option<&Stored>) -> Vec<IpAddr> {
    let stored = stored.filter(|(stored, _)| {
        request.site.backend != Backend::Kubernetes
            && stored.text(&["spec", "containerID"]) == Some(&request.names.container)
    });
    stored.map(|(stored, _)| networks(stored)).unwrap_or_default()
}

/// What is certain to be the container's.
async fn addresses_of_container(
    request: &Request<'_, impl Store>,
    stored: Option<&Stored>,
) -> Result<Vec<IpAddr>, CniError> {
    let mut addresses = holdings::of_container(request).await?;
    addresses.extend(addresses_of_endpoint(request, stored));
    // calico-ipam may have given them to a newer container of the pod since.
    if request.ipam_type() != "calico-ipam" {
        addresses.extend(addresses_told(request));
    }
    Ok(addresses)
}

/// What the runtime remembers of the interface.
fn addresses_told(request: &Request<'_, impl Store>) -> Vec<IpAddr> {
    let ips = request.ask.configuration.pointer("/prevResult/ips").and_then(Json::as_array);
    let texts = ips.into_iter().flatten().filter_map(|ip| ip["address"].as_str());
    texts.filter_map(|text| Some(api::Cidr::parse_unmasked(text).ok()?.1)).collect()
}

/// Whether an end of the request's container is of another interface than the request's: an ADD that was
/// refused is followed by a DEL, too.
fn is_of_other_interface(
    request: &Request<'_, impl Store>,
    end: &HostEnd,
    stored: Option<&Stored>,
    siblings: &[&Resource],
) -> bool {
    if request.site.backend != Backend::Kubernetes {
        if end.interface == request.names.further_interface() {
            return false;
        }
        if let Some(own) = own_name(request, stored) {
            return end.interface != own;
        }
        if siblings.iter().any(|other| interface_name(other) == Some(&end.interface)) {
            return true;
        }
    } else if request.ask.call.interface == POD_INTERFACE {
        // The one that every pod has, whatever the pod has made of its name.
        return false;
    }
    let told = request.ask.configuration.pointer("/prevResult/interfaces").and_then(Json::as_array);
    let is_told = told.into_iter().flatten().any(|interface| interface["name"] == end.interface.as_str());
    let Some(inside) = end.other_side.as_ref().filter(|_| !is_told) else { return false };
    // There a pod has one interface. The container may have given it another name; who calls it as pods' are
    // called has been refused another one.
    if request.site.backend == Backend::Kubernetes && is_noted(end, &request.names.container) {
        return inside == POD_INTERFACE;
    }
    *inside != request.ask.call.interface
}

/// What the interface of a pod is called in Kubernetes.
const POD_INTERFACE: &str = "eth0";

/// Deletes an end.
///
/// # Errors
/// Code 999: the kernel does not do it.
pub async fn remove(request: &Request<'_, impl Store>, end: &HostEnd) -> Result<(), CniError> {
    if kernel::remove(end).await.map_err(refused)? {
        request.log.say(Level::Info, format!("deleted {} of the host", end.interface));
    }
    Ok(())
}

/// Takes down whatever the host still routes the addresses to that are about to be given back, whatever its
/// name: the name may have changed since, or the runtime may say less of the container than it did.
///
/// # Errors
/// Code 999: the kernel or the store does not do it, or the end is not this container's to take. The
/// addresses are to be kept then.
pub async fn cut_off(request: &Request<'_, impl Store>, stored: Option<&Stored>) -> Result<(), CniError> {
    let of_endpoint = addresses_of_endpoint(request, stored);
    // What is on no record of this container's, as that of a virtual machine, may be another's by now; there
    // the alias alone tells.
    let mut told = addresses_told(request);
    let held = match request.ipam_type() {
        "calico-ipam" => {
            told.extend(of_endpoint);
            holdings::of_container(request).await?
        }
        _ => of_endpoint,
    };
    let is_held = |addr: &IpAddr| held.contains(addr);
    for end in kernel::host_ends_to(&[held.as_slice(), &told].concat()).await.map_err(refused)? {
        let container = &request.names.container;
        // Without an alias, by the block's word: all that is routed there is this container's.
        let is_all_held = !is_noted_for_another(&end, container) && end.addresses.iter().all(is_held);
        if is_noted(&end, container) || is_all_held {
            remove(request, &end).await?;
            continue;
        }
        if !end.addresses.iter().any(is_held) {
            continue;
        }
        let (name, led) = (&end.interface, end.addresses.iter().filter(|addr| is_held(addr)));
        let led = led.map(IpAddr::to_string).collect::<Vec<_>>().join(", ");
        let whose = match &end.alias {
            Some(alias) => format!("is noted as container {alias}'s"),
            None => "has addresses of others, too".to_string(),
        };
        return Err(CniError::internal(format!(
            "{led} of container {} is not given back: the host still routes it to {name}, which {whose}. See what it is (ip -d link show {name}); if nobody needs it, delete it (ip link delete {name}), and detach again",
            request.names.container
        )));
    }
    Ok(())
}

/// Whether an end's alias says that it is that container's.
fn is_noted(end: &HostEnd, container: &str) -> bool {
    end.alias.as_deref() == Some(&*names::alias(container))
}

/// Whether an end's alias says that it is another container's. What can be no container's ID was written by
/// somebody else, and says nothing.
pub fn is_noted_for_another(end: &HostEnd, container: &str) -> bool {
    let is_id = |id: &String| id.bytes().all(|byte| byte.is_ascii_graphic());
    end.alias.as_ref().is_some_and(is_id) && !is_noted(end, container)
}

/// Takes down what an ADD that failed has left of an earlier one of the same interface, before their
/// addresses are given back. `given` are those that it was given itself: to what end of others the host
/// routes one of these was so before.
///
/// # Errors
/// Code 999: the kernel does not do it, or what is left is not to be taken.
pub async fn take_back(request: &Request<'_, impl Store>, given: &[IpAddr]) -> Result<(), CniError> {
    let found = kernel::host_end(&request.names.host_interface).await.map_err(refused)?;
    if let Some(end) = found
        && (is_noted(&end, &request.names.container)
            || !end.addresses.iter().any(|addr| given.contains(addr)))
        && is_ours_to_take(request, &end, None).await?
    {
        remove(request, &end).await?;
    }
    let held = holdings::of_container(request).await?;
    for end in kernel::host_ends_to(&held).await.map_err(refused)? {
        if is_containers(request, &end).await {
            remove(request, &end).await?;
        } else if end.addresses.iter().any(|addr| held.contains(addr) && !given.contains(addr)) {
            return Err(CniError::internal(format!("the host still routes one to {}", end.interface)));
        }
    }
    Ok(())
}
