//! CHECK: whether the container's network is still as it was made. (Calico's looks at nothing.)

use std::path::PathBuf;

use cni::CniError;
use dataplane::Wiring;

use crate::add::networks;
use crate::endpoint;
use crate::foreign;
use crate::request::Request;

/// Serves the request.
///
/// # Errors
/// Code 999, naming all that is not as it should be.
pub fn check(request: &mut Request<'_>) -> Result<(), CniError> {
    foreign::refuse(&request.conf)?;
    let Some((stored, _)) = endpoint::stored(request)? else {
        return Err(CniError::internal(format!(
            "there is no WorkloadEndpoint {}/{}: the container is not attached",
            request.names.namespace, request.names.endpoint
        )));
    };
    if endpoint::is_of_another(&stored, &request.call.container) {
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
    // A container's second interface has another one.
    let host_interface = stored.text(&["spec", "interfaceName"]).filter(|name| !name.is_empty());
    let wiring = Wiring {
        addresses,
        mtu: request.mtu()?,
        ..Wiring::new(
            host_interface.unwrap_or(&request.names.host_interface),
            &request.call.interface,
            PathBuf::from(&request.call.netns),
        )
    };
    dataplane::check(&wiring).map_err(CniError::internal)
}
