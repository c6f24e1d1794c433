//! The plugins' kubeconfig: how they reach the API server under an account of their own, which has fewer
//! rights than the agent's.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};
use setup::Environment;
use store::StoreError;
use store::kubernetes::{Address, KubeStore, ServiceAccount, ServiceToken};

use super::{InstallError, Notes, Places, Written, put_text};
use crate::namespace::own_namespace;

/// The life of a token that is asked for, in seconds. The server may give a shorter one.
const LIFE: u32 = 24 * 60 * 60;

/// Why the plugins' token was not renewed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RenewError {
    /// The account does not exist.
    #[error(
        "the plugins' token cannot be renewed: there is no service account {0}: kubectl apply -f deploy/rbac/calico.yaml, or name another account of that namespace by CALICO_CNI_SERVICE_ACCOUNT"
    )]
    NoAccount(ServiceAccount),
    /// The API server gives no token.
    #[error("the plugins' token of {account} cannot be renewed: {error}")]
    Store {
        /// The account.
        account: ServiceAccount,
        /// The store's error.
        error: StoreError,
    },
    /// The kubeconfig cannot be written.
    #[error(transparent)]
    File(#[from] InstallError),
}

/// The account of the plugins, as `deploy/rbac/calico.yaml` makes it: in the agent's own namespace, by the
/// name that Calico's variable `CALICO_CNI_SERVICE_ACCOUNT` says, or else `calico`.
pub fn account(environment: &Environment) -> ServiceAccount {
    let name = environment.get("CALICO_CNI_SERVICE_ACCOUNT").unwrap_or("calico").to_string();
    ServiceAccount { namespace: own_namespace(environment), name }
}

/// Gets a new token for the plugins and writes it into their kubeconfig. Gives how long the token lives: see
/// [`super::Renewal`].
///
/// # Errors
/// When there is no token, or the kubeconfig cannot be written. The old kubeconfig then stays as it is.
pub async fn renew(
    places: &Places,
    notes: &mut Notes,
    server: &KubeStore,
    account: &ServiceAccount,
    now: api::Timestamp,
    within: Duration,
) -> Result<Duration, RenewError> {
    let token = token(server, account, within).await?;
    write(places, notes, &server.address(), account, &token)?;
    Ok(life(&token, now))
}

/// Gets a new token for the plugins: the first half of [`renew`], for a caller that others wait for with the
/// notes.
///
/// # Errors
/// When there is no token.
pub async fn token(
    server: &KubeStore,
    account: &ServiceAccount,
    within: Duration,
) -> Result<ServiceToken, RenewError> {
    let asked = server.token(account, LIFE, within).await;
    let asked = asked.map_err(|error| RenewError::Store { account: account.clone(), error })?;
    asked.ok_or_else(|| RenewError::NoAccount(account.clone()))
}

/// How long a token still lives.
pub fn life(token: &ServiceToken, now: api::Timestamp) -> Duration {
    Duration::try_from(token.expires.duration_since(now)).unwrap_or_default()
}

/// Writes the plugins' kubeconfig: the second half of [`renew`].
///
/// # Errors
/// When it cannot be written. The old kubeconfig then stays as it is.
pub fn write(
    places: &Places,
    notes: &mut Notes,
    address: &Address,
    account: &ServiceAccount,
    token: &ServiceToken,
) -> Result<Written, InstallError> {
    put_text(notes, &places.kubeconfig(), 0o600, &text(address, account, token))
}

/// The kubeconfig's text. Every value is written as JSON, which is YAML, too.
fn text(address: &Address, account: &ServiceAccount, token: &ServiceToken) -> String {
    let mut cluster = json!({"server": address.server});
    // Clients refuse a kubeconfig that names authorities and says that they are not to be asked.
    let authorities = address.authorities.as_ref().filter(|_| !address.is_unchecked);
    let optional = [
        ("certificate-authority-data", authorities.map(|pem| STANDARD.encode(pem))),
        ("tls-server-name", address.certificate_name.clone()),
        ("proxy-url", address.proxy.clone()),
    ];
    for (field, value) in optional {
        if let Some(value) = value {
            cluster[field] = value.into();
        }
    }
    if address.is_unchecked {
        cluster["insecure-skip-tls-verify"] = Json::Bool(true);
    }
    format!(
        "# The kubeconfig of the CNI plugins, for the service account {account}. rackpoold writes it, and renews its token.\n\
         apiVersion: v1\n\
         kind: Config\n\
         clusters:\n\
         - name: local\n  cluster: {cluster}\n\
         users:\n\
         - name: calico\n  user: {user}\n\
         contexts:\n\
         - name: calico-context\n  context: {context}\n\
         current-context: calico-context\n",
        user = json!({"token": token.token}),
        context = json!({"cluster": "local", "user": "calico"}),
    )
}
