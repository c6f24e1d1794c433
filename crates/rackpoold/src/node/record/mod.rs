//! The record of this node: what it must say so that other nodes, ours and Calico's, reach its pods; and the
//! write, which touches nothing else.
//!
//! On etcd and the embedded store it is a Node resource, created where it does not exist and changed by
//! compare-and-swap. On Kubernetes the kubelet owns the Node: Calico's fields are annotations of it, and a
//! merge patch of these annotations alone fights with nobody.

#[cfg(feature = "kubernetes")]
mod kubernetes;
mod says;

use std::net::IpAddr;
use std::time::Duration;

use api::{Backend, Kind, Resource};
use ipnet::IpNet;
use resources::{Client, Error, Identifier};
use store::{AnyStore, Effects, StoreError};

use super::detect::{self, DetectError};
use super::name::{Holder, MACHINE_ANNOTATION};
#[cfg(feature = "kubernetes")]
pub use kubernetes::annotations_patch;
pub use says::{Says, differences, fresh, told, told_interfaces, tunnel_address, with_machine};

/// How often a change is tried when other writers are faster.
const TRIES: u32 = 5;

/// Why the Node was not read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Kubernetes has no Node of that name, and only a kubelet creates one.
    #[error(
        "Kubernetes has no Node({0}): the kubelet creates it. Look at `kubectl get nodes`; where the kubelet gives this host another name, set NODENAME to that"
    )]
    Missing(String),
    /// The Node cannot be read. Mend it; until then nothing of it is changed.
    #[error(
        "Node({name}) cannot be read, so it is not changed: {reason}. Mend it by `calicoctl replace -f FILE`, or on Kubernetes by `kubectl annotate`"
    )]
    Unreadable {
        /// The Node.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Other writers were faster at every try. Try again later.
    #[error("Node({0}) was changed by others at every try to write it")]
    Busy(String),
    /// The node must not have that address.
    #[error(transparent)]
    Address(#[from] DetectError),
    /// The store's, or the resource breaks a rule.
    #[error("Node({name}): {error}")]
    Resource {
        /// The Node.
        name: String,
        /// The error.
        error: Error,
    },
    /// The store gave no answer, or refused.
    #[error("Node({name}): {error}")]
    Store {
        /// The Node.
        name: String,
        /// The error.
        error: StoreError,
    },
}

/// What is stored about this node.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// The Node as readers see it; `None` where there is none yet.
    pub node: Option<Resource>,
    /// What it says of the machine that has its name.
    pub holder: Holder,
    /// The addresses of type InternalIP that the kubelet reports, on Kubernetes.
    pub internal_ips: Vec<IpAddr>,
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// The Node says it already: nothing was written.
    Nothing,
    /// The Node was created.
    Created,
    /// These parts of it were changed.
    Changed(Vec<String>),
}

/// The record of this node in a store.
#[derive(Debug)]
pub struct NodeRecord<'a, E> {
    /// The store.
    pub store: &'a AnyStore,
    /// Time and randomness.
    pub effects: &'a E,
    /// The node's name.
    pub name: &'a str,
    /// How long each call to the store may take.
    pub within: Duration,
}

impl<E> Clone for NodeRecord<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for NodeRecord<'_, E> {}

impl<'a, E: Effects> NodeRecord<'a, E> {
    /// Reads what is stored.
    ///
    /// # Errors
    /// The store's; [`RecordError::Missing`] where Kubernetes has no Node of that name.
    pub async fn read(&self) -> Result<Stored, RecordError> {
        #[cfg(feature = "kubernetes")]
        if let AnyStore::Kubernetes(store) = self.store {
            return kubernetes::read(store, self.name, self.within).await;
        }
        let node = match self.client(Backend::Etcd).get(&self.id()).await {
            Ok(node) => Some(node),
            Err(Error::DoesNotExist(..)) => None,
            Err(error) => return Err(self.failed(error)),
        };
        let holder = node.as_ref().map(|node| holder(node, None)).unwrap_or_default();
        Ok(Stored { node, holder, internal_ips: Vec::new() })
    }

