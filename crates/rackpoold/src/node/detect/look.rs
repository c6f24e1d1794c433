//! Asks the host, and finds the addresses.

use std::net::IpAddr;
use std::time::Duration;

use api::Family;
use host::{HostError, Interface, Kernel};
use ipnet::IpNet;
use setup::Datastore;
use store::AnyStore;
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::{Both, DetectError, Detected, Found, Question, Request, judge};

/// How long a name server may take.
const LOOKUP_LIMIT: Duration = Duration::from_secs(5);

/// Why the node's addresses are not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LookError {
    /// The kernel does not tell.
    #[error(transparent)]
    Host(#[from] HostError),
    /// There is no address.
    #[error(transparent)]
    Detect(#[from] DetectError),
}

/// The hosts of the store: those to which the node's packets must find a way. None for the embedded store.
pub fn store_hosts(datastore: &Datastore, store: &AnyStore) -> Vec<String> {
    match (datastore, store) {
        #[cfg(feature = "kubernetes")]
        (_, AnyStore::Kubernetes(store)) => store.host().map(str::to_string).into_iter().collect(),
        (Datastore::Etcd(settings), _) => settings.endpoints.iter().filter_map(|url| host_of(url)).collect(),
        _ => Vec::new(),
    }
}

/// The host in a URL, or in `host:port`.
pub fn host_of(url: &str) -> Option<String> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    let host = match place.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => place.split(':').next().unwrap_or_default(),
    };
    Some(host.to_string()).filter(|host| !host.is_empty())
}

/// Looks for the addresses of a node as the requests say. Gives them with the host's interfaces. `stored` are
/// the addresses that the Node names; `hosts` those of the store; `internal_ips` what the kubelet reports.
///
/// # Errors
/// See [`LookError`]. The Node keeps what it says.
pub async fn look(
    kernel: &Kernel,
    node: &str,
    requests: &Both<Request>,
    stored: &Both<Option<IpNet>>,
    hosts: &[String],
    internal_ips: &[IpAddr],
) -> Result<(Vec<Interface>, Detected), LookError> {
    let interfaces = kernel.interfaces().await?;
    let mut results = Both { v4: Ok(None), v6: Ok(None) };
    for family in Family::BOTH {
        let (request, stored) = (requests.of(family), *stored.of(family));
        let Some(question) = request.question(stored) else { continue };
        let answers = match question {
            Question::Interfaces => Vec::new(),
            Question::InternalIps => internal_ips.to_vec(),
            Question::SourceTo(host) => sources(kernel, family, &[host]).await?,
            Question::Sources => {
                let mut answers = sources(kernel, family, hosts).await?;
                answers.extend(kernel.default_source(family).await?.map(|(addr, _)| addr));
                answers
            }
        };
        let result: Result<Option<Found>, DetectError> = request.find(&interfaces, &answers, stored);
        match family {
            Family::V4 => results.v4 = result,
            Family::V6 => results.v6 = result,
        }
    }
    let detected = judge(node, requests, results, stored)?;
    Ok((interfaces, detected))
}

/// The source addresses of packets to these hosts. A name that cannot be looked up has none.
async fn sources(kernel: &Kernel, family: Family, hosts: &[String]) -> Result<Vec<IpAddr>, HostError> {
    let mut found = Vec::new();
    for host in hosts {
        // The port does not matter: no packet is sent.
        let addresses =
            match (host.parse::<IpAddr>(), timeout(LOOKUP_LIMIT, lookup_host((host.as_str(), 80))).await) {
                (Ok(addr), _) => vec![addr],
                (_, Ok(Ok(all))) => all.map(|to| to.ip()).collect(),
                (_, Ok(Err(error))) => {
                    tracing::warn!(host, %error, "the name has no address");
                    continue;
                }
                (_, Err(_)) => {
                    tracing::warn!(host, "no name server answered in time");
                    continue;
                }
            };
        for addr in addresses.into_iter().filter(|addr| Family::of(*addr) == family) {
            found.extend(kernel.source_to(addr).await?.map(|(source, _)| source));
        }
    }
    Ok(found)
}
