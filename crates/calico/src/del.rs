//! DEL: detaches a container. What is gone already is fine.

use std::path::Path;

use cni::CniError;
use cni::log::Level;
use dataplane::DETACH_LIMIT;

use crate::delegate::Delegate;
use crate::endpoint::{self, Deleted};
use crate::request::Request;

/// Serves the request. The IPAM plugin is called whatever the endpoint says: an address is the container's, the endpoint is the pod's.
///
/// # Errors
/// Code 999, or the IPAM plugin's; the runtime then asks again.
pub fn del(request: &mut Request<'_>) -> Result<(), CniError> {
    request.refuse_while_locked()?;
    let deleted = endpoint::delete(request)?;
    if deleted == Deleted::IsAnothers {
        let line = format!("{} is another container's by now, and stays", request.names.endpoint);
        request.log.say(Level::Info, line);
    }
    // The name on the host is the pod's: a newer container of the pod has it.
    let host = (deleted != Deleted::IsAnothers).then_some(request.names.host_interface.as_str());
    if !request.call.netns.is_empty() || host.is_some() {
        dataplane::detach(Path::new(&request.call.netns), &request.call.interface, host, DETACH_LIMIT)
            .map_err(CniError::internal)?;
    }
    let environment = request.environment.clone();
    let args = request.environment.get("CNI_ARGS").unwrap_or_default();
    Delegate::find(request.ipam_type(), &environment)?.del(&request.configuration, args)
}
