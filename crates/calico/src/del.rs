//! DEL: detaches a container. It is no error if a part of the attachment is gone already.

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

/// Serves a DEL. The interfaces go first, because an address is free only when no route of this plugin leads
/// to it; then the endpoint, then the addresses. The IPAM plugin is called whatever the endpoint says: the
/// addresses belong to the container, the endpoint belongs to the pod.
///
/// # Errors
/// Code 999, or the IPAM plugin's error; the runtime then calls DEL again.
pub async fn del<S: Store>(site: &Site<S>, ask: &Ask) -> Result<(), CniError> {
    let request = Request::new(site, ask)?;
    let answer = serve(&request).await;
    request.conclude(answer)
}

async fn serve(request: &Request<'_, impl Store>) -> Result<(), CniError> {
    if request.site.is_begun {
        request.refuse_while_locked().await?;
    }
    let found = endpoint::look(request).await?;
    if let Err(error) = foreign::refuse(&request.ask.conf)
        && found.stored().is_some_and(|(it, _)| !endpoint::is_of_another(it, &request.names.container))
    {
        // Another dataplane may still carry the container's packets. (Where the endpoint is missing or
        // another container's, a refused ADD of this container may have left something, which is removed.)
        return Err(error);
    }
    let left = wire::take_down(request, found.stored()).await?;
    // If the container had an interface already, its second ADD was refused. The DEL after that must leave
    // the first interface alone.
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
    match Delegate::find(request.ipam_type(), &request.ask.environment) {
        Ok(delegate) => delegate.del(&configuration, &request.ask.call.args, &request.log).await,
        // What a plugin holds that is gone nobody can give back; but its DEL would come again for ever.
        Err(error) if holdings::of_container(request).await?.is_empty() => {
            let line = format!("{}: what it may hold for {} stays there", error.msg, request.names.container);
            request.log.say(Level::Error, line);
            Ok(())
        }
        Err(error) => Err(error),
    }
}
