//! Finds out which container an interface on the host belongs to: the host's end of a pair.
//!
//! An end is found by its name, but the name alone proves nothing. A pod's next container has the same name,
//! a container's second interface has a name with the same beginning, and names that are cut or hashed can be
//! equal. The proof is the alias, which ADD sets to the container's ID. Ends that Calico made have no alias:
//! for these, the namespace of the other side decides, or the addresses that the host routes to the end.

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

fn kernel_error(error: impl std::fmt::Display) -> CniError {
    CniError::internal(error)
}

/// Finds a name for the host's end of the pair that an ADD is to make, and the pair that it replaces. Changes
/// nothing yet.
///
/// # Errors
/// Code 999 where another interface of the container would get in the way, or the name is another
/// container's.
pub async fn place(request: &mut Request<'_, impl Store>, workload: &Workload) -> Result<Replaces, CniError> {
    let first = request.names.host_interface.clone();
    if let Some(name) = own_name(request, workload.exact.as_ref()) {
        request.names.host_interface = name;
    } else {
        let found = kernel::host_end(&first).await.map_err(kernel_error)?;
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
        let Some(end) = kernel::host_end(&request.names.host_interface).await.map_err(kernel_error)? else {
            return Ok(Replaces::None);
        };
        let holder = if is_containers(request, &end).await { None } else { another(request, &end).await? };
        let Some(holder) = holder else { return Ok(Replaces::Index(end.index)) };
        let further = request.names.further_interface();
        // Only the names of pods' ends are unique. The name of another container's end is the beginning of
        // the container's ID, and another ID may have the same beginning.
        if request.names.is_pod() || end.interface == further {
            // The error appears in the pod's events, where a tenant reads it. The tenant must not learn of
            // other pods, so their names go only to the log.
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

/// The name of the host's end of the request's own interface, as the store has it.
fn own_name(request: &Request<'_, impl Store>, stored: Option<&Stored>) -> Option<String> {
    // In Kubernetes the name is not stored, but computed from the pod's name.
    let (stored, _) = stored.filter(|_| request.site.backend != Backend::Kubernetes)?;
    let is_own = !endpoint::is_of_another(stored, &request.names.container);
    interface_name(stored).filter(|_| is_own).map(str::to_string)
}

fn interface_name(endpoint: &Resource) -> Option<&str> {
    endpoint.text(&["spec", "interfaceName"]).filter(|name| !name.is_empty())
}

/// Whether an end belongs to the request's container: by the end's alias, or without an alias by the
/// namespace of the other side.
async fn is_containers(request: &Request<'_, impl Store>, end: &HostEnd) -> bool {
    let container = &request.names.container;
    if is_noted(end, container) || is_noted_for_another(end, container) {
        return is_noted(end, container);
    }
    let Some(inside) = &end.other_side else { return false };
    let there = kernel::host_end_of(&request.ask.call.netns, inside).await;
    there.ok().flatten().is_some_and(|there| there.index == end.index)
}

/// The name of the container's other interface to which an end belongs; `None` where the end belongs to the
/// request's interface.
async fn other_interface(request: &Request<'_, impl Store>, end: &HostEnd) -> Option<String> {
    let inside = end.other_side.as_ref().filter(|inside| **inside != request.ask.call.interface)?;
    is_containers(request, end).await.then(|| inside.clone())
}

/// Refuses a second interface on the same network: both would share a handle, and releasing one would release
/// the other, too. In Kubernetes every second interface is refused, since the endpoint is a part of the pod
/// and there is only one.
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

/// Whether the host routes one of the container's addresses to another interface of the container than the
/// request's. The other interface's endpoint may be gone.
async fn lead_elsewhere(request: &Request<'_, impl Store>, addresses: &[IpAddr]) -> Result<bool, CniError> {
    let mut ends = kernel::host_ends_to(addresses).await.map_err(kernel_error)?;
    ends.retain(|end| !is_noted_for_another(end, &request.names.container));
    if ends.is_empty() {
        return Ok(false);
    }
    let here = kernel::host_end_of(&request.ask.call.netns, &request.ask.call.interface).await;
    let here = here.map_err(kernel_error)?.map(|end| end.index);
    Ok(ends.iter().any(|end| Some(end.index) != here))
}

/// Whether the request's interface exists as its endpoint says, and still has its addresses.
///
/// # Errors
/// Code 999 where the kernel or the store gives no answer.
pub async fn is_attached(request: &Request<'_, impl Store>, endpoint: &Resource) -> Result<bool, CniError> {
    let addresses = networks(endpoint);
    let found = kernel::host_end_of(&request.ask.call.netns, &request.ask.call.interface).await;
    let is_wired = found.map_err(kernel_error)?.is_some_and(|end| {
        !is_noted_for_another(&end, &request.names.container)
            && addresses.iter().all(|addr| end.addresses.contains(addr))
    });
    if !is_wired || addresses.is_empty() {
        return Ok(false);
    }
    Ok(request.ipam_type() != "calico-ipam" || holdings::are_containers(request, &addresses).await?)
}

/// The owner of an end that an ADD must not replace, in words: by the blocks of the addresses that the host
/// routes to the end. `None` where the end belongs to a former container of the same pod.
async fn another(request: &Request<'_, impl Store>, end: &HostEnd) -> Result<Option<String>, CniError> {
    Ok(match (holdings::of_others(request, &end.addresses).await?, &end.alias) {
        (Some((addr, holder)), _) => Some(format!("{addr} of {holder} is routed to it")),
        // A container that is no pod has no former container, so an alias names another one.
        (None, Some(alias)) if !request.names.is_pod() => Some(format!("it is container {alias}'s")),
        (None, _) => None,
    })
}

/// What stays attached of a container when one of its interfaces is taken down.
#[derive(Clone, Debug, Default)]
pub struct Left {
    /// Whether another interface of the container stays attached.
    pub is_attached: bool,
    /// The addresses of the container's other interfaces.
    pub addresses: Vec<IpAddr>,
}

/// Takes down the interface of the request, because its addresses are about to be given back. `stored` is its
/// endpoint. An interface of another container stays.
///
/// # Errors
/// Code 999 where the kernel fails, or the store does not tell whose the interface is.
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
        let Some(end) = kernel::host_end(&name).await.map_err(kernel_error)? else { continue };
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

/// Takes the interface down from the container's side. The path may name a new namespace of another container
/// by now, so the end's owner is checked.
async fn take_down_inside(
    request: &Request<'_, impl Store>,
    stored: Option<&Stored>,
) -> Result<(), CniError> {
    if request.ask.call.netns.is_empty() {
        return Ok(());
    }
    let (netns, interface) = (&request.ask.call.netns, &request.ask.call.interface);
    // An interface that is no side of a pair with the host was made by another program.
    let found = kernel::host_end_of(netns, interface).await.map_err(kernel_error)?;
    let Some(end) = found else { return Ok(()) };
    // Where neither an alias nor a record tells whose the end is, the runtime's call is believed.
    let is_unknown = end.alias.is_none()
        && request.ipam_type() != "calico-ipam"
        && addresses_of_container(request, stored).await?.is_empty();
    if is_unknown || is_ours_to_take(request, &end, stored).await? {
        return remove(request, &end).await;
    }
    Ok(())
}

/// Whether an end belongs to the request's container: by its alias, or without an alias by the addresses that
/// the host routes to it.
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

/// The addresses in the container's endpoint. None in Kubernetes, where an endpoint is what a pod says about
/// itself.
fn addresses_of_endpoint(request: &Request<'_, impl Store>, stored: Option<&Stored>) -> Vec<IpAddr> {
    let stored = stored.filter(|(stored, _)| {
        request.site.backend != Backend::Kubernetes
            && stored.text(&["spec", "containerID"]) == Some(&request.names.container)
    });
    stored.map(|(stored, _)| networks(stored)).unwrap_or_default()
}

/// The addresses that certainly belong to the container.
async fn addresses_of_container(
    request: &Request<'_, impl Store>,
    stored: Option<&Stored>,
) -> Result<Vec<IpAddr>, CniError> {
    let mut addresses = holdings::of_container(request).await?;
    addresses.extend(addresses_of_endpoint(request, stored));
    // With calico-ipam, the addresses that the runtime remembers may belong to a newer container of the pod
    // by now.
    if request.ipam_type() != "calico-ipam" {
        addresses.extend(addresses_told(request));
    }
    Ok(addresses)
}

/// The addresses that the runtime remembers of the interface, from `prevResult`.
fn addresses_told(request: &Request<'_, impl Store>) -> Vec<IpAddr> {
    let ips = request.ask.configuration.pointer("/prevResult/ips").and_then(Json::as_array);
    let texts = ips.into_iter().flatten().filter_map(|ip| ip["address"].as_str());
    texts.filter_map(|text| Some(api::Cidr::parse_unmasked(text).ok()?.1)).collect()
}

/// Whether an end belongs to another interface of the request's container than the request's. That happens
/// when the runtime calls DEL after a refused ADD of a second interface.
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
        // This is the interface that every pod has. The container may have renamed it, so its name is not
        // compared.
        return false;
    }
    let told = request.ask.configuration.pointer("/prevResult/interfaces").and_then(Json::as_array);
    let is_told = told.into_iter().flatten().any(|interface| interface["name"] == end.interface.as_str());
    let Some(inside) = end.other_side.as_ref().filter(|_| !is_told) else { return false };
    // In Kubernetes a pod has one attached interface, which the container may have renamed. If the request
    // calls its interface by another name than pods' usual one, it was refused as a second one.
    if request.site.backend == Backend::Kubernetes && is_noted(end, &request.names.container) {
        return inside == POD_INTERFACE;
    }
    *inside != request.ask.call.interface
}

/// The usual name of a pod's interface in Kubernetes.
const POD_INTERFACE: &str = "eth0";

/// Deletes an end, and with it the pair.
///
/// # Errors
/// Code 999 where the kernel fails.
pub async fn remove(request: &Request<'_, impl Store>, end: &HostEnd) -> Result<(), CniError> {
    if kernel::remove(end).await.map_err(kernel_error)? {
        request.log.say(Level::Info, format!("deleted {} of the host", end.interface));
    }
    Ok(())
}

/// Takes down every interface to which the host still routes addresses that are about to be given back,
/// whatever the interface's name. The name may have changed, and the runtime may know less of the container
/// than it did.
///
/// # Errors
/// Code 999 where the kernel or the store fails, or the interface belongs to another container. The addresses
/// must then be kept.
pub async fn cut_off(request: &Request<'_, impl Store>, stored: Option<&Stored>) -> Result<(), CniError> {
    let of_endpoint = addresses_of_endpoint(request, stored);
    // An address that is in no record of this container, such as a virtual machine's, may be another's by
    // now. For such an address only the alias decides.
    let mut told = addresses_told(request);
    let held = match request.ipam_type() {
        "calico-ipam" => {
            told.extend(of_endpoint);
            holdings::of_container(request).await?
        }
        _ => of_endpoint,
    };
    let is_held = |addr: &IpAddr| held.contains(addr);
    for end in kernel::host_ends_to(&[held.as_slice(), &told].concat()).await.map_err(kernel_error)? {
        let container = &request.names.container;
        // Without an alias the blocks decide: every address that is routed to the end must be this
        // container's.
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

/// Whether an end's alias names that container.
fn is_noted(end: &HostEnd, container: &str) -> bool {
    end.alias.as_deref() == Some(&*names::alias(container))
}

/// Whether an end's alias names another container. An alias that cannot be a container's ID was set by
/// another program, and counts for nothing.
pub fn is_noted_for_another(end: &HostEnd, container: &str) -> bool {
    let is_id = |id: &String| id.bytes().all(|byte| byte.is_ascii_graphic());
    end.alias.as_ref().is_some_and(is_id) && !is_noted(end, container)
}

/// After a failed ADD, takes down what an earlier ADD of the same interface has left, before the addresses of
/// both are given back. `given` are the addresses of the failed ADD. If the host routes one of those to
/// another container's end, it did so before this ADD, and the end stays.
///
/// # Errors
/// Code 999 where the kernel fails, or an end that is left belongs to another container.
pub async fn take_back(request: &Request<'_, impl Store>, given: &[IpAddr]) -> Result<(), CniError> {
    let found = kernel::host_end(&request.names.host_interface).await.map_err(kernel_error)?;
    if let Some(end) = found
        && (is_noted(&end, &request.names.container)
            || !end.addresses.iter().any(|addr| given.contains(addr)))
        && is_ours_to_take(request, &end, None).await?
    {
        remove(request, &end).await?;
    }
    let held = holdings::of_container(request).await?;
    for end in kernel::host_ends_to(&held).await.map_err(kernel_error)? {
        if is_containers(request, &end).await {
            remove(request, &end).await?;
        } else if end.addresses.iter().any(|addr| held.contains(addr) && !given.contains(addr)) {
            return Err(CniError::internal(format!("the host still routes one to {}", end.interface)));
        }
    }
    Ok(())
}
