//! CHECK: tests whether the container's network is still as ADD made it. (Calico's plugin tests nothing.)

use std::path::PathBuf;

use cni::{CniError, Site};
use dataplane::Wiring;
use store::Store;

use crate::ask::Ask;
use crate::endpoint::{self, networks};
use crate::foreign;
use crate::kernel;
use crate::request::Request;

/// Serves a CHECK.
///
/// # Errors
/// Code 999; the error names everything that has changed.
pub async fn check<S: Store>(site: &Site<S>, ask: &Ask) -> Result<(), CniError> {
    let request = Request::new(site, ask)?;
    let answer = serve(&request).await;
    request.conclude(answer)
}

async fn serve(request: &Request<'_, impl Store>) -> Result<(), CniError> {
    foreign::refuse(&request.ask.conf)?;
    let Some((stored, _)) = endpoint::stored(request).await? else {
        return Err(CniError::internal(format!(
            "there is no WorkloadEndpoint {}/{}: the container is not attached",
            request.names.namespace, request.names.endpoint
        )));
    };
    if endpoint::is_of_another(&stored, &request.ask.call.container) {
        return Err(CniError::internal(format!(
            "WorkloadEndpoint {}/{} is that of container {}: this one is not attached any more",
            request.names.namespace,
            request.names.endpoint,
            stored.text(&["spec", "containerID"]).unwrap_or_default()
        )));
    }
    let addresses = networks(&stored);
    if addresses.is_empty() {
        return Err(CniError::internal(format!(
            "WorkloadEndpoint {} has no address",
            request.names.endpoint
        )));
    }
    // A container's second interface has another name on the host than the first one.
    let host_interface = stored.text(&["spec", "interfaceName"]).filter(|name| !name.is_empty());
    let wiring = Wiring {
        addresses,
        mtu: request.mtu().await?,
        ..Wiring::new(
            host_interface.unwrap_or(&request.names.host_interface),
            &request.ask.call.interface,
            PathBuf::from(&request.ask.call.netns),
        )
    };
    kernel::check(wiring).await.map_err(CniError::internal)
}
