//! What every datastore begins with; the datastore's lock; and the allocator's configuration
//! (`clientv3/client.go`, `EnsureInitialized`).

use api::capability::Backend;
use api::{Cidr, Family, IpamConfig, Key, Kind, Resource, Value};
use serde_json::{Value as Json, json};
use store::{Batch, Effects, Expect, ReadSet, Store};

use crate::client::{Client, Committed, TRIES, resource_in};
use crate::config::{self, ConfigChange};
use crate::error::{Error, Identifier};
use crate::metadata;
use crate::version::{cluster_information, is_ready};

/// The tiers that every cluster has: name, order, default action.
const TIERS: [(&str, u32, &str); 3] =
    [("default", 1_000_000, "Deny"), ("kube-admin", 1_000, "Pass"), ("kube-baseline", 10_000_000, "Pass")];

/// A pool that `datastore init` creates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultPool {
    /// The name.
    pub name: String,
    /// The network.
    pub cidr: Cidr,
    /// The prefix length of the pool's blocks; `None` for the family's default.
    pub block_size: Option<u8>,
    /// When packets are encapsulated in IP: `Never`, `Always` or `CrossSubnet`.
    pub ipip_mode: String,
    /// When packets are encapsulated in VXLAN: `Never`, `Always` or `CrossSubnet`.
    pub vxlan_mode: String,
    /// Whether nodes put their own address in the place of the pool's addresses in packets that leave the
    /// cluster.
    pub nat_outgoing: bool,
}

impl DefaultPool {
    /// The pool as a resource.
    pub fn resource(&self) -> Resource {
        let mut spec = json!({"cidr": self.cidr.to_string(), "ipipMode": self.ipip_mode, "vxlanMode": self.vxlan_mode,
            "natOutgoing": self.nat_outgoing});
        if let Some(size) = self.block_size {
            spec["blockSize"] = size.into();
        }
        global(Kind::IPPool, &self.name, json!({ "spec": spec })).canonical()
    }
}

/// What `datastore init` did about a pool.
#[derive(Clone, Debug, PartialEq)]
pub enum PoolOutcome {
    /// The pool was created.
    Created(Resource),
    /// There was a pool with that name and network already.
    There(Resource),
}