    /// Sees to it that the Node says that. Writes nothing where it does already.
    ///
    /// # Errors
    /// The store's; [`RecordError::Busy`] after a few tries. Whatever the error, calling again is safe.
    pub async fn write(&self, says: &Says) -> Result<Written, RecordError> {
        #[cfg(feature = "kubernetes")]
        if let AnyStore::Kubernetes(store) = self.store {
            let written = kubernetes::write(store, self.name, says, self.within).await?;
            self.log(&written);
            return Ok(written);
        }
        let client = self.client(Backend::Etcd);
        for _ in 0..TRIES {
            let Stored { node, .. } = self.read().await?;
            let before = node.clone().unwrap_or_else(|| fresh(self.name));
            let after = with_machine(&told(&before, says), says.machine.as_ref());
            let result = match node {
                Some(_) if after == before => return Ok(Written::Nothing),
                // The Node carries the revision at which it was read, so nobody's change is undone.
                Some(_) => client.update(&after).await,
                None => client.create(&after).await,
            };
            match result {
                Ok(_) => {
                    let written = match node {
                        Some(_) => Written::Changed(differences(&before, &after)),
                        None => Written::Created,
                    };
                    self.log(&written);
                    return Ok(written);
                }
                Err(Error::Conflict(_) | Error::AlreadyExists(..) | Error::DoesNotExist(..)) => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
        Err(RecordError::Busy(self.name.to_string()))
    }

    /// Refuses addresses that another Node has. Reads all Nodes, so ask it only about new addresses.
    ///
    /// # Errors
    /// [`RecordError::Address`]; the store's.
    pub async fn refuse_taken(&self, addresses: &[IpNet]) -> Result<(), RecordError> {
        let nodes = self.list(Kind::Node).await?;
        addresses.iter().try_for_each(|net| Ok(detect::refuse_taken(self.name, *net, &nodes)?))
    }

    /// All resources of a kind.
    pub(super) async fn list(&self, kind: Kind) -> Result<Vec<Resource>, RecordError> {
        let listed = self.client(self.backend()).list(kind, None).await;
        Ok(listed.map_err(|error| self.failed(error))?.items)
    }

    /// Which rules of writing the store has.
    pub(super) fn backend(&self) -> Backend {
        match self.store {
            #[cfg(feature = "kubernetes")]
            AnyStore::Kubernetes(_) => Backend::Kubernetes,
            _ => Backend::Etcd,
        }
    }

    fn client(&self, backend: Backend) -> Client<'a, AnyStore, E> {
        Client::new(self.store, self.effects, backend, self.within)
    }

    fn id(&self) -> Identifier {
        Identifier::new(Kind::Node, None, self.name)
    }

    fn failed(&self, error: Error) -> RecordError {
        let name = self.name.to_string();
        match error {
            Error::Store(StoreError::Corrupt(error)) => {
                RecordError::Unreadable { name, reason: error.to_string() }
            }
            error => RecordError::Resource { name, error },
        }
    }

    fn log(&self, written: &Written) {
        match written {
            Written::Nothing => {}
            Written::Created => tracing::info!(node = self.name, "created the Node"),
            Written::Changed(what) => {
                tracing::info!(node = self.name, changed = what.join("; "), "wrote the Node");
            }
        }
    }
}

/// What a Node says of the machine that has its name. `kubelet` is the machine's ID that a kubelet reports.
fn holder(node: &Resource, kubelet: Option<String>) -> Holder {
    let stored = detect::stored_addresses(node);
    let addresses = [stored.v4, stored.v6].into_iter().flatten().map(|net| net.addr()).collect();
    Holder { noted: node.metadata().annotations.get(MACHINE_ANNOTATION).cloned(), kubelet, addresses }
}
