//! ADD: attaches a container.

use std::net::IpAddr;
use std::path::PathBuf;

use api::Cidr;
use cni::log::Level;
use cni::{CniError, answer, netns};
use dataplane::{Device, Mac, Wiring};
use ipam::{ReleaseIp, ReleaseIps};
use serde_json::Value as Json;

use crate::annotations::{Annotations, Pools, Source, floating};
use crate::delegate::{Delegate, Given};
use crate::endpoint::{self, Facts, Real, Stored};
use crate::gates;
use crate::host_local;
use crate::request::{Request, WITHIN};
use crate::result::{self, Made};

/// Serves the request; gives the text of the result. When it fails, nothing that it did stays.
///
/// # Errors
/// Code 8 for the plugin's own network namespace, before anything is done; the IPAM plugin's errors as they are; code 999 for everything else.
pub fn add(request: &mut Request<'_>) -> Result<String, CniError> {
    netns::check(request.call)?;
    let mtu = request.mtu()?;
    request.refuse_while_locked()?;
    gates::wait(request)?;
    let made = match request.names.is_pod() {
        true => pod(request, mtu)?,
        false => container(request, mtu)?,
    };
    Ok(answer::text(&result::to_json(&request.version, &made)?))
}

/// A pod of Kubernetes. Whatever endpoint there is of an earlier container of it is taken over; that container's addresses are released by its own DEL.
fn pod(request: &mut Request<'_>, mtu: u32) -> Result<Made, CniError> {
    let described = request.pod_and_namespace()?;
    let nothing = Json::Null;
    let (pod, namespace) =
        described.as_ref().map_or((&nothing, &nothing), |(pod, namespace)| (pod, namespace));
    let (pod_says, namespace_says) = (Annotations::of(pod), Annotations::of(namespace));

    let mut configuration = request.configuration.clone();
    let wrong = |reason: String| CniError::internal(reason);
    let mut routes = Vec::new();
    match request.ipam_type() {
        "calico-ipam" => {
            let pools = Pools::of(pod_says, namespace_says).map_err(wrong)?;
            if !pools.is_empty() {
                pools.apply(&mut configuration).map_err(wrong)?;
            }
        }
        "host-local" => {
            if host_local::asks_for_pod_cidrs(&configuration) {
                let (node, cidrs) = pod_cidrs(request)?;
                host_local::fill_in(&mut configuration, &node, &cidrs).map_err(wrong)?;
            }
            let with_default = request.conf.flag(&["include_default_routes"]);
            routes = host_local::routes(&configuration, with_default).map_err(wrong)?;
        }
        _ => {}
    }
    let may = |feature: &str| request.conf.flag(&["feature_control", feature]);
    let source = Source::of(pod_says, request.ipam_type(), may("ip_addrs_no_ipam")).map_err(wrong)?;
    let floating = floating(pod_says, may("floating_ips")).map_err(wrong)?;
    let mac = pod_says.get("hwAddr").map(parse_mac).transpose().map_err(wrong)?;
    let (base, revision) = match &described {
        Some((pod, _)) => {
            let (base, revision) = endpoint::of_pod(request, pod)?;
            (base, Some(revision))
        }
        None => undescribed(request)?,
    };

    let environment = request.environment.clone();
    let delegate = Delegate::find(request.ipam_type(), &environment)?;
    let args = request.environment.get("CNI_ARGS").unwrap_or_default().to_string();
    let given = match &source {
        Source::Chosen => delegate.add(&configuration, &args)?,
        Source::Fixed(addresses) => Given { addresses: addresses.clone(), ..Given::default() },
        Source::Named(addresses) => {
            release_former(request)?;
            named(&delegate, &configuration, &args, addresses)?
        }
    };
    let work = Work { delegate: &delegate, configuration: &configuration, args: &args };
    let keeps_record = !matches!(source, Source::Fixed(_));
    let work = keeps_record.then_some(work);
    // An address that migrates is still another host's.
    let is_migrating =
        source == Source::Chosen && request.ipam_type() == "calico-ipam" && given.routes.is_empty();
    let plan = Plan { base, revision, given, routes, mac, floating, mtu, want_host_routes: !is_migrating };
    attach(request, plan, work)
}

/// What is no pod of Kubernetes.
fn container(request: &mut Request<'_>, mtu: u32) -> Result<Made, CniError> {
    if request.conf.flag(&["feature_control", "ip_addrs_no_ipam"]) {
        let msg = "requested feature is not supported for this runtime: ip_addrs_no_ipam";
        return Err(CniError::internal(msg));
    }
    if let Some(stored) = endpoint::stored(request)? {
        return another_network(request, stored);
    }
    let configuration = request.configuration.clone();
    let environment = request.environment.clone();
    let delegate = Delegate::find(request.ipam_type(), &environment)?;
    let args = request.environment.get("CNI_ARGS").unwrap_or_default().to_string();
    let given = delegate.add(&configuration, &args)?;
    let work = Work { delegate: &delegate, configuration: &configuration, args: &args };
    let plan = Plan {
        base: endpoint::plain(request),
        revision: None,
        given,
        routes: Vec::new(),
        mac: None,
        floating: Vec::new(),
        mtu,
        want_host_routes: true,
    };
    attach(request, plan, Some(work))
}

