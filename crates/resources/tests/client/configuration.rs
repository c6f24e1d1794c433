//! Initialising a store, its lock, and the two places of the allocator's configuration.

use api::{IpamConfig, Key, Kind, Persistence, Resource};
use resources::config::ConfigChange;
use resources::initialise::{DefaultPool, PoolOutcome};
use serde_json::json;
use store::MemoryStore;
use store::testing::counting::Counting;

use crate::common::{Fixed, client, id, resource, run, stored};

fn record(store: &MemoryStore) -> Option<IpamConfig> {
    let records = store.records();
    let record = records.iter().find(|record| record.key == Key::IpamConfig)?;
    record.ipam_config().cloned()
}

fn configuration(spec: serde_json::Value) -> Resource {
    resource(Kind::IPAMConfiguration, "default", spec)
}

#[test]
fn the_resource_is_what_the_allocator_works_by() {
    let (store, effects) = (MemoryStore::new(), Fixed::default());
    let client = client(&store, &effects);
    run(client.create(&configuration(json!({"strictAffinity": true, "maxBlocksPerHost": 4})))).unwrap();
    let config = record(&store).unwrap();
    assert_eq!(
        (config.strict_affinity, config.auto_allocate_blocks, config.max_blocks_per_host),
        (true, true, 4)
    );
    run(client.apply(&configuration(json!({"ipCooldownSeconds": 30})))).unwrap();
    let config = record(&store).unwrap();
    assert_eq!((config.strict_affinity, config.max_blocks_per_host, config.cooldown_seconds), (false, 0, 30));
    run(client.patch(&id(Kind::IPAMConfiguration, "default"), r#"{"spec": {"autoAllocateBlocks": false}}"#))
        .unwrap();
    assert!(!record(&store).unwrap().auto_allocate_blocks);
    run(client.delete(&id(Kind::IPAMConfiguration, "default"), None)).unwrap();
    assert_eq!(record(&store), None);
    assert!(run(client.ipam_config()).unwrap().auto_allocate_blocks);
}

#[test]
fn configuring_changes_the_resource_only_where_there_is_one() {
    let (store, effects) = (MemoryStore::new(), Fixed::default());
    let client = client(&store, &effects);
    let strict = ConfigChange { strict_affinity: Some(true), ..ConfigChange::default() };
    run(client.configure(&strict)).unwrap();
    assert_eq!(stored(&store, &id(Kind::IPAMConfiguration, "default")), None);
    assert!(record(&store).unwrap().strict_affinity);
    run(client.create(&configuration(json!({"strictAffinity": true})))).unwrap();
    let limit = ConfigChange { max_blocks_per_host: Some(7), ..ConfigChange::default() };
    run(client.configure(&limit)).unwrap();
    let shown = run(client.get(&id(Kind::IPAMConfiguration, "default"))).unwrap();
    assert_eq!(shown.field(&["spec", "maxBlocksPerHost"]), Some(&7.into()));
    assert_eq!(shown.field(&["spec", "strictAffinity"]), Some(&true.into()));
    let before = store.records();
    let loose = ConfigChange { strict_affinity: Some(false), ..ConfigChange::default() };
    let refused = run(client.configure(&loose)).unwrap_err();
    assert_eq!(refused.to_string(), "MaxBlocksPerHost requires StrictAffinity to be enabled");
    assert_eq!(store.records(), before);
}

/// Calico compares where the setting for virtual machines is kept, not what it says, and so writes the
/// configuration each time. Here only what changes is written.
#[test]
fn configuring_what_is_so_already_writes_nothing() {
    let (store, effects) = (MemoryStore::new(), Fixed::default());
    let client = client(&store, &effects);
    let whole = ConfigChange {
        strict_affinity: Some(true),
        persistence: Some(Persistence::Enabled),
        ..ConfigChange::default()
    };
    // Also for a record that says what holds without it: whoever reads the store finds what was set.
    for change in [&ConfigChange::default(), &whole] {
        let first = run(client.configure(change)).unwrap();
        assert_eq!(record(&store), Some(first.clone()));
        let before = store.records();
        assert_eq!(run(client.configure(change)).unwrap(), first);
        assert_eq!(store.records(), before);
    }
    run(client.create(&configuration(json!({"strictAffinity": true})))).unwrap();
    run(client.configure(&whole)).unwrap();
    let before = store.records();
    run(client.configure(&whole)).unwrap();
    assert_eq!(store.records(), before);
}

#[test]
fn a_datastore_begins_once() {
    let (store, effects) = (Counting::new(MemoryStore::new()), Fixed::default());
    let client = client(&store, &effects);
    run(client.ensure_initialised()).unwrap();
    let first = store.counts();
    run(client.ensure_initialised()).unwrap();
    let second = store.counts();
    assert_eq!((second.reads - first.reads, second.commits - first.commits), (1, 0));
    let info = run(client.get(&id(Kind::ClusterInformation, "default"))).unwrap();
    let guid = info.text(&["spec", "clusterGUID"]).unwrap();
    assert!(guid.len() == 32 && guid.bytes().all(|b| b.is_ascii_hexdigit()), "{guid}");
    assert_eq!(info.text(&["spec", "calicoVersion"]), None);
    let tiers = run(client.list(Kind::Tier, None)).unwrap().items;
    assert_eq!(
        tiers.iter().map(|tier| tier.name()).collect::<Vec<_>>(),
        ["kube-admin", "default", "kube-baseline"]
    );
}

#[test]
fn the_lock_is_a_field() {
    let (store, effects) = (MemoryStore::new(), Fixed::default());
    let client = client(&store, &effects);
    assert_eq!(run(client.is_ready()).unwrap(), None);
    assert!(run(client.set_ready(true)).unwrap_err().is_does_not_exist());
    run(client.ensure_initialised()).unwrap();
    for ready in [false, false, true] {
        run(client.set_ready(ready)).unwrap();
        assert_eq!(run(client.is_ready()).unwrap(), Some(ready));
    }
}

#[test]
fn default_pools_are_made_once() {
    let (store, effects) = (MemoryStore::new(), Fixed::default());
    let client = client(&store, &effects);
    let mut wanted = DefaultPool {
        name: "default-ipv4-ippool".to_string(),
        cidr: "192.168.0.0/16".parse().unwrap(),
        block_size: None,
        ipip_mode: "Always".to_string(),
        vxlan_mode: "Never".to_string(),
        nat_outgoing: true,
    };
    assert!(matches!(run(client.ensure_pool(&wanted)).unwrap(), PoolOutcome::Created(_)));
    assert!(matches!(run(client.ensure_pool(&wanted)).unwrap(), PoolOutcome::There(_)));
    wanted.cidr = "10.0.0.0/16".parse().unwrap();
    assert!(run(client.ensure_pool(&wanted)).unwrap_err().is_already_exists());
    let made = stored(&store, &id(Kind::IPPool, "default-ipv4-ippool")).unwrap();
    assert_eq!(made.text(&["spec", "ipipMode"]), Some("Always"));
    assert_eq!(made.field(&["spec", "natOutgoing"]), Some(&true.into()));
}
