//! DEL: releases what the container holds. What is not there is released already.

use ipam::{HandleRelease, ReleaseByHandle};

use crate::keep;
use crate::machine;
use crate::request::Request;
use cni::error::CniError;
use cni::log::Level;
use cni::netns;
use cni::protocol::Call;

/// Serves the request.
///
/// # Errors
/// Code 999; the runtime then asks again. Code 8, after the release, for the plugin's own network namespace.
pub fn del(request: &mut Request<'_>, call: &Call) -> Result<(), CniError> {
    let mut handles: Vec<_> =
        request.identity.handle().into_iter().chain(request.identity.legacy_handle()).collect();
    handles.dedup();
    let planner = ReleaseByHandle::new(handles, Some(request.identity.node.clone()));
    let left = machine::of_del(request, request.deadline())?;
    let released = {
        let _lock = request.lock();
        let deadline = request.deadline();
        if let Some(left) = left {
            keep::leave(request, left, deadline)?;
        }
        // A machine's pod holds such addresses too, where machines did not keep theirs when it began.
        request.run(planner, deadline)?
    };
    let mut kept = None;
    for release in released {
        let addresses = match release {
            HandleRelease::NotFound => continue,
            HandleRelease::Released(addresses) => addresses,
            HandleRelease::Partly(addresses, why) => {
                kept.get_or_insert(why);
                addresses
            }
        };
        for addr in addresses {
            let line = format!("released {addr} of {}", call.container);
            request.log.say(Level::Info, line);
        }
    }
    match kept {
        // What is left is not lost: the handle still names it.
        Some(why) => Err(CniError::internal(why)),
        None => netns::check(call),
    }
}
