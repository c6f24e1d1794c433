//! The KubeControllersConfiguration `default`: reads it, makes it where it is missing, follows its changes,
//! and tells in its status what is in force.

use std::sync::Arc;
use std::time::Duration;

use api::{Key, Kind, Resource, Value};
use serde_json::{Value as Json, json};
use setup::Environment;
use store::{AnyStore, Batch, Expect, ReadSet, Scope, Store, StoreError};
use tokio::sync::watch;

use super::lead::Leading;
use super::settings::{self, NAME, Settings, SettingsError, Settled};
use crate::node::feed::Feed;

/// How long a call to the store may take.
const WITHIN: Duration = Duration::from_secs(10);
/// How often the status is tried to be written when other writers are faster.
const TRIES: u32 = 5;
/// How long changes are gathered.
const GATHER: Duration = Duration::from_millis(200);
/// How often the resource is looked at, whatever the store tells.
const LOOK: Duration = Duration::from_secs(60);
/// How soon something that failed is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// Where the configuration is, and what goes before it.
#[derive(Clone, Debug)]
pub struct Configuration {
    store: Arc<AnyStore>,
    environment: Environment,
}

impl Configuration {
    /// The configuration of a store.
    pub fn new(store: &Arc<AnyStore>, environment: &Environment) -> Configuration {
        Configuration { store: store.clone(), environment: environment.clone() }
    }

    /// Reads what is to be done. Where the resource is missing or cannot be read, the defaults count.
    ///
    /// # Errors
    /// When the store gives no answer.
    pub async fn read(&self) -> Result<(Result<Settled, SettingsError>, bool), StoreError> {
        let key = key();
        let view = self.store.read(&ReadSet::new().key(key.clone()), WITHIN).await?;
        if let Some(unreadable) = view.unreadable(&key) {
            tracing::warn!("{}; the defaults count instead", unreadable.error);
        }
        let is_missing = view.full(&key).is_some_and(|found| found.is_none());
        let stored = view.resource(&key).flatten().map(|(resource, _)| resource);
        Ok((self.settle(stored.and_then(|resource| resource.body().get("spec"))), is_missing))
    }

    fn settle(&self, spec: Option<&Json>) -> Result<Settled, SettingsError> {
        settings::settle(&self.environment, is_kubernetes(&self.store), spec)
    }

    /// Makes the resource, as Calico's kube-controllers make it. One that somebody else makes meanwhile
    /// stays.
    async fn create(&self) -> Result<(), StoreError> {
        let json = json!({
            "apiVersion": "projectcalico.org/v3",
            "kind": "KubeControllersConfiguration",
            "metadata": {"name": NAME},
            "spec": settings::default_spec(),
        });
        let fresh = Resource::from_json(Kind::KubeControllersConfiguration, json)
            .map_err(|error| StoreError::Unusable(error.to_string()))?;
        let mut batch = Batch::new();
        batch.put(key(), Expect::Absent, Value::Resource(api::defaults::on_write(&fresh)));
        let report = self.store.commit(&batch, WITHIN).await?;
        if report.is_applied() {
            tracing::info!(
                "KubeControllersConfiguration({NAME}) was missing and is made, with Calico's defaults"
            );
        }
        Ok(())
    }

