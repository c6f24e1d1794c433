//! ADD: attaches a container.

use std::net::IpAddr;
use std::path::PathBuf;

use api::Cidr;
use api::capability::Backend;
use cni::args::Args;
use cni::log::Level;
use cni::{CniError, answer, netns};
use dataplane::{Device, Mac, Replaces, Wiring};
use serde_json::Value as Json;
use store::ReadSet;

use crate::annotations::{Annotations, Pools, Source, check_source_prefixes, hardware_address, unused};
use crate::asked;
use crate::delegate::{Delegate, Given};
use crate::endpoint::{self, Facts, Stored, Workload};
use crate::floating::{Nat, floating, targets};
use crate::foreign;
use crate::gates;
use crate::holdings;
use crate::host_local;
use crate::names;
use crate::profile;
use crate::request::Request;
use crate::result::{self, Made};
use crate::wait;
use crate::wire;

const NO_ADDRESS: &str = "IPAM plugin returned missing IP config";

/// Serves the request; gives the text of the result. When it fails, nothing that it did stays.
///
/// # Errors
/// Code 8 for the plugin's own network namespace, before anything is done; the IPAM plugin's errors as they are; code 999 for everything else.
pub fn add(request: &mut Request<'_>) -> Result<String, CniError> {
    netns::check(request.call)?;
    foreign::refuse(&request.conf)?;
    let mtu = request.mtu()?;
    let profile = profile::wanted(request)?;
    let besides = profile.iter().fold(ReadSet::new(), |set, profile| set.key(profile.key()));
    let view = request.refuse_while_locked_and_read(besides)?;
    gates::wait(request)?;
    if let Some(profile) = profile.filter(|profile| view.resource(&profile.key()).flatten().is_none()) {
        profile::create(request, &profile)?;
    }
    let made = match request.names.is_pod() {
        true => pod(request, mtu)?,
        false => container(request, mtu)?,
    };
    Ok(answer::text(&result::to_json(&request.version, &made)?))
}

/// A pod of Kubernetes. Whatever endpoint there is of an earlier container of it is taken over; that container's addresses are released by its own DEL.
fn pod(request: &mut Request<'_>, mtu: u32) -> Result<Made, CniError> {
    let wrong = |reason: String| CniError::internal(reason);
    let patience = wait::patience(&request.conf)?;
    let device = device(request)?;
    let described = request.pod_and_namespace()?;
    let nothing = Json::Null;
    let (pod, namespace) =
        described.as_ref().map_or((&nothing, &nothing), |(pod, namespace)| (pod, namespace));
    let (pod_says, namespace_says) = (Annotations::of(pod), Annotations::of(namespace));

    let mut configuration = request.configuration.clone();
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
    let mut source = Source::of(pod_says, request.ipam_type(), may("ip_addrs_no_ipam")).map_err(wrong)?;
    let asked = asked::addresses(&request.configuration, request.ipam_type()).map_err(wrong)?;
    if source == Source::Chosen && !asked.is_empty() {
        source = Source::Named(asked);
    }
    let floating = floating(pod_says, may("floating_ips")).map_err(wrong)?;
    check_source_prefixes(pod_says).map_err(wrong)?;
    let mac = match hardware_address(pod_says).map_err(wrong)? {
        Some(mac) => Some(mac),
        None => wanted_mac(request)?,
    };
    for name in unused(pod_says, namespace_says, request.ipam_type()) {
        let line = format!("{name} changes nothing: ipam.type is {}, not calico-ipam", request.ipam_type());
        request.log.say(Level::Error, line);
    }
    holdings::refuse_others(request, "floatingIPs", &floating)?;

    let (base, revision, replaces) = known(request, described.is_some().then_some(pod))?;
    let ipam = Ipam { delegate: Delegate::find(request.ipam_type(), &request.environment)?, configuration };
    let given = match &source {
        Source::Chosen => ipam.add(request)?,
        Source::Fixed(addresses) => {
            holdings::refuse_others(request, "ipAddrsNoIpam", addresses)?;
            Given { addresses: addresses.clone(), ..Given::default() }
        }
        Source::Named(addresses) => {
            holdings::release_former(request, addresses)?;
            ipam.add_named(request, addresses)?
        }
    };
    // An address that migrates is still another host's.
    let is_migrating =
        source == Source::Chosen && request.ipam_type() == "calico-ipam" && given.routes.is_empty();
    let nats = targets(pod_says, &floating, &given.addresses);
    let want_host_routes = !is_migrating;
    let plan = Plan { base, revision, routes, mac, nats, mtu, device, want_host_routes, replaces };
    // Addresses that are on nobody's record need not be taken back.
    let keeps_record = !matches!(source, Source::Fixed(_));
    let made = attach(request, &plan, given, keeps_record.then_some(&ipam))?;
    if let Some(patience) = patience {
        wait::for_policy(request, patience);
    }
    Ok(made)
}

