//! ADD: assigns addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::{Family, Use};
use ipam::{AssignIp, AutoAssign, AutoAssigned};

use crate::error::CniError;
use crate::log::Level;
use crate::netns;
use crate::pools;
use crate::protocol::Call;
use crate::request::Request;
use crate::result::{self, Given};

/// Serves the request; gives the text of the result. When it fails, nothing that it assigned stays.
///
/// # Errors
/// Code 8 for the plugin's own network namespace, before anything is assigned (Calico assigns first); code 999 for everything else.
pub fn add(request: &mut Request<'_>, call: &Call, version: &str) -> Result<String, CniError> {
    netns::check(call)?;
    let given = match request.args.ip {
        Some(addr) => explicit(request, addr)?,
        None => automatic(request)?,
    };
    for given in &given {
        let line = format!("assigned {given} to {}", call.container);
        request.log.say(Level::Info, line);
    }
    Ok(result::text(&result::to_json(version, &given)?))
}

/// The address that `CNI_ARGS` names, whatever the pools' selectors say.
fn explicit(request: &mut Request<'_>, addr: IpAddr) -> Result<Vec<Given>, CniError> {
    let planner = AssignIp {
        addr,
        host: request.identity.node.clone(),
        intended_use: Some(Use::Workload),
        handle: request.identity.handle(),
        attributes: request.identity.attributes(request.clock.now()),
        max_per_handle: None,
    }
    .planner();
    let _lock = request.lock();
    request.run(planner)?;
    Ok(vec![Given { addr, prefix: Family::of(addr).bits() }])
}

/// An address of each family that is wanted.
fn automatic(request: &mut Request<'_>) -> Result<Vec<Given>, CniError> {
    let conf = &request.conf;
    let (v4, v6) = (conf.pools("ipv4_pools"), conf.pools("ipv6_pools"));
    let (v4_pools, v6_pools) = request.wait_for(pools::resolve(&request.store, &v4, &v6))?;
    let (v4, v6) = (u32::from(conf.wants_v4()), u32::from(conf.wants_v6()));
    if v4 + v6 == 0 {
        return Ok(Vec::new());
    }
    let planner = AutoAssign {
        handle: request.identity.handle(),
        attributes: request.identity.attributes(request.clock.now()),
        v4,
        v6,
        v4_pools,
        v6_pools,
        namespace_labels: namespace_labels(request),
        max_blocks_per_host: u32::from(request.conf.is_single_network()),
        all_or_nothing: true,
        ..AutoAssign::new(request.identity.node.as_str(), Use::Workload)
    }
    .planner();
    let _lock = request.lock();
    let assigned = request.run(planner)?;
    if let Some(error) = shortage(&assigned) {
        return Err(error);
    }
    let addresses = assigned.v4.addresses.iter().chain(&assigned.v6.addresses);
    Ok(addresses.map(|address| Given { addr: address.addr, prefix: address.prefix }).collect())
}

/// Why there are fewer addresses than were wanted. Of two families the one that gave a reason is to blame: the other was given up for its sake.
fn shortage(assigned: &AutoAssigned) -> Option<CniError> {
    if assigned.is_whole() {
        return None;
    }
    if let Some(error) = Family::BOTH.iter().find_map(|family| assigned.family(*family).error.as_ref()) {
        return Some(CniError::internal(error));
    }
    let mut short: Vec<_> = Family::BOTH
        .into_iter()
        .filter_map(|family| Some((family, assigned.family(family).shortage(family, None)?)))
        .collect();
    short.sort_by_key(|(family, _)| assigned.family(*family).messages.is_empty());
    let (family, shortage) = short.into_iter().next()?;
    Some(CniError::internal(format!("failed to request IPv{} addresses: {shortage}", family.number())))
}

/// The labels of the pod's namespace, for the pools' namespace selectors. Stores that do not know namespaces have none: a selector then sees no labels, as in Calico's
/// etcd mode. Where the configuration names a Kubernetes to ask, which this build cannot, that is said.
fn namespace_labels(request: &mut Request<'_>) -> Option<BTreeMap<String, String>> {
    if let (Some(namespace), true) = (request.identity.namespace(), request.conf.names_kubernetes()) {
        let line = format!(
            "Kubernetes is not asked for the labels of namespace {namespace}: this build cannot; pools' namespace selectors see none"
        );
        request.log.say(Level::Error, line);
    }
    None
}

#[cfg(test)]
mod tests {
    use ipam::{Address, Assigned, AutoAssignError};

    use super::*;

    fn short(requested: u32, messages: &[&str]) -> Assigned {
        Assigned {
            requested,
            messages: messages.iter().map(|m| m.to_string()).collect(),
            ..Assigned::default()
        }
    }

    #[test]
    fn the_family_with_a_reason_is_to_blame() {
        let reason = "No IPs available in pools: [10.0.0.0/24]";
        let blame = |v4, v6| shortage(&AutoAssigned { v4, v6 }).map(|e| e.msg);
        let text = |n| {
            format!(
                "failed to request IPv{n} addresses: Assigned 0 out of 1 requested IPv{n} addresses; {reason}"
            )
        };
        assert_eq!(blame(short(1, &[reason]), short(0, &[])), Some(text(4)));
        assert_eq!(blame(short(1, &[]), short(1, &[reason])), Some(text(6)));
        assert_eq!(blame(short(1, &[reason]), short(1, &[reason])), Some(text(4)));
        let failed = Assigned { error: Some(AutoAssignError::BlockLimit), ..short(1, &[]) };
        let limit = Some("cannot allocate new block due to per host block limit".to_string());
        assert_eq!(blame(short(1, &["x"]), failed), limit);
        let address = Address { addr: "10.0.0.1".parse().unwrap(), prefix: 26 };
        let whole = Assigned { addresses: vec![address], ..short(1, &["reclaimed a block"]) };
        assert_eq!(blame(whole, short(0, &[])), None);
    }
}