/// A container that is attached already joins another network: it keeps its address and gets the network's profile.
fn another_network(request: &mut Request<'_>, (stored, revision): Stored) -> Result<Made, CniError> {
    let network: Json = request.conf.name().into();
    let joined = stored.with(|_, body| {
        let profiles =
            body.get_mut("spec").and_then(|spec| spec.get_mut("profiles")).and_then(Json::as_array_mut);
        if let Some(profiles) = profiles.filter(|profiles| !profiles.contains(&network)) {
            profiles.push(network.clone());
        }
    });
    if joined != stored {
        endpoint::store(request, &joined, Some(revision))?;
    }
    let text = |field: &str| stored.text(&["spec", field]).unwrap_or_default().to_string();
    Ok(Made {
        host_interface: text("interfaceName"),
        container_interface: request.call.interface.clone(),
        mac: text("mac"),
        mtu: 0,
        sandbox: request.call.netns.clone(),
        addresses: networks(&stored),
        ..Made::default()
    })
}

/// The addresses of an endpoint.
pub fn networks(endpoint: &api::Resource) -> Vec<IpAddr> {
    let listed = endpoint.field(&["spec", "ipNetworks"]).and_then(Json::as_array);
    let texts = listed.into_iter().flatten().filter_map(Json::as_str);
    texts.filter_map(|text| Cidr::parse_unmasked(text).ok()).map(|(_, addr)| addr).collect()
}

/// A delegate's work, to be taken back.
#[derive(Clone, Copy)]
struct Work<'a> {
    delegate: &'a Delegate<'a>,
    configuration: &'a Json,
    args: &'a str,
}

/// What is to be made.
struct Plan {
    /// The endpoint as it is known before.
    base: api::Resource,
    /// Of the pod, in Kubernetes.
    revision: Option<api::Revision>,
    given: Given,
    routes: Vec<ipnet::IpNet>,
    mac: Option<Mac>,
    floating: Vec<String>,
    mtu: u32,
    want_host_routes: bool,
}

/// Makes the interfaces and stores the endpoint; takes everything back where one of it fails.
fn attach(request: &mut Request<'_>, plan: Plan, work: Option<Work<'_>>) -> Result<Made, CniError> {
    let made = wire_and_tell(request, &plan);
    if let (Err(_), Some(work)) = (&made, work)
        && let Err(error) = work.delegate.del(work.configuration, work.args)
    {
        let line = format!("the IPAM plugin does not take back {:?}: {}", plan.given.addresses, error.msg);
        request.log.say(Level::Error, line);
    }
    made
}

fn wire_and_tell(request: &mut Request<'_>, plan: &Plan) -> Result<Made, CniError> {
    if plan.given.addresses.is_empty() {
        return Err(CniError::internal("IPAM plugin returned missing IP config"));
    }
    let wiring = Wiring {
        addresses: plan.given.addresses.clone(),
        mtu: plan.mtu,
        mac: plan.mac,
        queues: u32::try_from(request.conf.number(&["num_queues"])).unwrap_or_default().max(1),
        routes: plan.routes.clone(),
        ip_forward: request.conf.flag(&["container_settings", "allow_ip_forwarding"]),
        want_host_routes: plan.want_host_routes,
        device: device(request)?,
        ..Wiring::new(
            &request.names.host_interface,
            &request.call.interface,
            PathBuf::from(&request.call.netns),
        )
    };
    let attached = dataplane::attach(&wiring).map_err(CniError::internal)?;
    for warning in &attached.warnings {
        request.log.say(Level::Error, warning);
    }
    let facts = Facts {
        addresses: plan.given.addresses.clone(),
        mac: attached.mac.to_string(),
        floating: plan.floating.clone(),
    };
    let endpoint = endpoint::with_facts(request, &plan.base, &facts);
    if let Err(error) = endpoint::store(request, &endpoint, plan.revision.clone()) {
        let (container, host) = (&wiring.container_interface, Some(wiring.host_interface.as_str()));
        if let Err(then) = dataplane::detach(&wiring.netns, container, host, dataplane::DETACH_LIMIT) {
            request.log.say(Level::Error, format!("the interfaces stay behind: {then}"));
        }
        return Err(error);
    }
    request
        .log
        .say(Level::Info, format!("attached {} as {}", request.call.container, request.names.endpoint));
    Ok(Made {
        host_interface: wiring.host_interface,
        container_interface: wiring.container_interface,
        mac: facts.mac,
        mtu: plan.mtu,
        sandbox: request.call.netns.clone(),
        addresses: facts.addresses,
        routes: plan.given.routes.clone(),
        dns: plan.given.dns.clone(),
    })
}

