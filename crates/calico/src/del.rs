//! DEL: detaches a container. What is gone already is fine.

use std::path::Path;

use cni::CniError;
use cni::log::Level;
use dataplane::DETACH_LIMIT;

use crate::delegate::Delegate;
use crate::endpoint::{self, Deleted};
use crate::foreign;
use crate::host_local;
use crate::request::Request;

/// Serves the request. The IPAM plugin is called whatever the endpoint says: an address is the container's, the endpoint is the pod's.
///
/// # Errors
/// Code 999, or the IPAM plugin's; the runtime then asks again.
pub fn del(request: &mut Request<'_>) -> Result<(), CniError> {
    request.refuse_while_locked()?;
    if let Err(error) = foreign::refuse(&request.conf)
        && endpoint::stored(request)?
            .is_some_and(|(it, _)| !endpoint::is_of_another(&it, &request.names.container))
    {
        // Another dataplane may still carry its packets; while there is none to carry, all that is left of a refused ADD goes.
        return Err(error);
    }
    if endpoint::delete(request)? == Deleted::IsAnothers {
        let line = format!("{} is another container's by now, and stays", request.names.endpoint);
        request.log.say(Level::Info, line);
    }
    // By the container's side alone: the name on the host is the pod's, and a newer container of it may have it by now. Where the namespace is gone, the
    // kernel takes the pair along.
    if !request.call.netns.is_empty() {
        dataplane::detach(Path::new(&request.call.netns), &request.call.interface, None, DETACH_LIMIT)
            .map_err(CniError::internal)?;
    }
    let mut configuration = request.configuration.clone();
    if request.ipam_type() == "host-local" {
        host_local::fill_in_anything(&mut configuration);
    }
    let delegate = Delegate::find(request.ipam_type(), &request.environment)?;
    delegate.del(&configuration, &request.call.args, &mut request.log)
}
