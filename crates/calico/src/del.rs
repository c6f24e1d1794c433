//! DEL: detaches a container. What is gone already is fine.

use api::capability::Backend;
use cni::log::Level;
use cni::{CniError, Site};
use store::Store;

use crate::ask::Ask;
use crate::delegate::Delegate;
use crate::endpoint::{self, Deleted};
use crate::foreign;
use crate::holdings;
use crate::host_local;
use crate::request::Request;
use crate::wire;

/// Serves a DEL: first the interfaces, for an address is free only when no route of ours leads to it; then
/// the endpoint; then the addresses. The IPAM plugin is called whatever the endpoint says: an address is the
/// container's, the endpoint is the pod's.
///
/// # Errors
/// Code 999, or the IPAM plugin's; the runtime then asks again.
pub async fn del<S: Store>(site: &Site<S>, ask: &Ask) -> Result<(), CniError> {
    let request = Request::new(site, ask)?;
    let answer = serve(&request).await;
    request.conclude(answer)
}

async fn serve(request: &Request<'_, impl Store>) -> Result<(), CniError> {
    request.refuse_while_locked().await?;
    let found = endpoint::look(request).await?;
    if let Err(error) = foreign::refuse(&request.ask.conf)
        && found.stored().is_some_and(|(it, _)| !endpoint::is_of_another(it, &request.names.container))
    {
        // Another dataplane may still carry its packets; while there is none to carry, all that is left of a
        // refused ADD goes.
        return Err(error);
    }
    let left = wire::take_down(request, found.stored()).await?;
    // An ADD that was refused, as the container has an interface already, has left nothing.
    let is_pods_own = left.is_attached && request.site.backend == Backend::Kubernetes;
    if is_pods_own || holdings::hold(request, &left.addresses).await? {
        let line = format!(
            "what {} holds on this network is another interface's, and stays",
            request.names.container
        );
        request.log.say(Level::Info, line);
        return Ok(());
    }
    wire::cut_off(request, found.stored()).await?;
    if endpoint::delete(request, found).await? == Deleted::IsAnothers {
        let line = format!("{} is another container's by now, and stays", request.names.endpoint);
        request.log.say(Level::Info, line);
    }
    let mut configuration = request.ask.configuration.clone();
    if request.ipam_type() == "host-local" {
        host_local::fill_in_anything(&mut configuration);
    }
    let delegate = Delegate::find(request.ipam_type(), &request.ask.environment)?;
    delegate.del(&configuration, &request.ask.call.args, &request.log).await
}