fn device(request: &Request<'_>) -> Result<Device, CniError> {
    match request.conf.text(&["device_type"]) {
        None | Some("veth") => Ok(Device::Veth),
        Some("netkit") => Ok(Device::Netkit),
        Some(other) => Err(CniError::internal(format!("device_type {other:?} is neither veth nor netkit"))),
    }
}

/// A pod that Kubernetes is not asked for: its endpoint, where its record has one.
fn undescribed(request: &Request<'_>) -> Result<(api::Resource, Option<api::Revision>), CniError> {
    Ok(match endpoint::stored(request)? {
        Some((stored, revision)) => (stored, Some(revision)),
        None => (endpoint::plain(request), None),
    })
}

/// The IPAM plugin is called once for each address; what it gave is taken back where it refuses a later one.
fn named(
    delegate: &Delegate<'_>,
    configuration: &Json,
    args: &str,
    addresses: &[IpAddr],
) -> Result<Given, CniError> {
    let mut given = Given::default();
    for addr in addresses {
        let one = delegate.add(configuration, &format!("{args};IP={addr}"));
        let one = one.and_then(|one| match one.addresses.first() {
            Some(first) => Ok(*first),
            None => Err(CniError::internal("IPAM plugin returned missing IP config")),
        });
        match one {
            Ok(first) => given.addresses.push(first),
            Err(error) => {
                if !given.addresses.is_empty() {
                    // The error that counts is the one before.
                    let _ = delegate.del(configuration, args);
                }
                let msg = format!("error getting IP from IPAM: {}", error.msg);
                return Err(CniError { msg, ..error });
            }
        }
    }
    Ok(given)
}

/// Releases the addresses of the pod's former container: the same ones are asked for again, and it may still hold them.
fn release_former(request: &mut Request<'_>) -> Result<(), CniError> {
    let Some((former, _)) = endpoint::stored(request)? else { return Ok(()) };
    let handle = former
        .text(&["spec", "containerID"])
        .and_then(|container| api::HandleId::new(&format!("{}.{container}", request.conf.name())));
    let Some(handle) = handle else { return Ok(()) };
    let handle = Some(handle.as_str().to_string());
    let release = |addr| ReleaseIp { addr, handle: handle.clone(), sequence: None };
    let addresses: Vec<_> = networks(&former).into_iter().map(release).collect();
    if addresses.is_empty() {
        return Ok(());
    }
    let effects = Real(request.clock);
    let planner = ReleaseIps::new(addresses);
    let released = request.wait_for(ipam::run(&request.store, &effects, planner, WITHIN));
    let released =
        released.map_err(|error| CniError::internal(format!("failed to release ipAddrs: {error}")))?;
    for addr in released.released {
        request.log.say(Level::Info, format!("released {addr} of the pod's former container"));
    }
    Ok(())
}

/// The node and its pod CIDRs.
fn pod_cidrs(request: &Request<'_>) -> Result<(String, Vec<Cidr>), CniError> {
    let node = request.names.ids.node.clone();
    let found = request.node()?;
    let listed = found.field(&["status", "podCIDRs"]).and_then(Json::as_array);
    let texts = listed.into_iter().flatten().filter_map(Json::as_str);
    Ok((node, texts.filter_map(|text| text.parse().ok()).collect()))
}

fn parse_mac(text: &str) -> Result<Mac, String> {
    let wrong = || format!("address {text}: invalid MAC address");
    let mut mac = [0; 6];
    let mut parts = text.split([':', '-']);
    for byte in &mut mac {
        let part = parts.next().filter(|part| part.len() == 2).ok_or_else(wrong)?;
        *byte = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
    }
    if parts.next().is_some() { Err(wrong()) } else { Ok(Mac(mac)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses() {
        assert_eq!(parse_mac("1c:0c:0a:c0:ff:ee"), Ok(Mac([0x1c, 0x0c, 0x0a, 0xc0, 0xff, 0xee])));
        assert_eq!(parse_mac("1C-0C-0A-C0-FF-EE"), Ok(Mac([0x1c, 0x0c, 0x0a, 0xc0, 0xff, 0xee])));
        for wrong in ["", "1c:0c:0a:c0:ff", "1c:0c:0a:c0:ff:ee:00", "zz:0c:0a:c0:ff:ee", "1:0c:0a:c0:ff:ee"] {
            assert!(parse_mac(wrong).is_err(), "{wrong}");
        }
    }
}
