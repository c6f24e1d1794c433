//! ADD: gives a container its addresses.

use cni::log::Level;
use cni::{CniError, Site, netns};
use serde_json::Value as Json;
use store::Store;

use crate::ask::Ask;
use crate::assign::{self, Recipient};
use crate::namespace::Namespace;
use crate::request::Request;
use crate::result::{self, Routes};
use crate::virtual_machine::{self, Objects};

/// Serves an ADD. Gives the result. When the ADD fails, every address that it assigned is released.
///
/// # Errors
/// Code 8 for the plugin's own network namespace, before anything is assigned (Calico assigns first); code
/// 999 for everything else.
pub async fn add<S: Store>(site: &Site<S>, ask: &Ask) -> Result<Json, CniError> {
    let request = Request::new(site, ask);
    let answer = serve(&request).await;
    request.conclude(answer)
}

async fn serve(request: &Request<'_, impl Store>) -> Result<Json, CniError> {
    let ask = request.ask;
    for line in ask.conf.oddities() {
        request.log.say(Level::Error, line);
    }
    let objects = Objects::of(request)?;
    if request.is_on_kubernetes() {
        ask.identity.check_for_kubernetes()?;
    }
    let namespace = Namespace::of(request)?;
    netns::check(&ask.call)?;
    let machine = match &objects {
        Some(objects) => objects.machine(request.deadline()).await?,
        None => None,
    };
    let container = Recipient {
        handle: ask.identity.handle(),
        attributes: ask.identity.attributes(request.site.clock.now()),
        most: None,
    };
    let _held = request.lock().await;
    let deadline = request.deadline();
    let (given, routes) = match machine {
        Some(machine) => {
            virtual_machine::add(request, namespace.as_ref(), &machine, container, deadline).await?
        }
        None => (assign::assign(request, namespace.as_ref(), container, deadline).await?, Routes::Each),
    };
    for given in &given {
        request.log.say(Level::Info, format!("assigned {given} to {}", ask.call.container));
    }
    result::to_json(&ask.version, &given, routes)
}