/// What is known of a pod's endpoint, the revision of what is stored of it, and which pair it replaces.
fn known(
    request: &mut Request<'_>,
    described: Option<&Json>,
) -> Result<(api::Resource, Option<api::Revision>, Replaces), CniError> {
    let described = described.map(|pod| endpoint::of_pod(request, pod)).transpose()?;
    // There the pod is the endpoint.
    if let (Backend::Kubernetes, Some((pod, revision))) = (request.backend, &described) {
        let replaces = wire::place(request, &Workload::default())?;
        return Ok((pod.clone(), Some(revision.clone()), replaces));
    }
    let workload = endpoint::of_workload(request)?;
    let replaces = wire::place(request, &workload)?;
    let (former, revision) = workload.exact.unzip();
    let base = match described.map(|(pod, _)| pod).or(former) {
        Some(known) => known,
        None => endpoint::plain(request),
    };
    Ok((base, revision, replaces))
}

/// What is no pod of Kubernetes.
fn container(request: &mut Request<'_>, mtu: u32) -> Result<Made, CniError> {
    if request.conf.flag(&["feature_control", "ip_addrs_no_ipam"]) {
        let msg = "requested feature is not supported for this runtime: ip_addrs_no_ipam";
        return Err(CniError::internal(msg));
    }
    let device = device(request)?;
    let workload = endpoint::of_workload(request)?;
    // An endpoint outlasts its interface: the host may have been started anew.
    if let Some(stored) = &workload.exact
        && wire::is_attached(request, &stored.0)?
    {
        return another_network(request, stored);
    }
    let replaces = wire::place(request, &workload)?;
    let delegate = Delegate::find(request.ipam_type(), &request.environment)?;
    let asked = asked::addresses(&request.configuration, request.ipam_type()).map_err(CniError::internal)?;
    let mac = wanted_mac(request)?;
    let ipam = Ipam { delegate, configuration: request.configuration.clone() };
    let given = if asked.is_empty() { ipam.add(request) } else { ipam.add_named(request, &asked) }?;
    let plan = Plan {
        base: endpoint::plain(request),
        revision: None,
        routes: Vec::new(),
        mac,
        nats: Ok(Vec::new()),
        mtu,
        device,
        want_host_routes: true,
        replaces,
    };
    attach(request, &plan, given, Some(&ipam))
}

/// An interface that is attached already joins another network: it keeps its address and gets the network's profile.
fn another_network(request: &mut Request<'_>, (stored, revision): &Stored) -> Result<Made, CniError> {
    let network: Json = request.conf.name().into();
    let joined = stored.with(|_, body| {
        let profiles =
            body.get_mut("spec").and_then(|spec| spec.get_mut("profiles")).and_then(Json::as_array_mut);
        if let Some(profiles) = profiles.filter(|profiles| !profiles.contains(&network)) {
            profiles.push(network.clone());
        }
    });
    if joined != *stored {
        endpoint::store(request, &joined, Some(revision))?;
    }
    let text = |field: &str| stored.text(&["spec", field]).unwrap_or_default().to_string();
    Ok(Made {
        host_interface: text("interfaceName"),
        container_interface: request.call.interface.clone(),
        mac: text("mac"),
        mtu: 0,
        sandbox: request.call.netns.clone(),
        addresses: networks(stored),
        ..Made::default()
    })
}

/// The addresses of an endpoint.
pub fn networks(endpoint: &api::Resource) -> Vec<IpAddr> {
    let listed = endpoint.field(&["spec", "ipNetworks"]).and_then(Json::as_array);
    let texts = listed.into_iter().flatten().filter_map(Json::as_str);
    texts.filter_map(|text| Cidr::parse_unmasked(text).ok()).map(|(_, addr)| addr).collect()
}

/// The IPAM plugin, and what it is told.
struct Ipam {
    delegate: Delegate,
    configuration: Json,
}

impl Ipam {
    fn add(&self, request: &mut Request<'_>) -> Result<Given, CniError> {
        self.add_with(request, &request.call.args.clone())
    }

    fn add_with(&self, request: &mut Request<'_>, args: &str) -> Result<Given, CniError> {
        self.delegate.add(&self.configuration, args, &mut request.log).map_err(|failed| {
            if failed.may_have_given {
                self.take_back(request, &[]);
            }
            failed.error
        })
    }

    /// It is called once for each address; what it gave is taken back where it does not give a later one.
    fn add_named(&self, request: &mut Request<'_>, addresses: &[IpAddr]) -> Result<Given, CniError> {
        let mut given = Given::default();
        for addr in addresses {
            let args = format!("{};IP={addr}", request.call.args);
            let one = self.add_with(request, &args);
            let error = match one.map(|one| one.addresses.first().copied()) {
                Ok(Some(first)) => {
                    given.addresses.push(first);
                    continue;
                }
                Ok(None) => CniError::internal(NO_ADDRESS),
                Err(error) => error,
            };
            if !given.addresses.is_empty() {
                self.take_back(request, &given.addresses);
            }
            let msg = format!("error getting IP from IPAM: {}", error.msg);
            return Err(CniError { msg, ..error });
        }
        Ok(given)
    }

