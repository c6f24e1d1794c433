//! What runs in the cluster, and what only Kubernetes holds: workloads, definitions, objects that are no
//! records.

use std::fmt;
#[cfg(feature = "kubernetes")]
use std::time::Duration;

use api::Kind;
use api::crd::Collection;
#[cfg(feature = "kubernetes")]
use store::AnyStore;
#[cfg(feature = "kubernetes")]
use store::kubernetes::{ObjectName, Undefined};
use store::strangers::Strangers;
use store::{Scope, StoreError};

use super::report::{Left, Purged};
use crate::Context;
#[cfg(feature = "kubernetes")]
use crate::custom_resources::CustomResource;
use crate::failure::Failure;
use crate::session::Session;

/// The plural, the kind and the name of rackpool's workloads.
const OURS: [(&str, &str, &str); 2] =
    [("daemonsets", "DaemonSet", "rackpoold-node"), ("deployments", "Deployment", "rackpoold-controllers")];
/// How long pods may take to end, and the server to remove a definition with its objects.
#[cfg(feature = "kubernetes")]
const END_WITHIN: Duration = Duration::from_secs(300);
#[cfg(feature = "kubernetes")]
const PAUSE: Duration = Duration::from_millis(500);

/// A workload of rackpool's.
#[cfg_attr(not(feature = "kubernetes"), allow(dead_code, reason = "only Kubernetes has workloads"))]
pub(super) struct Workload {
    plural: &'static str,
    namespace: String,
    name: &'static str,
}

#[cfg(feature = "kubernetes")]
impl Workload {
    fn object(&self) -> ObjectName<'_> {
        ObjectName::workload(&self.namespace, self.plural, self.name)
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.plural, self.namespace, self.name)
    }
}

/// What there is around the records.
#[derive(Default)]
pub(super) struct Cluster {
    /// Everything that runs, for the user.
    pub running: Vec<String>,
    pub ours: Vec<Workload>,
    /// Calico's programs that run.
    pub calicos: Vec<String>,
    /// What the server does not serve.
    lacking: Vec<Collection>,
}

impl Cluster {
    /// Looks.
    pub fn look(session: &Session) -> Result<Cluster, StoreError> {
        let store = session.store.inner();
        let mut cluster = Cluster::default();
        for (plural, kind, name) in OURS {
            for found in session.wait(store.workloads(plural, name, session.within))? {
                let namespace = found["metadata"]["namespace"].as_str().unwrap_or_default().to_string();
                cluster.running.push(format!("{kind} {namespace}/{name}"));
                cluster.ours.push(Workload { plural, namespace, name });
            }
        }
        cluster.calicos = session.wait(store.calico_nodes(session.within))?;
        #[cfg(feature = "kubernetes")]
        if let AnyStore::Kubernetes(store) = store {
            cluster.calicos.extend(session.wait(store.calico_controllers(session.within))?);
            cluster.lacking = session.wait(store.lacking(session.within))?;
        }
        cluster.running.extend(cluster.calicos.iter().cloned());
        Ok(cluster)
    }

    /// Whether the store cannot hold what is in a scope, since it is not defined.
    pub fn lacks(&self, scope: &Scope) -> bool {
        let collection = match scope {
            Scope::Resources { kind, .. } => Collection::of_kind(*kind),
            Scope::Affinities { .. } => Some(Collection::Affinities),
            Scope::Blocks { .. } | Scope::Block(_) => Some(Collection::Blocks),
            Scope::Handles => Some(Collection::Handles),
            Scope::IpamConfig => Collection::of_kind(Kind::IPAMConfiguration),
        };
        collection.is_some_and(|collection| self.lacking.contains(&collection))
    }

    /// Whether there can be a ClusterInformation.
    pub fn has_information(&self) -> bool {
        !self.lacks(&Scope::kind(Kind::ClusterInformation))
    }

    /// Deletes rackpool's workloads, and waits until their pods are gone.
    pub fn stop(&self, session: &Session, context: &mut Context<'_>) -> Result<(), Failure> {
        #[cfg(feature = "kubernetes")]
        if let AnyStore::Kubernetes(store) = session.store.inner() {
            let failed = |error: StoreError| Failure::in_calico_words(error.to_string());
            for one in &self.ours {
                session.wait(store.remove_object(one.object(), session.within)).map_err(failed)?;
            }
            let begin = store::Effects::elapsed(session.effects());
            for one in &self.ours {
                while session.wait(store.object(one.object(), session.within)).map_err(failed)?.is_some() {
                    if store::Effects::elapsed(session.effects()).saturating_sub(begin) > END_WITHIN {
                        return Err(Failure::in_calico_words(format!(
                            "nothing was removed: {one} is deleted, and after {END_WITHIN:?} some of its pods are still there. See which: kubectl --namespace {} get pods",
                            one.namespace
                        )));
                    }
                    session.wait(store::Effects::sleep(session.effects(), PAUSE));
                }
                writeln!(context.stderr, "Stopped {one}")?;
            }
        }
        let _ = (session, context);
        Ok(())
    }

    /// Removes objects that are no records. Gives those that could not be removed.
    pub fn remove_strays(
        &self,
        session: &Session,
        removed: &mut Vec<String>,
    ) -> Result<Vec<Left>, StoreError> {
        #[cfg(feature = "kubernetes")]
        if let AnyStore::Kubernetes(store) = session.store.inner() {
            let mut left = Vec::new();
            let there: Vec<Collection> =
                Collection::all().filter(|collection| !self.lacking.contains(collection)).collect();
            for stray in session.wait(store.remove_strays(&there, session.within))? {
                match stray.fault {
                    None => removed.push(stray.name),
                    Some(reason) => left.push(Left { what: stray.name, reason }),
                }
            }
            return Ok(left);
        }
        let _ = (session, removed);
        Ok(Vec::new())
    }

    /// Removes rackpool's definitions.
    pub fn remove_definitions(&self, session: &Session, purged: &mut Purged) {
        #[cfg(feature = "kubernetes")]
        if let AnyStore::Kubernetes(store) = session.store.inner() {
            let group = session.wait(store.group(session.within)).map_err(|error| error.to_string());
            let all = match group.and_then(CustomResource::all) {
                Ok(all) => all,
                Err(reason) => {
                    purged.left.push(Left { what: "the definitions".to_string(), reason });
                    return;
                }
            };
            let names: Vec<&str> = all.iter().map(|one| one.definition().name).collect();
            let ended = session.wait(store.undefine(&names, END_WITHIN));
            for (name, ended) in names.into_iter().zip(ended) {
                let name = name.to_string();
                match ended {
                    Ok(Undefined::Removed) => purged.definitions.push(name),
                    Ok(Undefined::Foreign) => purged.foreign.push(name),
                    Ok(Undefined::Absent) => {}
                    Err(error) => purged.left.push(Left { what: name, reason: error.to_string() }),
                }
            }
        }
        let _ = (session, purged);
    }
}
