//! The profile of a network. Where no other component enforces policy, every endpoint names its network's
//! profile (`cni-plugin/pkg/plugin/plugin.go`).

use api::capability::Backend;
use api::{Kind, Metadata, Resource, validate};
use cni::CniError;
use cni::log::Level;
use resources::Error;
use serde_json::{Map, json};
use store::Store;

use crate::request::{Request, WITHIN};

/// The pause before another try to create the profile.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// The profile that the request's network needs; `None` where another component enforces policy. In
/// Kubernetes an endpoint names the profiles of its namespace and service account instead, which exist as
/// long as these do.
///
/// # Errors
/// Code 999 where no profile can have the network's name.
pub fn wanted(request: &Request<'_, impl Store>) -> Result<Option<Resource>, CniError> {
    if request.ask.conf.text(&["policy", "type"]).is_some() {
        return Ok(None);
    }
    if request.site.backend == Backend::Kubernetes {
        let line = "policy.type is not set: in Kubernetes no profile is created, endpoints have those of their namespace and service account";
        request.log.say(Level::Info, line);
        return Ok(None);
    }
    let network = request.ask.conf.name();
    let profile = of_network(network, request.names.is_pod());
    validate::resource(&profile).map_err(|error| {
        CniError::internal(format!(
            "{error}: the network {network:?} can have no profile of that name, which its endpoints would name as policy.type is not set: \
             give the network another name, or set policy.type"
        ))
    })?;
    Ok(Some(profile))
}

/// The default rules: a pod of Kubernetes accepts traffic from everywhere, any other container only from its
/// own network.
fn of_network(network: &str, is_pod: bool) -> Resource {
    let ingress = match is_pod {
        true => json!({"action": "Allow"}),
        false => json!({"action": "Allow", "source": {"selector": format!("has({network})")}}),
    };
    let mut labels = Map::new();
    labels.insert(network.to_string(), "".into());
    let spec = json!({"ingress": [ingress], "egress": [{"action": "Allow"}], "labelsToApply": labels});
    let metadata = Metadata { name: network.to_string(), ..Metadata::default() };
    Resource::new(Kind::Profile, metadata, Map::from_iter([("spec".to_string(), spec)]))
}

/// Creates the profile. A profile that exists already is left as it is, since operators change profiles, and
/// another request of the same network may have created it just now.
///
/// # Errors
/// Code 999 where the store refuses the profile, or cannot be reached.
pub async fn create(request: &Request<'_, impl Store>, profile: &Resource) -> Result<(), CniError> {
    let end = request.site.clock.elapsed() + WITHIN;
    loop {
        let reason = match Box::pin(request.client().create(profile)).await {
            Ok(_) => {
                request.log.say(Level::Info, format!("created the profile {}", profile.name()));
                return Ok(());
            }
            Err(Error::AlreadyExists(..)) => return Ok(()),
            Err(Error::InDoubt { reason, .. }) => reason,
            Err(Error::Store(error)) if error.is_transient() => error.to_string(),
            Err(error) => return Err(CniError::internal(error)),
        };
        if request.site.clock.elapsed() + PAUSE >= end {
            let name = profile.name();
            return Err(CniError::internal(format!("the profile {name} cannot be created: {reason}")));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_it_lets_in() {
        let text = |is_pod| of_network("net1", is_pod).canonical().to_stored_text();
        let start = r#"{"kind":"Profile","apiVersion":"projectcalico.org/v3","metadata":{"name":"net1"},"spec":{"ingress":"#;
        let end = r#","egress":[{"action":"Allow"}],"labelsToApply":{"net1":""}}}"#;
        let own = r#"[{"action":"Allow","source":{"selector":"has(net1)"}}]"#;
        assert_eq!(text(false), format!("{start}{own}{end}"));
        assert_eq!(text(true), format!(r#"{start}[{{"action":"Allow"}}]{end}"#));
    }
}
