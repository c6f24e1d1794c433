//! Whether Calico's kube-controllers run beside this program.

use std::time::Duration;

use store::{AnyStore, StoreError};

/// Why the controllers do not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BesideError {
    /// Calico's kube-controllers run.
    #[error(
        "Calico's kube-controllers run: {0}. Two collectors would each free what the other looks at. End them first: {1}. To run beside them all the same: rackpoold controllers --force"
    )]
    Calico(String, String),
    /// Nobody knows.
    #[error(
        "cannot tell whether Calico's kube-controllers run: {0}. To start without knowing it: rackpoold controllers --force"
    )]
    Unknown(#[from] StoreError),
}

impl BesideError {
    /// Whether the same question may have an answer later.
    pub fn is_transient(&self) -> bool {
        matches!(self, BesideError::Unknown(error) if error.is_transient())
    }
}

/// How often a process that works looks whether they have come.
const LOOK: Duration = Duration::from_secs(60);

/// Refuses to go on where Calico's kube-controllers are ready. Without Kubernetes nobody can tell.
///
/// # Errors
/// See [`BesideError`].
pub async fn refuse(store: &AnyStore, within: Duration) -> Result<(), BesideError> {
    let found = match store {
        #[cfg(feature = "kubernetes")]
        AnyStore::Kubernetes(store) => store.calico_controllers(within).await?,
        _ => {
            let _ = within;
            Vec::new()
        }
    };
    judge(&found)
}

/// Waits until Calico's kube-controllers are there, as far as anybody can tell.
pub async fn comes(store: &AnyStore, within: Duration) -> BesideError {
    loop {
        tokio::time::sleep(LOOK).await;
        if let Err(error @ BesideError::Calico(..)) = refuse(store, within).await {
            return error;
        }
    }
}

fn judge(found: &[String]) -> Result<(), BesideError> {
    if found.is_empty() {
        return Ok(());
    }
    let ends: Vec<String> = found.iter().map(|one| end(one)).collect();
    Err(BesideError::Calico(found.join(", "), ends.join("; ")))
}

/// The command that ends a Deployment `Deployment namespace/name`.
fn end(deployment: &str) -> String {
    let (namespace, name) =
        deployment.trim_start_matches("Deployment ").split_once('/').unwrap_or(("kube-system", deployment));
    format!("kubectl -n {namespace} scale deployment {name} --replicas=0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_names_the_next_command() {
        assert!(judge(&[]).is_ok());
        let found = ["Deployment calico-system/calico-kube-controllers".to_string()];
        let error = judge(&found).unwrap_err().to_string();
        let command = "kubectl -n calico-system scale deployment calico-kube-controllers --replicas=0";
        assert!(error.contains(command) && error.ends_with("--force"), "{error}");
    }
}
