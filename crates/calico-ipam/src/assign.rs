//! Assigns the addresses of an ADD: one that the request names, or one of each family from the pools.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::{Family, HandleId, Kind, Use};
use ipam::{AssignIp, AutoAssign, AutoAssignError, AutoAssigned, Planner, RunError};
use store::{Depth, ReadSet, Scope, Store, View};

use api::fault::short;
use cni::CniError;
use cni::log::Level;
use golang::strconv::quote;

use crate::elsewhere;
use crate::namespace::Namespace;
use crate::pools;
use crate::refusal;
use crate::request::{Deadline, Request};
use crate::result::ResultAddress;
use crate::unlabelled;

/// The receiver of addresses, as the allocator records it.
pub struct Recipient {
    /// The handle by which the addresses are released later.
    pub handle: Option<HandleId>,
    /// The attributes that are stored with the addresses.
    pub attributes: BTreeMap<String, String>,
    /// How many addresses of one family the handle may hold.
    pub most: Option<u32>,
}

/// Assigns the addresses that the request asks for. The labels of `namespace` decide which pools may be used.
///
/// # Errors
/// Code 999; nothing is assigned then.
pub async fn assign(
    request: &Request<'_, impl Store>,
    namespace: Option<&Namespace<'_>>,
    to: Recipient,
    deadline: Deadline,
) -> Result<Vec<ResultAddress>, CniError> {
    match request.ask.args.ip {
        Some(addr) => explicit(request, addr, to, deadline).await,
        None => automatic(request, namespace, to, deadline).await,
    }
}

/// Assigns the address that `CNI_ARGS` names, whatever the pools' selectors say.
async fn explicit(
    request: &Request<'_, impl Store>,
    addr: IpAddr,
    to: Recipient,
    deadline: Deadline,
) -> Result<Vec<ResultAddress>, CniError> {
    let planner = AssignIp {
        addr,
        host: request.ask.identity.node.clone(),
        intended_use: Some(Use::Workload),
        handle: to.handle,
        attributes: to.attributes,
        max_per_handle: to.most,
    }
    .planner();
    unlabelled::label(request, deadline).await?;
    match ipam::run(&request.store, &request.site.clock, planner, deadline.left()).await {
        Ok(()) => elsewhere::warn_of_address(request, addr, deadline).await,
        Err(RunError::Plan(error)) => {
            return Err(refusal::of_address(CniError::internal(error), request, addr, deadline).await);
        }
        Err(error) => return Err(CniError::internal(error)),
    }
    Ok(vec![ResultAddress { addr, prefix: Family::of(addr).bits() }])
}

/// Assigns an address of each family that the configuration wants.
async fn automatic(
    request: &Request<'_, impl Store>,
    namespace: Option<&Namespace<'_>>,
    to: Recipient,
    deadline: Deadline,
) -> Result<Vec<ResultAddress>, CniError> {
    let conf = &request.ask.conf;
    let (v4, v6) = (u32::from(conf.wants_v4()), u32::from(conf.wants_v6()));
    let mut wanted = AutoAssign {
        handle: to.handle,
        attributes: to.attributes,
        max_per_handle: to.most,
        v4,
        v6,
        max_blocks_per_host: u32::from(conf.is_single_network()),
        all_or_nothing: true,
        ..AutoAssign::new(request.ask.identity.node.as_str(), Use::Workload)
    };
    let view = choose(request, namespace, &mut wanted, deadline).await?;
    warn_of_unwanted(request);
    if v4 + v6 == 0 {
        return Ok(Vec::new());
    }
    let asked: Vec<_> = wanted.v4_pools.iter().chain(&wanted.v6_pools).copied().collect();
    if !asked.is_empty() {
        elsewhere::warn(request, &view, |pool| asked.contains(&pool.cidr));
    }
    let assigned = request.run_from(view, wanted.clone().planner(), deadline).await?;
    if let Some((family, error)) = shortage(&assigned, request.is_on_kubernetes()) {
        return Err(refusal::explained(error, request, wanted, (family, &assigned), deadline).await);
    }
    let addresses = assigned.v4.addresses.iter().chain(&assigned.v6.addresses);
    Ok(addresses.map(|address| ResultAddress { addr: address.addr, prefix: address.prefix }).collect())
}

