//! ADD: attaches a container.

use std::net::IpAddr;
use std::path::PathBuf;

use api::Cidr;
use api::capability::Backend;
use cni::args::Args;
use cni::log::Level;
use cni::{CniError, Site, netns};
use dataplane::{Device, Mac, Replaces, Wiring};
use serde_json::Value as Json;
use store::{ReadSet, Store};

use crate::agent;
use crate::annotations::{
    Annotations, Pools, Source, check_source_prefixes, hardware_address, misspelt, unused,
};
use crate::ask::Ask;
use crate::asked;
use crate::delegate::{Delegate, DelegateResult};
use crate::endpoint::{self, Facts, Stored, Workload};
use crate::floating::{Nat, floating, targets};
use crate::foreign;
use crate::former;
use crate::gates;
use crate::holdings;
use crate::host_local;
use crate::kernel;
use crate::names;
use crate::profile;
use crate::request::Request;
use crate::result::{self, Made};
use crate::wait;
use crate::wire;

const NO_ADDRESS: &str = "IPAM plugin returned missing IP config";

/// Serves an ADD. Gives the result. When the ADD fails, everything that it has done is taken back.
///
/// # Errors
/// Code 8 for the plugin's own network namespace, and code 11 where the node agent has to make the node ready
/// first, both before anything is done; the IPAM plugin's errors as they
/// are; code 999 for everything else.
pub async fn add<S: Store>(site: &Site<S>, ask: &Ask) -> Result<Json, CniError> {
    let mut request = Request::new(site, ask)?;
    let answer = serve(&mut request).await;
    request.conclude(answer)
}

async fn serve(request: &mut Request<'_, impl Store>) -> Result<Json, CniError> {
    // Where calico-ipam is called, it says the same.
    if request.ipam_type() != "calico-ipam" {
        for line in request.ask.conf.oddities() {
            request.log.say(Level::Error, line);
        }
    }
    netns::check(&request.ask.call)?;
    foreign::refuse(&request.ask.conf)?;
    agent::refuse_before_sync(&request.ask.conf, &request.names.ids.node)?;
    let mtu = request.mtu().await?;
    let profile = profile::wanted(request)?;
    let besides = profile.iter().fold(ReadSet::new(), |set, profile| set.key(profile.key()));
    let view = request.refuse_while_locked_and_read(besides).await?;
    gates::wait(request).await?;
    if let Some(profile) = profile.filter(|profile| view.resource(&profile.key()).flatten().is_none()) {
        profile::create(request, &profile).await?;
    }
    let made = match request.names.is_pod() {
        true => pod(request, mtu).await?,
        false => container(request, mtu).await?,
    };
    result::to_json(&request.ask.version, &made)
}

