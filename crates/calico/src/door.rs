//! The readers of annotations, of labels and of the IPAM plugin's answer, as plain functions, for tests of
//! other crates.

use std::net::IpAddr;

use api::Cidr;
use cni::CniError;
use cni::conf::Conf;
use outside::Secrets;
use serde_json::Value as Json;
use setup::Environment;

use crate::annotations::{self, Annotations, Pools, Source};
use crate::{delegate, host_local, mesos, secrets};

pub use annotations::parse_mac;

/// Reads all annotations of a pod and its namespace, and changes a configuration by them. Gives what each
/// reader refuses.
pub fn annotations(pod: &Json, namespace: &Json, configuration: &mut Json) -> Vec<CniError> {
    let (pod, namespace) = (Annotations::of(pod), Annotations::of(namespace));
    let mut refused: Vec<CniError> = Vec::new();
    match Pools::of(pod, namespace) {
        Ok(pools) => {
            let changed = pools.apply(configuration);
            // Read again, they ask for the same.
            assert!(changed.is_err() || pools.is_empty() || configuration["ipam"].is_object());
        }
        Err(error) => refused.push(error),
    }
    match Source::of(pod, "calico-ipam", true) {
        Ok(Source::Named(found) | Source::Fixed(found)) => assert!(one_of_each_family(&found), "{found:?}"),
        Ok(Source::Chosen) => {}
        Err(error) => refused.push(error),
    }
    refused.extend(Source::of(pod, "host-local", false).err());
    refused.extend(annotations::hardware_address(pod).err());
    refused.extend(annotations::check_source_prefixes(pod).map_err(CniError::internal).err());
    annotations::misspelt(pod, namespace);
    annotations::unused(pod, namespace, "host-local");
    refused
}

fn one_of_each_family(found: &[IpAddr]) -> bool {
    let count = |v4: bool| found.iter().filter(|addr| addr.is_ipv4() == v4).count();
    !found.is_empty() && count(true) <= 1 && count(false) <= 1
}

/// Reads the IPAM plugin's result. Gives the addresses.
pub fn delegate_result(stdout: &[u8]) -> Result<Vec<IpAddr>, String> {
    delegate::read(stdout).map(|result| result.addresses)
}

/// The namespace, and names and values of labels.
type Labels = (Option<String>, Vec<(String, String)>);

/// Reads the labels of Mesos in a configuration. Gives the namespace and the labels.
pub fn mesos_labels(conf: &Conf) -> Result<Labels, String> {
    mesos::Labels::of(conf).map(|read| (read.namespace, read.labels.into_iter().collect()))
}

/// Fills in the networks of a configuration of host-local, and reads its routes. Gives how many there are.
pub fn host_local(configuration: &mut Json, pod_cidrs: &[Cidr]) -> Result<usize, String> {
    let has_asked = host_local::asks_for_pod_cidrs(configuration);
    let mut anything = configuration.clone();
    host_local::fill_in_anything(&mut anything);
    assert!(!host_local::asks_for_pod_cidrs(&anything));
    if has_asked {
        host_local::fill_in(configuration, "node-1", pod_cidrs)?;
        assert!(!host_local::asks_for_pod_cidrs(configuration));
    }
    host_local::routes(configuration, true).map(|routes| routes.len())
}

/// The secrets in a configuration and an environment.
pub fn secrets(configuration: &Json, environment: &Environment) -> Secrets {
    secrets::of(configuration, environment)
}
