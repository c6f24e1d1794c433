//! DEL: releases the addresses of a container. It is no error if they were released already.

use std::net::IpAddr;

use ipam::{HandleRelease, ReleaseByHandle};
use serde_json::Value as Json;

use cni::log::Level;
use cni::{CniError, Site, netns};
use store::Store;

use crate::ask::Ask;
use crate::request::Request;
use crate::virtual_machine::{self, Objects};

/// Serves a DEL.
///
/// # Errors
/// Code 999; the runtime then calls DEL again. Code 8, after the release, for the plugin's own network
/// namespace.
pub async fn del<S: Store>(site: &Site<S>, ask: &Ask) -> Result<(), CniError> {
    let request = Request::new(site, ask);
    let answer = serve(&request).await;
    request.conclude(answer)
}

async fn serve(request: &Request<'_, impl Store>) -> Result<(), CniError> {
    let (identity, call) = (&request.ask.identity, &request.ask.call);
    let objects = Objects::of(request)?;
    let own = identity.handle().map(|handle| (handle, identity.whose()));
    // If both names make the same handle, it is released as the container's own.
    let legacy = identity.legacy_handle().filter(|(legacy, _)| Some(legacy) != identity.handle().as_ref());
    let handles: Vec<_> = own.into_iter().chain(legacy).collect();
    // The runtime repeats what ADD answered. It serves only to find what has lost its handle.
    let given = addresses_given(request.ask.conf.any(&["prevResult", "ips"]));
    let release = ReleaseByHandle::new(Vec::new(), Some(identity.node.clone())).given(given);
    let release =
        handles.iter().cloned().fold(release, |release, (handle, whose)| release.and(handle, whose));
    let planner = release.planner();
    let left = match &objects {
        Some(objects) => objects.left(request.deadline()).await?,
        None => None,
    };
    let released = {
        let _held = request.lock().await;
        let deadline = request.deadline();
        if let Some(left) = left {
            virtual_machine::leave(request, left, deadline).await?;
        }
        // A virtual machine's pod also holds addresses under its own handle, if machines did not keep their
        // addresses when the pod was started.
        request.run(planner, deadline).await?
    };
    let mut unreadable = None;
    for (release, (handle, _)) in released.into_iter().zip(handles) {
        let (addresses, is_released) = match release {
            HandleRelease::Released(addresses) => (addresses, true),
            HandleRelease::Anothers(addresses) => (addresses, false),
            HandleRelease::Partly(addresses, why) => {
                unreadable.get_or_insert(why);
                (addresses, true)
            }
            HandleRelease::NotFound => continue,
        };
        for addr in addresses {
            let line = match is_released {
                true => format!("released {addr} of {}", call.container),
                false => format!(
                    "{addr} stays: its handle {handle} is {}'s, too, but another is noted beside it",
                    call.container
                ),
            };
            request.log.say(Level::Info, line);
        }
    }
    match unreadable {
        // The addresses that were not released are not lost: their handle still names them.
        Some(why) => Err(CniError::internal(why)),
        None => netns::check(call),
    }
}

/// The addresses of an earlier answer. What cannot be read is left out.
fn addresses_given(ips: Option<&Json>) -> Vec<IpAddr> {
    let ips = ips.and_then(Json::as_array).into_iter().flatten();
    let texts = ips.filter_map(|ip| ip.get("address")?.as_str());
    texts.filter_map(|text| text.split('/').next()?.parse().ok()).collect()
}