    /// Writes the status. Where others are always faster, it is not written; the next change brings it.
    async fn tell(&self, status: &Json) -> Result<(), StoreError> {
        for _ in 0..TRIES {
            let is_done = match &*self.store {
                #[cfg(feature = "kubernetes")]
                AnyStore::Kubernetes(store) => kubernetes::tell(store, status).await?,
                _ => self.tell_record(status).await?,
            };
            if is_done {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Writes the status as a part of the record. Gives whether there is no more to do.
    async fn tell_record(&self, status: &Json) -> Result<bool, StoreError> {
        let key = key();
        let view = self.store.read(&ReadSet::new().key(key.clone()), WITHIN).await?;
        let Some((stored, revision)) = view.resource(&key).flatten() else { return Ok(true) };
        if stored.body().get("status") == Some(status) {
            return Ok(true);
        }
        let next = stored.with(|_, body| {
            body.insert("status".to_string(), status.clone());
        });
        let mut batch = Batch::new();
        batch.put(key, Expect::Revision(revision.clone()), Value::Resource(next));
        Ok(self.store.commit(&batch, WITHIN).await?.is_applied())
    }

    /// Follows the resource: gives changed settings on, and the leader makes the resource where it is missing
    /// and writes its status. It does not end.
    pub async fn follow(self, sender: watch::Sender<Settings>, mut leading: Leading) {
        let mut feed = Feed::new(&self.store, false);
        feed.follow([Scope::kind(Kind::KubeControllersConfiguration)].iter());
        let (mut told, mut noted, mut failed) = (None, Vec::new(), String::new());
        loop {
            let pause = match self.look(&sender, &leading, &mut told, &mut noted).await {
                Ok(()) if told.is_some() => LOOK,
                Ok(()) => AGAIN,
                Err(error) => {
                    let error = error.to_string();
                    if failed != error {
                        tracing::warn!("KubeControllersConfiguration({NAME}): {error}");
                        failed = error;
                    }
                    AGAIN
                }
            };
            // A new leader has the status to write.
            let leads = leading.is_leader();
            tokio::select! {
                _ = feed.next() => tokio::time::sleep(GATHER).await,
                () = leading.wins(), if !leads => {}
                () = tokio::time::sleep(pause) => {}
            }
            while feed.ready().is_some() {}
        }
    }

    async fn look(
        &self,
        sender: &watch::Sender<Settings>,
        leading: &Leading,
        told: &mut Option<Json>,
        noted: &mut Vec<String>,
    ) -> Result<(), StoreError> {
        let (settled, is_missing) = self.read().await?;
        let Settled { settings, status, notes } = match settled {
            Ok(settled) => settled,
            // The environment does not change while the process runs, and it made sense at the start.
            Err(error) => {
                tracing::error!("{error}");
                return Ok(());
            }
        };
        if *noted != notes {
            notes.iter().for_each(|note| tracing::warn!("{note}"));
            *noted = notes;
        }
        sender.send_if_modified(|known| {
            let is_new = *known != settings;
            if is_new {
                tracing::info!(?settings, "what is to be done has changed");
                *known = settings;
            }
            is_new
        });
        if !leading.is_leader() {
            *told = None;
            return Ok(());
        }
        if is_missing {
            self.create().await?;
        }
        if told.as_ref() != Some(&status) || is_missing {
            self.tell(&status).await?;
            *told = Some(status);
        }
        Ok(())
    }
}

fn key() -> Key {
    Key::global(Kind::KubeControllersConfiguration, NAME)
}

fn is_kubernetes(store: &AnyStore) -> bool {
    #[cfg(feature = "kubernetes")]
    return matches!(store, AnyStore::Kubernetes(_));
    #[cfg(not(feature = "kubernetes"))]
    return {
        let _ = store;
        false
    };
}

#[cfg(feature = "kubernetes")]
mod kubernetes {
    //! The status is a subresource: a write of it changes nothing else.

    use serde_json::Value as Json;
    use store::StoreError;
    use store::kubernetes::{KubeStore, ObjectName, Replaced};

    use super::{NAME, WITHIN};

    /// Gives whether there is no more to do.
    pub async fn tell(store: &KubeStore, status: &Json) -> Result<bool, StoreError> {
        let group = format!("/apis/{}", store.group(WITHIN).await?.api_version());
        let name =
            ObjectName { api: &group, plural: "kubecontrollersconfigurations", namespace: None, name: NAME };
        let Some(mut object) = store.object(name, WITHIN).await? else { return Ok(true) };
        object["status"] = status.clone();
        Ok(store.replace_object(name, true, &object, WITHIN).await? != Replaced::Changed)
    }
}