impl<S: Store, E: Effects> Client<'_, S, E> {
    /// Creates what every datastore has, as far as it is missing: the ClusterInformation, with a new ID and
    /// unlocked, and three tiers. If nothing is missing this costs one read.
    ///
    /// # Errors
    /// The store's.
    pub async fn ensure_initialised(&self) -> Result<(), Error> {
        let set = ReadSet::new()
            .key(cluster_information())
            .keys(TIERS.map(|(name, ..)| Key::global(Kind::Tier, name)));
        let id = Identifier::new(Kind::ClusterInformation, None, "default");
        for attempt in 0..TRIES {
            if attempt > 0 {
                self.pause(attempt).await;
            }
            let view = self.read(&set).await?;
            let mut batch = Batch::new();
            match resource_in(&view, &cluster_information()) {
                None => {
                    let guid = metadata::uid(self.effects).replace('-', "");
                    let mut body = json!({"spec": {"clusterGUID": guid, "datastoreReady": true}});
                    if self.backend == Backend::Kubernetes {
                        body["spec"]["clusterType"] = "kdd".into();
                    }
                    self.put_new(&mut batch, global(Kind::ClusterInformation, "default", body));
                }
                Some((stored, revision)) if stored.field(&["spec", "datastoreReady"]).is_none() => {
                    let ready = with_ready(&stored, true);
                    batch.put(id.key(), Expect::Revision(revision), Value::Resource(ready));
                }
                Some(_) => {}
            }
            for (name, order, action) in TIERS {
                if resource_in(&view, &Key::global(Kind::Tier, name)).is_none() {
                    let body = json!({"spec": {"order": order, "defaultAction": action}});
                    self.put_new(&mut batch, global(Kind::Tier, name, body));
                }
            }
            if batch.is_empty() {
                return Ok(());
            }
            if let Committed::Applied(_) = self.commit(&batch, &id).await? {
                return Ok(());
            }
        }
        Err(Error::Conflict(id))
    }

    fn put_new(&self, batch: &mut Batch, resource: Resource) {
        let stored =
            metadata::with_identity(&resource.canonical(), metadata::uid(self.effects), self.effects.now());
        batch.put(stored.key(), Expect::Absent, Value::Resource(stored));
    }

    /// Creates a pool, unless it exists already.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] if the pool of that name has another network; otherwise as
    /// [`Client::create`].
    pub async fn ensure_pool(&self, pool: &DefaultPool) -> Result<PoolOutcome, Error> {
        let resource = pool.resource();
        let id = Identifier::of(&resource);
        match self.get(&id).await {
            Ok(there) if crate::pools::cidr(&there) == Some(pool.cidr) => Ok(PoolOutcome::There(there)),
            Ok(_) => Err(self.already_exists(id)),
            Err(Error::DoesNotExist(..)) => Ok(PoolOutcome::Created(self.create(&resource).await?)),
            Err(error) => Err(error),
        }
    }

    /// Whether there is a pool of that family.
    ///
    /// # Errors
    /// The store's.
    pub async fn has_pool(&self, family: Family) -> Result<bool, Error> {
        let pools = self.list(Kind::IPPool, None).await?.items;
        Ok(pools.iter().any(|pool| crate::pools::cidr(pool).is_some_and(|cidr| cidr.family() == family)))
    }

    /// Whether the datastore may be used; `None` if there is no ClusterInformation that could say so.
    ///
    /// # Errors
    /// The store's.
    pub async fn is_ready(&self) -> Result<Option<bool>, Error> {
        let view = self.read(&ReadSet::new().key(cluster_information())).await?;
        Ok(resource_in(&view, &cluster_information()).map(|(stored, _)| is_ready(&stored)))
    }

    /// Unlocks (`true`) or locks the datastore.
    ///
    /// # Errors
    /// [`Error::DoesNotExist`] if the datastore was never initialised; the store's.
    pub async fn set_ready(&self, ready: bool) -> Result<(), Error> {
        let id = Identifier::new(Kind::ClusterInformation, None, "default");
        for attempt in 0..TRIES {
            if attempt > 0 {
                self.pause(attempt).await;
            }
            let (stored, revision) = self.resource(&id).await?;
            let mut batch = Batch::new();
            let changed = Value::Resource(with_ready(&stored, ready));
            batch.put(id.key(), Expect::Revision(revision), changed);
            if let Committed::Applied(_) = self.commit(&batch, &id).await? {
                return Ok(());
            }
        }
        Err(Error::Conflict(id))
    }

    /// The allocator's configuration; the defaults if there is no record of it.
    ///
    /// # Errors
    /// The store's.
    pub async fn ipam_config(&self) -> Result<IpamConfig, Error> {
        let view = self.read(&ReadSet::new().key(Key::IpamConfig)).await?;
        Ok(view.ipam_config().unwrap_or_default())
    }

    /// Changes the allocator's configuration, and the resource that stands for it if there is one. What is
    /// stored so already is not written.
    ///
    /// # Errors
    /// [`Error::Config`] if the changed configuration would contradict itself; the store's.
    pub async fn configure(&self, change: &ConfigChange) -> Result<IpamConfig, Error> {
        let id = Identifier::new(Kind::IPAMConfiguration, None, config::NAME);
        for attempt in 0..TRIES {
            if attempt > 0 {
                self.pause(attempt).await;
            }
            let view = self.read(&config::reads()).await?;
            let changed = change.apply(view.ipam_config().unwrap_or_default())?;
            let mut batch = Batch::new();
            let is_stored = view.full(&Key::IpamConfig).flatten().is_some();
            if !is_stored || view.ipam_config().as_ref() != Some(&changed) {
                config::put(&mut batch, &view, changed.clone());
            }
            let twin = config::is_twin(self.backend, id.kind, &id.name);
            if let Some((resource, revision)) = resource_in(&view, &config::key()).filter(|_| twin) {
                let twin = config::to_resource(&resource, &changed);
                if twin != resource {
                    batch.put(config::key(), Expect::Revision(revision), Value::Resource(twin));
                }
            }
            if batch.is_empty() {
                return Ok(changed);
            }
            if let Committed::Applied(_) = self.commit(&batch, &id).await? {
                return Ok(changed);
            }
        }
        Err(Error::Conflict(id))
    }
}

pub(crate) fn with_ready(stored: &Resource, ready: bool) -> Resource {
    let changed = stored.with(|_, body| {
        let spec = body.entry("spec").or_insert_with(|| json!({}));
        if let Json::Object(spec) = spec {
            spec.insert("datastoreReady".into(), ready.into());
        }
    });
    changed.canonical()
}

fn global(kind: Kind, name: &str, body: Json) -> Resource {
    let metadata = api::Metadata { name: name.to_string(), ..api::Metadata::default() };
    let body = if let Json::Object(body) = body { body } else { serde_json::Map::new() };
    Resource::new(kind, metadata, body)
}
