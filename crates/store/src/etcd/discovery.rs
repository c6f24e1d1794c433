//! Finds members by SRV records, as etcd's own client does (`client/pkg/srv`). It looks up the names with and
//! without `-ssl`, and lists the members of `-ssl` first.

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;

use super::options::Discovery;
use crate::error::StoreError;

/// The URLs of the members, by ascending SRV priority, and within one priority by descending weight.
pub(super) async fn discover(discovery: &Discovery) -> Result<Vec<String>, StoreError> {
    let Discovery { domain, .. } = discovery;
    let resolver = resolver(discovery).map_err(|error| {
        StoreError::Unusable(format!("the DNS servers of this machine cannot be found: {error}"))
    })?;
    let mut urls = Vec::new();
    let mut faults = Vec::new();
    for (service, scheme) in [("etcd-client-ssl", "https"), ("etcd-client", "http")] {
        let name = format!("_{service}._tcp.{}.", domain.trim_end_matches('.'));
        match look_up(&resolver, &name, scheme).await {
            Ok(found) => urls.extend(found),
            Err(error) => faults.push(format!("{name}: {error}")),
        }
    }
    if urls.is_empty() {
        let text = format!(
            "no member of etcd is named in DNS for {domain} ({}). Check etcdDiscoverySrv (ETCD_DISCOVERY_SRV) and its SRV records",
            if faults.is_empty() { "the records are empty".to_string() } else { faults.join("; ") }
        );
        return Err(StoreError::Unavailable(text));
    }
    Ok(urls)
}

fn resolver(discovery: &Discovery) -> Result<TokioResolver, NetError> {
    match discovery.name_server {
        None => TokioResolver::builder_tokio()?.build(),
        Some(address) => {
            let mut server = NameServerConfig::udp_and_tcp(address.ip());
            for connection in &mut server.connections {
                connection.port = address.port();
            }
            let config = ResolverConfig::from_name_servers(vec![server]);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).build()
        }
    }
}

async fn look_up(resolver: &TokioResolver, name: &str, scheme: &str) -> Result<Vec<String>, NetError> {
    let answer = resolver.srv_lookup(name).await?;
    let mut found: Vec<_> = answer
        .answers()
        .iter()
        .filter_map(|record| match &record.data {
            RData::SRV(srv) => Some((srv.priority, u16::MAX - srv.weight, srv.target.to_ascii(), srv.port)),
            _ => None,
        })
        .collect();
    found.sort();
    let url = |(.., target, port): (u16, u16, String, u16)| {
        format!("{scheme}://{}:{port}", target.trim_end_matches('.'))
    };
    Ok(found.into_iter().map(url).collect())
}
