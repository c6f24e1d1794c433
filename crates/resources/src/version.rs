//! Compares the versions of client and cluster (`calicoctl/commands/common`, `CheckVersionMismatch`), and
//! reads the datastore's lock. The caller decides what follows from either: the plugin, like Calico's, looks
//! at neither.

use api::{Key, Kind, Resource};
use serde_json::Value as Json;

/// Client and cluster have different versions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "version mismatch.\nClient Version:   {client}\nCluster Version:  {cluster}\nUse --allow-version-mismatch to override"
)]
pub struct Mismatch {
    /// The client's version, as the client names it.
    pub client: String,
    /// The cluster's version, without `v` and suffix.
    pub cluster: String,
}

/// The key of the one ClusterInformation.
pub fn cluster_information() -> Key {
    Key::global(Kind::ClusterInformation, "default")
}

/// Compares the client's version with the one in a ClusterInformation. A missing ClusterInformation, or one
/// without a version, fits every client.
///
/// # Errors
/// When the versions differ. A leading `v`, and what follows the first `-`, do not count.
pub fn check(client: &str, cluster: Option<&Resource>) -> Result<(), Mismatch> {
    let stored = cluster.and_then(|resource| resource.text(&["spec", "calicoVersion"])).unwrap_or_default();
    if stored.is_empty() || plain(stored) == plain(client) {
        return Ok(());
    }
    Err(Mismatch { client: client.to_string(), cluster: plain(stored).to_string() })
}

fn plain(version: &str) -> &str {
    let version = version.strip_prefix('v').unwrap_or(version);
    version.split('-').next().unwrap_or_default()
}

/// Whether the datastore may be used, that is, is not locked for a migration. If the field is unset it may
/// not, as in Calico.
pub fn is_ready(cluster: &Resource) -> bool {
    cluster.field(&["spec", "datastoreReady"]).and_then(Json::as_bool).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_fit_up_to_prefix_and_suffix() {
        let cluster = |version: &str| {
            let spec = serde_json::json!({"spec": {"calicoVersion": version}});
            Resource::from_json(Kind::ClusterInformation, spec).unwrap()
        };
        for fits in ["", "v3.33.0", "3.33.0", "v3.33.0-0.dev-5-gabc"] {
            assert_eq!(check("v3.33.0", Some(&cluster(fits))), Ok(()), "{fits}");
        }
        for other in ["v3.30.1", "3.33.1", "master", "v3.33"] {
            assert!(check("v3.33.0", Some(&cluster(other))).is_err(), "{other}");
        }
        assert_eq!(check("v3.33.0", None), Ok(()));
        let error = check("v3.33.0", Some(&cluster("v3.30.1-x"))).unwrap_err();
        assert!(error.to_string().contains("Cluster Version:  3.30.1\n"), "{error}");
    }
}