/// Warns where pools are named of a family of which no address is wanted, and where the switch of a family
/// has a value that is neither `true` nor `false`.
fn warn_of_unwanted(request: &Request<'_, impl Store>) {
    let conf = &request.ask.conf;
    for (is_wanted, family) in [(conf.wants_v4(), 4), (conf.wants_v6(), 6)] {
        let switch = format!("assign_ipv{family}");
        let said = conf.text(&["ipam", &switch]).unwrap_or_default();
        if !matches!(said, "" | "true" | "false") {
            let taken = if is_wanted { "true" } else { "false" };
            let said = quote(&short(said, 40));
            let line =
                format!(r#"ipam.{switch} is {said}, and counts as "{taken}": write "true" or "false""#);
            request.log.say(Level::Error, line);
        }
        if !is_wanted && !conf.pools(&format!("ipv{family}_pools")).is_empty() {
            let line = format!(
                "the pools of IPv{family} that the network configuration or an annotation names have no effect: \
                 no IPv{family} address is asked for (ipam.assign_ipv{family}, annotation cni.projectcalico.org/ipFamilies)"
            );
            request.log.say(Level::Error, line);
        }
    }
}

/// Reads what the planner reads first, and at the same time the namespace's labels. Completes `wanted` with
/// the pools and labels.
async fn choose(
    request: &Request<'_, impl Store>,
    namespace: Option<&Namespace<'_>>,
    wanted: &mut AutoAssign,
    deadline: Deadline,
) -> Result<View, CniError> {
    let conf = &request.ask.conf;
    let (v4, v6) = (conf.pools("ipv4_pools"), conf.pools("ipv6_pools"));
    let set = match wanted.v4 + wanted.v6 {
        0 if pools::are_named(&v4) || pools::are_named(&v6) => {
            ReadSet::new().scope(Scope::kind(Kind::IPPool), Depth::Full)
        }
        0 => ReadSet::new(),
        _ => wanted.clone().planner().reads(),
    };
    let labels = async {
        match namespace {
            Some(namespace) => namespace.labels(deadline).await.map(Some),
            None => Ok(None),
        }
    };
    let (view, labels) = tokio::join!(request.store.look(&set, deadline.left()), labels);
    if let Ok(view) = &view {
        wanted.v4_pools = pools::resolve(view, &v4, Family::V4)?;
        wanted.v6_pools = pools::resolve(view, &v6, Family::V6)?;
    }
    // If both reads failed for the same reason, Calico's error is the one about the namespace.
    wanted.namespace_labels = labels?;
    view.map_err(CniError::internal)
}

/// Why there are fewer addresses than were wanted, and of which family; `None` if there are enough. If only
/// one family has a reason, the error is about that family: the addresses of the other were given back
/// because of it.
fn shortage(assigned: &AutoAssigned, is_on_kubernetes: bool) -> Option<(Family, CniError)> {
    if assigned.is_whole() {
        return None;
    }
    let failed = |family: Family| Some((family, assigned.family(family).error.as_ref()?));
    if let Some((family, error)) = Family::BOTH.into_iter().find_map(failed) {
        return Some((family, family_error(error, is_on_kubernetes)));
    }
    let mut short: Vec<_> = Family::BOTH
        .into_iter()
        .filter_map(|family| Some((family, assigned.family(family).shortage(family, None)?)))
        .collect();
    short.sort_by_key(|(family, _)| assigned.family(*family).messages.is_empty());
    let (family, shortage) = short.into_iter().next()?;
    let text = format!("failed to request IPv{} addresses: {shortage}", family.number());
    Some((family, CniError::internal(text)))
}

/// The error for a family that got nothing. On Kubernetes, Calico's error about a missing node contains the
/// server's reason; other stores have none.
fn family_error(error: &AutoAssignError, is_on_kubernetes: bool) -> CniError {
    match error {
        AutoAssignError::NoNode(node) if is_on_kubernetes => CniError::internal(format!(
            "resource does not exist: Node({node}) with error: nodes {} not found",
            quote(node)
        )),
        error => CniError::internal(error),
    }
}

#[cfg(test)]
mod tests {
    use ipam::{Address, Assigned, AutoAssignError, Verdict};

    use super::*;

    fn short(requested: u32, messages: &[Verdict]) -> Assigned {
        Assigned { requested, messages: messages.to_vec(), ..Assigned::default() }
    }

    #[test]
    fn the_family_with_a_reason_is_to_blame() {
        let reason = || Verdict::Exhausted(vec!["10.0.0.0/24".parse().unwrap()]);
        let blame = |v4, v6| shortage(&AutoAssigned { v4, v6 }, false).map(|(_, error)| error.msg);
        let text = |n| {
            format!(
                "failed to request IPv{n} addresses: Assigned 0 out of 1 requested IPv{n} addresses; No IPs available in pools: [10.0.0.0/24]"
            )
        };
        assert_eq!(blame(short(1, &[reason()]), short(0, &[])), Some(text(4)));
        assert_eq!(blame(short(1, &[]), short(1, &[reason()])), Some(text(6)));
        assert_eq!(blame(short(1, &[reason()]), short(1, &[reason()])), Some(text(4)));
        let failed = Assigned { error: Some(AutoAssignError::BlockLimit), ..short(1, &[]) };
        let limit = Some("cannot allocate new block due to per host block limit".to_string());
        assert_eq!(blame(short(1, &[Verdict::StrictAffinity]), failed), limit);
        let address = Address { addr: "10.0.0.1".parse().unwrap(), prefix: 26 };
        let whole = Assigned { addresses: vec![address], ..short(1, &[reason()]) };
        assert_eq!(blame(whole, short(0, &[])), None);
    }
}