    /// All that the container holds, that of an earlier ADD, too; so its pair goes first. `given` are the addresses of this one.
    fn take_back(&self, request: &mut Request<'_>, given: &[IpAddr]) {
        if let Err(error) = wire::take_back(request, given) {
            let line = format!("the addresses are kept, as the interfaces stay behind: {}", error.msg);
            request.log.say(Level::Error, line);
            return;
        }
        self.delegate.take_back(&self.configuration, &request.call.args, &mut request.log);
    }
}

/// What is to be made.
struct Plan {
    /// The endpoint as it is known before.
    base: api::Resource,
    /// Of the pod, in Kubernetes.
    revision: Option<api::Revision>,
    routes: Vec<ipnet::IpNet>,
    mac: Option<Mac>,
    /// Or why one of them leads nowhere.
    nats: Result<Vec<Nat>, String>,
    mtu: u32,
    device: Device,
    want_host_routes: bool,
    replaces: Replaces,
}

/// Makes the interfaces and stores the endpoint; takes everything back where one of it fails. `ipam` keeps record of the addresses.
fn attach(
    request: &mut Request<'_>,
    plan: &Plan,
    given: Given,
    ipam: Option<&Ipam>,
) -> Result<Made, CniError> {
    let addresses = given.addresses.clone();
    let made = wire_and_tell(request, plan, given);
    if made.is_err() {
        if let Err(error) = endpoint::take_back(request) {
            let line = format!("the endpoint {} may stay behind: {}", request.names.endpoint, error.msg);
            request.log.say(Level::Error, line);
        }
        if let Some(ipam) = ipam {
            ipam.take_back(request, &addresses);
        }
    }
    made
}

fn wire_and_tell(request: &mut Request<'_>, plan: &Plan, given: Given) -> Result<Made, CniError> {
    if given.addresses.is_empty() {
        return Err(CniError::internal(NO_ADDRESS));
    }
    let nats = plan.nats.clone().map_err(CniError::internal)?;
    let wiring = Wiring {
        addresses: given.addresses.clone(),
        mtu: plan.mtu,
        mac: plan.mac,
        queues: queues(request)?,
        routes: plan.routes.clone(),
        ip_forward: request.conf.flag(&["container_settings", "allow_ip_forwarding"]),
        want_host_routes: plan.want_host_routes,
        device: plan.device,
        alias: Some(names::alias(&request.names.container).into_owned()),
        replaces: plan.replaces,
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
    let facts = Facts { addresses: given.addresses, mac: attached.mac.to_string(), nats };
    let endpoint = endpoint::with_facts(request, &plan.base, &facts);
    if let Err(error) = endpoint::store(request, &endpoint, plan.revision.as_ref()) {
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
        routes: given.routes,
        dns: given.dns,
    })
}

/// At least one, as in Calico.
fn queues(request: &Request<'_>) -> Result<u32, CniError> {
    let wanted = request.conf.number(&["num_queues"]);
    u32::try_from(wanted.max(1))
        .map_err(|_| CniError::internal(format!("num_queues {wanted} is more than any interface has")))
}

/// The hardware address that the runtime asks for.
fn wanted_mac(request: &Request<'_>) -> Result<Option<Mac>, CniError> {
    let args = Args::parse(&request.call.args)?;
    asked::mac(&request.configuration, &args).map_err(CniError::internal)
}

fn device(request: &Request<'_>) -> Result<Device, CniError> {
    match request.conf.text(&["device_type"]) {
        None | Some("veth") => Ok(Device::Veth),
        Some("netkit") => Ok(Device::Netkit),
        Some(other) => Err(CniError::internal(format!("device_type {other:?} is neither veth nor netkit"))),
    }
}

/// The node and its pod CIDRs.
fn pod_cidrs(request: &Request<'_>) -> Result<(String, Vec<Cidr>), CniError> {
    let node = request.names.ids.node.clone();
    let found = request.node()?;
    let listed = found.field(&["status", "podCIDRs"]).and_then(Json::as_array);
    let read = |cidr: &Json| {
        let wrong = || {
            let name = "status.podCIDRs (in Kubernetes spec.podCIDRs)";
            CniError::internal(format!("{name} of node {node} holds {cidr}, which is no network"))
        };
        cidr.as_str().and_then(|text| text.parse().ok()).ok_or_else(wrong)
    };
    let cidrs = listed.into_iter().flatten().map(read).collect::<Result<_, _>>()?;
    Ok((node, cidrs))
}
