//! Makes the node known: looks for its addresses, and has its Node say them. It is done at the start, and
//! again whenever an address of the host comes or goes.

use std::net::IpAddr;

use api::Family;
use host::Kernel;
use ipnet::IpNet;
use setup::Environment;
use store::Effects;

use super::detect::{Both, DetectError, LookError, Request, look, stored_addresses};
use super::finding::{Finding, Reason};
use super::name::{self, MachineId, NameError};
use super::record::{NodeRecord, RecordError, Says, Written, told_interfaces};

/// Why the node is not made known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IntroduceError {
    /// Another machine has the name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The node's addresses are not known. The Node keeps what it says.
    #[error(transparent)]
    Look(#[from] LookError),
    /// The Node was not read or written, or another one has the address.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl IntroduceError {
    /// What is to be told of it besides the log; `None` where only the store gave no answer.
    pub fn finding(&self) -> Option<Finding> {
        match self {
            IntroduceError::Name(_)
            | IntroduceError::Look(LookError::Detect(_))
            | IntroduceError::Record(RecordError::Address(_)) => {
                Some(Finding::new(Reason::ADDRESS_UNKNOWN, self.to_string()))
            }
            _ => None,
        }
    }
}

/// What is asked for, once for the life of the process.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// How the addresses are found.
    pub requests: Both<Request>,
    /// The number of the node's autonomous system (`AS`).
    pub as_number: Option<u32>,
    /// The name of the Kubernetes Node that this host is (`CALICO_K8S_NODE_REF`).
    pub kubernetes_node: Option<String>,
    /// Whether an address that another Node has is refused (unless `DISABLE_NODE_IP_CHECK`).
    pub checks_addresses: bool,
    /// Which machine this is.
    pub machine: Option<MachineId>,
    /// The hosts of the store: see [`store_hosts`](super::detect::store_hosts).
    pub hosts: Vec<String>,
    /// The file of the node's name, for messages.
    pub name_file: String,
}

impl Wishes {
    /// Reads what the environment asks for.
    ///
    /// # Errors
    /// [`DetectError::Setting`].
    pub fn read(
        environment: &Environment,
        machine: Option<MachineId>,
        hosts: Vec<String>,
    ) -> Result<Wishes, DetectError> {
        let request = |family| Request::read(environment, family);
        Ok(Wishes {
            requests: Both { v4: request(Family::V4)?, v6: request(Family::V6)? },
            as_number: environment.get("AS").map(as_number).transpose()?,
            kubernetes_node: environment.get("CALICO_K8S_NODE_REF").map(str::to_string),
            checks_addresses: environment
                .get("DISABLE_NODE_IP_CHECK")
                .is_none_or(|value| !value.eq_ignore_ascii_case("true")),
            machine,
            hosts,
            name_file: name::name_file(environment).display().to_string(),
        })
    }
}

/// `64512`, or `1.10` for 65546.
fn as_number(text: &str) -> Result<u32, DetectError> {
    let parsed = match text.split_once('.') {
        Some((high, low)) => high
            .parse::<u16>()
            .ok()
            .zip(low.parse::<u16>().ok())
            .map(|(high, low)| u32::from(high) << 16 | u32::from(low)),
        None => text.parse().ok(),
    };
    parsed.ok_or_else(|| DetectError::Setting {
        variable: "AS",
        value: text.to_string(),
        reason: "it is no number of an autonomous system, such as 64512".to_string(),
    })
}

/// The node, as it is known now.
#[derive(Clone, Debug)]
pub struct Introduced {
    /// The addresses that its Node names.
    pub addresses: Both<Option<IpNet>>,
    /// What is amiss about the addresses.
    pub findings: Vec<Finding>,
    /// What became of the Node.
    pub written: Written,
}

/// Makes the node known. Nothing is written where its Node says everything already.
///
/// # Errors
/// See [`IntroduceError`]. A Node that names an address keeps it, whatever fails.
pub async fn introduce<E: Effects>(
    record: &NodeRecord<'_, E>,
    kernel: &Kernel,
    wishes: &Wishes,
) -> Result<Introduced, IntroduceError> {
    let node = record.name;
    let stored = record.read().await?;
    let before = stored.node.as_ref().map(stored_addresses).unwrap_or_default();
    let looked = look(kernel, node, &wishes.requests, &before, &wishes.hosts, &stored.internal_ips).await;
    let (interfaces, detected) = looked?;
    let machine = wishes.machine.as_ref();
    name::refuse_taken(node, machine, &stored.holder, &interfaces, &wishes.name_file).await?;

    let found = |family| detected.found.of(family).as_ref().map(|found| found.net);
    let (v4, v6) = (found(Family::V4), found(Family::V6));
    let after = Both { v4: v4.or(before.v4), v6: v6.or(before.v6) };
    let addr = |net: &Option<IpNet>| net.map(|net| net.addr());
    let is_new = |family| addr(after.of(family)) != addr(before.of(family));
    let new: Vec<IpNet> = Family::BOTH
        .into_iter()
        .filter(|family| is_new(*family))
        .filter_map(|family| *after.of(family))
        .collect();
    if wishes.checks_addresses && !new.is_empty() {
        record.refuse_taken(&new).await?;
    }
    for family in Family::BOTH {
        if let Some(found) = detected.found.of(family).as_ref().filter(|_| is_new(family)) {
            tracing::info!(node, %found, before = ?before.of(family), "the node has another {family} address");
        }
    }
    let written = record
        .write(&Says {
            v4,
            v6,
            interfaces: Some(told_interfaces(&interfaces)),
            as_number: wishes.as_number,
            kubernetes_node: wishes.kubernetes_node.clone(),
            machine: wishes.machine.clone(),
            ..Says::default()
        })
        .await?;
    let carries = |addr: IpAddr| {
        interfaces.iter().find(|interface| interface.addresses.iter().any(|own| own.net.addr() == addr))
    };
    let mut findings: Vec<Finding> = detected
        .doubts
        .iter()
        .map(|doubt| Finding::new(Reason::ADDRESS_UNKNOWN, doubt.to_string()))
        .collect();
    for (net, variable) in [(after.v4, "IP"), (after.v6, "IP6")] {
        if let Some(net) = net.filter(|net| carries(net.addr()).is_none()) {
            findings.push(Finding::new(
                Reason::ADDRESS_NOT_HERE,
                format!(
                    "Node({node}) names the address {net}, which no interface of this host has: other nodes do \
                     not reach its pods. Set {variable}=autodetect, or {variable} to an address of this host"
                ),
            ));
        }
    }
    Ok(Introduced { addresses: after, findings, written })
}
