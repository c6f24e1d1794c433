//! The allocator's configuration. It exists twice: as the record that allocation reads, and as the resource
//! IPAMConfiguration.
//!
//! In Calico's etcd mode neither affects the other, so the resource has no effect. Here, a write of the
//! resource named `default` also writes the record in the same transaction, and deleting the resource deletes
//! the record; a change of the record also changes the resource, if there is one. On Kubernetes both are one
//! object anyway.

use api::capability::Backend;
use api::{IpamConfig, Key, Kind, Persistence, Resource, Role};
use serde_json::{Map, Value as Json};
use store::{Batch, Expect, ReadSet, View};

/// The name of the only resource that has an effect.
pub const NAME: &str = "default";

/// Why a configuration is refused (`libcalico-go/lib/ipam/ipam.go`, `SetIPAMConfig`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No node could get any address.
    #[error("Cannot disable 'StrictAffinity' and 'AutoAllocateBlocks' at the same time")]
    NothingAllowed,
    /// A limit on blocks has no effect while nodes may borrow addresses.
    #[error("MaxBlocksPerHost requires StrictAffinity to be enabled")]
    LimitWithoutStrict,
}

/// What `ipam configure` may change. `None` leaves a value as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigChange {
    /// Whether a host gets addresses only from blocks that it owns.
    pub strict_affinity: Option<bool>,
    /// The most blocks that a host may own; 0 for the default.
    pub max_blocks_per_host: Option<i64>,
    /// Whether a virtual machine keeps its address.
    pub persistence: Option<Persistence>,
    /// For how many seconds a released address is not assigned again.
    pub cooldown_seconds: Option<i64>,
}

impl ConfigChange {
    /// The configuration after the change.
    ///
    /// # Errors
    /// When the changed configuration contradicts itself.
    pub fn apply(&self, mut config: IpamConfig) -> Result<IpamConfig, ConfigError> {
        config.strict_affinity = self.strict_affinity.unwrap_or(config.strict_affinity);
        config.max_blocks_per_host = self.max_blocks_per_host.unwrap_or(config.max_blocks_per_host);
        config.persistence = self.persistence.clone().or(config.persistence);
        config.cooldown_seconds = self.cooldown_seconds.unwrap_or(config.cooldown_seconds);
        if !config.strict_affinity && !config.auto_allocate_blocks {
            return Err(ConfigError::NothingAllowed);
        }
        if config.max_blocks_per_host > 0 && !config.strict_affinity {
            return Err(ConfigError::LimitWithoutStrict);
        }
        Ok(config)
    }
}

/// The record that a resource stands for. A field that the resource leaves out has its default; the default
/// of `autoAllocateBlocks` is true.
pub fn of_resource(resource: &Resource) -> IpamConfig {
    let field = |name: &str| resource.field(&["spec", name]);
    let truth = |name: &str, default: bool| field(name).and_then(Json::as_bool).unwrap_or(default);
    let number = |name: &str| field(name).and_then(Json::as_i64).unwrap_or(0);
    IpamConfig {
        strict_affinity: truth("strictAffinity", false),
        auto_allocate_blocks: truth("autoAllocateBlocks", true),
        max_blocks_per_host: number("maxBlocksPerHost"),
        persistence: match resource.text(&["spec", "kubeVirtVMAddressPersistence"]) {
            Some("Enabled") => Some(Persistence::Enabled),
            Some("Disabled") => Some(Persistence::Disabled),
            _ => None,
        },
        cooldown_seconds: number("ipCooldownSeconds"),
    }
}

/// The resource with the values of the record.
pub fn to_resource(resource: &Resource, config: &IpamConfig) -> Resource {
    let changed = resource.with(|_, body| {
        let spec = body.entry("spec").or_insert_with(|| Json::Object(Map::new()));
        let Json::Object(spec) = spec else { return };
        spec.insert("strictAffinity".into(), config.strict_affinity.into());
        spec.insert("autoAllocateBlocks".into(), config.auto_allocate_blocks.into());
        spec.insert("maxBlocksPerHost".into(), config.max_blocks_per_host.into());
        spec.insert("ipCooldownSeconds".into(), config.cooldown_seconds.into());
        match &config.persistence {
            Some(persistence) => {
                let word = match persistence {
                    Persistence::Enabled => "Enabled".into(),
                    Persistence::Disabled => "Disabled".into(),
                    Persistence::Odd(json) => Json::clone(json),
                };
                spec.insert("kubeVirtVMAddressPersistence".into(), word);
            }
            None => {
                spec.shift_remove("kubeVirtVMAddressPersistence");
            }
        }
    });
    changed.canonical()
}

/// Whether a write of that resource also writes the record.
pub fn is_twin(backend: Backend, kind: Kind, name: &str) -> bool {
    backend != Backend::Kubernetes && kind.definition().role == Role::Configuration && name == NAME
}

/// The key of the only resource that has an effect.
pub fn key() -> Key {
    Key::global(Kind::IPAMConfiguration, NAME)
}

/// What must be read before the resource or the record is written.
pub fn reads() -> ReadSet {
    ReadSet::new().key(Key::IpamConfig).key(key())
}

/// Adds the write of the record to a batch.
pub(crate) fn put(batch: &mut Batch, view: &View, config: IpamConfig) {
    let record = view.full(&Key::IpamConfig).flatten();
    let expect = record.map_or(Expect::Absent, |record| Expect::Revision(record.revision.clone()));
    batch.put(Key::IpamConfig, expect, api::Value::IpamConfig(config));
}

/// Adds the deletion of the record to a batch, if there is a record.
pub(crate) fn delete(batch: &mut Batch, view: &View) {
    if let Some(record) = view.full(&Key::IpamConfig).flatten() {
        batch.delete(Key::IpamConfig, Expect::Revision(record.revision.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradictions_are_refused() {
        let default = IpamConfig::default();
        let strict = |strict| ConfigChange { strict_affinity: Some(strict), ..ConfigChange::default() };
        let limited = ConfigChange { max_blocks_per_host: Some(4), ..ConfigChange::default() };
        assert_eq!(limited.apply(default.clone()), Err(ConfigError::LimitWithoutStrict));
        let config = limited.apply(strict(true).apply(default.clone()).unwrap()).unwrap();
        assert_eq!((config.strict_affinity, config.max_blocks_per_host), (true, 4));
        assert_eq!(strict(false).apply(config), Err(ConfigError::LimitWithoutStrict));
        let closed = IpamConfig { auto_allocate_blocks: false, strict_affinity: true, ..default.clone() };
        assert_eq!(strict(false).apply(closed), Err(ConfigError::NothingAllowed));
        // Recorded in 107-ipam-configure-bad: a negative limit passes.
        let negative = ConfigChange { max_blocks_per_host: Some(-1), ..ConfigChange::default() };
        assert_eq!(negative.apply(default.clone()).unwrap().max_blocks_per_host, -1);
    }

    #[test]
    fn resource_and_record_say_the_same() {
        let json = serde_json::json!({"kind": "IPAMConfiguration", "apiVersion": "projectcalico.org/v3",
            "metadata": {"name": "default"}, "spec": {"strictAffinity": true}});
        let resource = Resource::from_input(json).unwrap();
        let config = of_resource(&resource);
        assert!(config.auto_allocate_blocks, "left out means true");
        let other = IpamConfig { cooldown_seconds: 30, persistence: Some(Persistence::Disabled), ..config };
        assert_eq!(of_resource(&to_resource(&resource, &other)), other);
    }
}