/// Attaches a pod of Kubernetes. If an earlier container of the pod has left an endpoint, this container
/// takes the endpoint over; the earlier container's addresses are released by its own DEL.
async fn pod(request: &mut Request<'_, impl Store>, mtu: u32) -> Result<Made, CniError> {
    let wrong = |reason: String| CniError::internal(reason);
    let patience = wait::patience(&request.ask.conf)?;
    let device = device(request)?;
    let described = request.pod_and_namespace().await?;
    let nothing = Json::Null;
    let (pod, namespace) =
        described.as_ref().map_or((&nothing, &nothing), |(pod, namespace)| (pod, namespace));
    let (pod_says, namespace_says) = (Annotations::of(pod), Annotations::of(namespace));

    let mut configuration = request.ask.configuration.clone();
    let mut routes = Vec::new();
    match request.ipam_type() {
        "calico-ipam" => {
            let pools = Pools::of(pod_says, namespace_says)?;
            if !pools.is_empty() {
                pools.apply(&mut configuration).map_err(wrong)?;
            }
        }
        "host-local" => {
            if host_local::asks_for_pod_cidrs(&configuration) {
                let (node, cidrs) = pod_cidrs(request).await?;
                host_local::fill_in(&mut configuration, &node, &cidrs).map_err(wrong)?;
            }
            let with_default = request.ask.conf.flag(&["include_default_routes"]);
            routes = host_local::routes(&configuration, with_default).map_err(wrong)?;
        }
        _ => {}
    }
    let may = |feature: &str| request.ask.conf.flag(&["feature_control", feature]);
    let mut source = Source::of(pod_says, request.ipam_type(), may("ip_addrs_no_ipam"))?;
    let asked = asked::addresses(&request.ask.configuration, request.ipam_type()).map_err(wrong)?;
    if source == Source::Chosen && !asked.is_empty() {
        source = Source::Named(asked);
    }
    let floating = floating(pod_says, may("floating_ips")).map_err(wrong)?;
    check_source_prefixes(pod_says).map_err(wrong)?;
    let mac = match hardware_address(pod_says)? {
        Some(mac) => Some(mac),
        None => wanted_mac(request)?,
    };
    for name in unused(pod_says, namespace_says, request.ipam_type()) {
        let line = format!("{name} changes nothing: ipam.type is {}, not calico-ipam", request.ipam_type());
        request.log.say(Level::Error, line);
    }
    for line in misspelt(pod_says, namespace_says) {
        request.log.say(Level::Error, line);
    }
    holdings::refuse_others(request, "floatingIPs", &floating).await?;
    endpoint::refuse_leading_to_others(request, &floating).await?;

    let (base, revision, replaces) = known_endpoint(request, described.is_some().then_some(pod)).await?;
    let ipam =
        Ipam { delegate: Delegate::find(request.ipam_type(), &request.ask.environment)?, configuration };
    let given = match &source {
        Source::Chosen => ipam.add(request).await?,
        Source::Fixed(addresses) => {
            holdings::refuse_others(request, "ipAddrsNoIpam", addresses).await?;
            DelegateResult { addresses: addresses.clone(), ..DelegateResult::default() }
        }
        Source::Named(addresses) => {
            former::release(request, addresses).await?;
            ipam.add_named(request, addresses).await?
        }
    };
    // While a virtual machine migrates, its address is still routed to another host.
    let is_migrating =
        source == Source::Chosen && request.ipam_type() == "calico-ipam" && given.routes.is_empty();
    let nats = targets(pod_says, &floating, &given.addresses);
    let want_host_routes = !is_migrating;
    let plan = Attachment { base, revision, routes, mac, nats, mtu, device, want_host_routes, replaces };
    // The addresses of an annotation that bypasses IPAM are in no record, so there is nothing to take back.
    let keeps_record = !matches!(source, Source::Fixed(_));
    let made = attach(request, &plan, given, keeps_record.then_some(&ipam)).await?;
    if let Some(patience) = patience {
        wait::for_policy(request, patience).await;
    }
    Ok(made)
}

/// The pod's endpoint as known so far, the revision of the stored object, and the pair of interfaces that the
/// new one replaces.
async fn known_endpoint(
    request: &mut Request<'_, impl Store>,
    described: Option<&Json>,
) -> Result<(api::Resource, Option<api::Revision>, Replaces), CniError> {
    let described = described.map(|pod| endpoint::of_pod(request, pod)).transpose()?;
    // In Kubernetes the endpoint is stored as a part of the pod.
    if let (Backend::Kubernetes, Some((pod, revision))) = (request.site.backend, &described) {
        let replaces = wire::place(request, &Workload::default()).await?;
        return Ok((pod.clone(), Some(revision.clone()), replaces));
    }
    let workload = endpoint::of_workload(request).await?;
    let replaces = wire::place(request, &workload).await?;
    let (former, revision) = workload.exact.unzip();
    let base = match described.map(|(pod, _)| pod).or(former) {
        Some(known) => known,
        None => endpoint::plain(request),
    };
    Ok((base, revision, replaces))
}

/// Attaches a container that is not a pod of Kubernetes.
async fn container(request: &mut Request<'_, impl Store>, mtu: u32) -> Result<Made, CniError> {
    if request.ask.conf.flag(&["feature_control", "ip_addrs_no_ipam"]) {
        let msg = "requested feature is not supported for this runtime: ip_addrs_no_ipam";
        return Err(CniError::internal(msg));
    }
    let device = device(request)?;
    let workload = endpoint::of_workload(request).await?;
    // An endpoint may be stored although its interface is gone: the host may have been restarted.
    if let Some(stored) = &workload.exact
        && wire::is_attached(request, &stored.0).await?
    {
        return another_network(request, stored).await;
    }
    let replaces = wire::place(request, &workload).await?;
    let delegate = Delegate::find(request.ipam_type(), &request.ask.environment)?;
    let asked =
        asked::addresses(&request.ask.configuration, request.ipam_type()).map_err(CniError::internal)?;
    let mac = wanted_mac(request)?;
    let ipam = Ipam { delegate, configuration: request.ask.configuration.clone() };
    let given =
        if asked.is_empty() { ipam.add(request).await } else { ipam.add_named(request, &asked).await }?;
    let plan = Attachment {
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
    attach(request, &plan, given, Some(&ipam)).await
}

/// Lets an interface that is attached already join another network: the interface keeps its address, and its
/// endpoint gets the network's profile.
async fn another_network(
    request: &Request<'_, impl Store>,
    (stored, revision): &Stored,
) -> Result<Made, CniError> {
    let network: Json = request.ask.conf.name().into();
    let joined = stored.with(|_, body| {
        let profiles =
            body.get_mut("spec").and_then(|spec| spec.get_mut("profiles")).and_then(Json::as_array_mut);
        if let Some(profiles) = profiles.filter(|profiles| !profiles.contains(&network)) {
            profiles.push(network.clone());
        }
    });
    if joined != *stored {
        endpoint::store(request, &joined, Some(revision)).await?;
    }
    let text = |field: &str| stored.text(&["spec", field]).unwrap_or_default().to_string();
    Ok(Made {
        host_interface: text("interfaceName"),
        container_interface: request.ask.call.interface.clone(),
        mac: text("mac"),
        mtu: 0,
        sandbox: request.ask.call.netns.clone(),
        addresses: endpoint::networks(stored),
        ..Made::default()
    })
}

/// The IPAM plugin, and the configuration that it gets.
struct Ipam {
    delegate: Delegate,
    configuration: Json,
}

impl Ipam {
    async fn add(&self, request: &Request<'_, impl Store>) -> Result<DelegateResult, CniError> {
        self.add_with(request, &request.ask.call.args).await
    }

    async fn add_with(
        &self,
        request: &Request<'_, impl Store>,
        args: &str,
    ) -> Result<DelegateResult, CniError> {
        match self.delegate.add(&self.configuration, args, &request.log).await {
            Ok(given) => Ok(given),
            Err(failed) => {
                if failed.may_have_given {
                    self.take_back(request, &[]).await;
                }
                Err(failed.error)
            }
        }
    }

    /// Calls the IPAM plugin once for each address. If one call does not give its address, the addresses of
    /// the earlier calls are taken back.
    async fn add_named(
        &self,
        request: &Request<'_, impl Store>,
        addresses: &[IpAddr],
    ) -> Result<DelegateResult, CniError> {
        let mut given = DelegateResult::default();
        for addr in addresses {
            let args = format!("{};IP={addr}", request.ask.call.args);
            let one = self.add_with(request, &args).await;
            let error = match one.map(|one| one.addresses.first().copied()) {
                Ok(Some(first)) => {
                    given.addresses.push(first);
                    continue;
                }
                Ok(None) => CniError::internal(NO_ADDRESS),
                Err(error) => error,
            };
            if !given.addresses.is_empty() {
                self.take_back(request, &given.addresses).await;
            }
            let msg = format!("error getting IP from IPAM: {}", error.msg);
            return Err(CniError { msg, ..error });
        }
        Ok(given)
    }

    /// Takes back all addresses that the container holds, those of an earlier ADD included; so the
    /// container's pair of interfaces is removed first. `given` are the addresses of this ADD.
    async fn take_back(&self, request: &Request<'_, impl Store>, given: &[IpAddr]) {
        if let Err(error) = wire::take_back(request, given).await {
            let line = format!("the addresses are kept, as the interfaces stay behind: {}", error.msg);
            request.log.say(Level::Error, line);
            return;
        }
        self.delegate.take_back(&self.configuration, &request.ask.call.args, &request.log).await;
    }
}

/// Everything that is known before the interfaces are made.
struct Attachment {
    /// The endpoint as known so far; the facts of this ADD are added to it.
    base: api::Resource,
    /// The pod's revision, where the endpoint is stored in Kubernetes.
    revision: Option<api::Revision>,
    routes: Vec<ipnet::IpNet>,
    mac: Option<Mac>,
    /// The floating addresses with the pod's addresses to which they lead, or why one of them leads nowhere.
    nats: Result<Vec<Nat>, String>,
    mtu: u32,
    device: Device,
    want_host_routes: bool,
    replaces: Replaces,
}

/// Makes the interfaces and stores the endpoint. If one step fails, everything is taken back. `ipam` is the
/// IPAM plugin that has recorded the addresses, if any has.
async fn attach(
    request: &Request<'_, impl Store>,
    plan: &Attachment,
    given: DelegateResult,
    ipam: Option<&Ipam>,
) -> Result<Made, CniError> {
    let addresses = given.addresses.clone();
    let made = wire_and_tell(request, plan, given).await;
    if made.is_err() {
        if let Err(error) = endpoint::take_back(request).await {
            let line = format!("the endpoint {} may stay behind: {}", request.names.endpoint, error.msg);
            request.log.say(Level::Error, line);
        }
        if let Some(ipam) = ipam {
            ipam.take_back(request, &addresses).await;
        }
    }
    made
}

async fn wire_and_tell(
    request: &Request<'_, impl Store>,
    plan: &Attachment,
    given: DelegateResult,
) -> Result<Made, CniError> {
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
        ip_forward: request.ask.conf.flag(&["container_settings", "allow_ip_forwarding"]),
        want_host_routes: plan.want_host_routes,
        device: plan.device,
        alias: Some(names::alias(&request.names.container).into_owned()),
        replaces: plan.replaces,
        ..Wiring::new(
            &request.names.host_interface,
            &request.ask.call.interface,
            PathBuf::from(&request.ask.call.netns),
        )
    };
    let attached = kernel::attach(&wiring).await.map_err(CniError::internal)?;
    for warning in &attached.warnings {
        request.log.say(Level::Error, warning);
    }
    let facts = Facts { addresses: given.addresses, mac: attached.mac.to_string(), nats };
    let endpoint = endpoint::with_facts(request, &plan.base, &facts);
    let stored = async {
        endpoint::store(request, &endpoint, plan.revision.as_ref()).await?;
        // When two pods ask for one floating address at the same time, each has checked before the other's
        // endpoint was stored. This second check shows the earlier endpoint to the pod that stored its
        // endpoint later.
        let floating: Vec<IpAddr> = facts.nats.iter().map(|nat| nat.outside).collect();
        endpoint::refuse_leading_to_others(request, &floating).await
    };
    if let Err(error) = stored.await {
        if let Err(then) = kernel::detach(&wiring).await {
            request.log.say(Level::Error, format!("the interfaces stay behind: {then}"));
        }
        return Err(error);
    }
    request
        .log
        .say(Level::Info, format!("attached {} as {}", request.ask.call.container, request.names.endpoint));
    Ok(Made {
        host_interface: wiring.host_interface,
        container_interface: wiring.container_interface,
        mac: facts.mac,
        mtu: plan.mtu,
        sandbox: request.ask.call.netns.clone(),
        addresses: facts.addresses,
        routes: given.routes,
        dns: given.dns,
    })
}

/// The number of queues: at least one, as in Calico.
fn queues(request: &Request<'_, impl Store>) -> Result<u32, CniError> {
    let wanted = request.ask.conf.number(&["num_queues"]);
    u32::try_from(wanted.max(1))
        .map_err(|_| CniError::internal(format!("num_queues {wanted} is more than any interface has")))
}

/// The hardware address that the runtime asks for.
fn wanted_mac(request: &Request<'_, impl Store>) -> Result<Option<Mac>, CniError> {
    let args = Args::parse(&request.ask.call.args)?;
    asked::mac(&request.ask.configuration, &args).map_err(CniError::internal)
}

fn device(request: &Request<'_, impl Store>) -> Result<Device, CniError> {
    match request.ask.conf.text(&["device_type"]) {
        None | Some("veth") => Ok(Device::Veth),
        Some("netkit") => Ok(Device::Netkit),
        Some(other) => Err(CniError::internal(format!("device_type {other:?} is neither veth nor netkit"))),
    }
}

/// The node's name, and its pod CIDRs.
async fn pod_cidrs(request: &Request<'_, impl Store>) -> Result<(String, Vec<Cidr>), CniError> {
    let node = request.names.ids.node.clone();
    let found = request.node().await?;
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
