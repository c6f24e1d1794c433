//! Stored records can be read, and are written back unchanged.
#![allow(missing_docs, clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "recordings are files")]

use std::path::Path;

use api::{Affinity, AffinityState, Attribute, Block, BlockCidr, Handle, Key, Kind, Owner, Resource, Value};
use proptest::prelude::*;
use serde_json::Value as Json;

/// Replaces the placeholders of a recording by values: `<uid-1>`, `<guid-1>`, `<time-1>`, `<gotime-1>`,
/// `<seq-1+2>`.
fn fill(json: &Json) -> Json {
    match json {
        Json::String(text) => fill_text(text),
        Json::Array(items) => items.iter().map(fill).collect(),
        Json::Object(map) => Json::Object(map.iter().map(|(k, v)| (k.clone(), fill(v))).collect()),
        other => other.clone(),
    }
}

fn fill_text(text: &str) -> Json {
    let Some((word, rest)) =
        text.strip_prefix('<').and_then(|t| t.strip_suffix('>')).and_then(|t| t.split_once('-'))
    else {
        return text.into();
    };
    let number: u64 = rest.split('+').map(|n| n.parse::<u64>().unwrap_or(0)).sum();
    match word {
        "uid" => format!("0b0e4a52-6b52-4a4e-9a53-{number:012x}").into(),
        "guid" => format!("{number:032x}").into(),
        "time" => "2026-08-01T10:00:00Z".into(),
        "gotime" => "2026-08-01 10:00:03.123456789 +0000 UTC".into(),
        "seq" => (1_785_578_400_123_456_789 + number).into(),
        _ => text.into(),
    }
}

/// The files of the recorded states of etcd.
fn stored_files(root: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for scenario in std::fs::read_dir(root.join("calicoctl-etcd")).unwrap().flatten() {
        for file in std::fs::read_dir(scenario.path()).into_iter().flatten().flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            if name.starts_with("etcd-after") || name.starts_with("etcd-before") {
                files.push(file.path());
            }
        }
    }
    files
}

#[test]
#[allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a test that is skipped says why")]
fn every_recorded_value() {
    const LEAST: usize = 500;
    let Ok(root) = std::env::var("RACKPOOL_RECORDINGS") else {
        println!("skipped: {LEAST} recordings: RACKPOOL_RECORDINGS names none");
        return;
    };
    let mut read = 0;
    for file in stored_files(Path::new(&root)) {
        let document: Json = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        for (path, json) in document.as_object().unwrap() {
            let at = format!("{} {path}", file.display());
            let json = fill(json);
            let key = Key::from_etcd_path(path).unwrap_or_else(|| panic!("{at}: no key"));
            assert_eq!(&key.etcd_path(), path);
            let Ok(value) = Value::from_stored_text(&key, &json.to_string()) else {
                // The scenario 125 stores blocks that Calico cannot read, either.
                assert!(at.contains("125-ipam-check-broken-blocks"), "{at}: {json}");
                continue;
            };
            let written = value.to_stored_text();
            let again: Json = serde_json::from_str(&written).unwrap();
            if matches!(value, Value::Block(_)) && at.contains("125-ipam-check-broken-blocks") {
                continue;
            }
            assert_eq!(again, json, "{at}");
            if let Value::Resource(resource) = &value {
                assert_eq!(resource.canonical().to_stored_text(), written, "{at}: not in Go's order");
                assert_eq!(&resource.key(), &key);
                let strict = Resource::from_input(resource.to_json()).unwrap_or_else(|e| panic!("{at}: {e}"));
                assert_eq!(strict.to_stored_text(), written, "{at}: strictly decoded");
                // Scenarios that store records without Calico use such an ID.
                let by_the_original =
                    !resource.metadata().uid.as_deref().unwrap_or_default().starts_with("00000000-");
                if by_the_original {
                    let written_again = api::defaults::on_write(resource).to_stored_text();
                    assert_eq!(written_again, written, "{at}: no default was missing");
                }
            }
            read += 1;
        }
    }
    assert!(read > LEAST, "{read}");
}

fn block() -> impl Strategy<Value = Block> {
    let attribute =
        (proptest::option::of("[a-z.]{1,8}"), proptest::collection::btree_map("[a-z]{1,5}", ".{0,8}", 0..3))
            .prop_map(|(handle_id, owner)| Attribute { handle_id, owner, ..Attribute::default() });
    (
        0u8..=6,
        any::<u8>(),
        proptest::collection::vec(attribute, 1..4),
        any::<u64>(),
        proptest::option::of("[a-z0-9.-]{1,10}"),
        any::<bool>(),
    )
        .prop_map(|(bits, third, attributes, seed, host, deleted)| {
            let cidr: BlockCidr = format!("10.0.{third}.0/{}", 32 - bits).parse().unwrap();
            let taken = |o: u32| (seed >> (o % 64)) & 1 == 1;
            let ordinals = 0..cidr.size();
            Block {
                cidr,
                affinity: host.map(|h| format!("host:{h}").into()),
                affinity_claim_time: deleted.then(|| "2026-08-01T10:00:00Z".parse().unwrap()),
                allocations: ordinals
                    .clone()
                    .map(|o| taken(o).then_some(o % attributes.len() as u32))
                    .collect(),
                unallocated: ordinals.clone().filter(|o| !taken(*o)).collect(),
                sequence_numbers: ordinals.filter(|o| taken(*o)).map(|o| (o, seed ^ u64::from(o))).collect(),
                attributes: attributes.into_iter().map(std::sync::Arc::new).collect(),
                sequence_number: seed,
                deleted,
                legacy_host_affinity: None,
                residue: None,
            }
        })
}

fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        ".{0,6}".prop_map(Json::from)
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Json::Array),
            proptest::collection::vec(("[a-zA-Z]{1,6}", inner), 0..4)
                .prop_map(|pairs| Json::Object(pairs.into_iter().collect())),
        ]
    })
}

fn back(key: &Key, value: &Value) -> Value {
    Value::from_stored_text(key, &value.to_stored_text()).unwrap()
}

proptest! {
    #[test]
    fn a_block_is_read_back(block in block()) {
        let (key, value) = (Key::Block(block.cidr), Value::Block(block));
        prop_assert_eq!(back(&key, &value), value);
    }

    #[test]
    fn an_affinity_is_read_back(state in 0..3) {
        let state = [AffinityState::Pending, AffinityState::Confirmed, AffinityState::PendingDeletion][state as usize];
        let key = Key::Affinity { owner: Owner::Host("n".into()), block: "10.0.0.0/26".parse().unwrap() };
        let value = Value::Affinity(Affinity { state, ..Affinity::default() });
        prop_assert_eq!(back(&key, &value), value);
    }

    #[test]
    fn a_handle_is_read_back(counts in proptest::collection::btree_map(0u8..=255, 1u32..1000, 0..4)) {
        let blocks: serde_json::Map<String, Json> =
            counts.iter().map(|(i, n)| (format!("10.0.{i}.0/26"), (*n).into())).collect();
        let text = serde_json::json!({"block": blocks, "deleted": false}).to_string();
        let key = Key::Handle(api::HandleId::new("h").unwrap());
        let handle: Handle = serde_json::from_str(&text).unwrap();
        let value = Value::Handle(handle);
        prop_assert_eq!(back(&key, &value), value);
    }

    #[test]
    fn the_configuration_is_read_back(strict: bool, auto: bool, max in -1i64..10, cooldown in 0i64..10) {
        let value = Value::IpamConfig(api::IpamConfig {
            strict_affinity: strict, auto_allocate_blocks: auto, max_blocks_per_host: max, persistence: None, cooldown_seconds: cooldown,
        });
        prop_assert_eq!(back(&Key::IpamConfig, &value), value);
    }

    /// Every field of a document survives, known or not; and the canonical form of a canonical form is the
    /// same.
    #[test]
    fn a_resource_is_read_back(kind in 0..Kind::ALL.len(), spec in json(), other in json(), name in "[a-z]{1,8}") {
        let kind = Kind::ALL[kind];
        let document = serde_json::json!({"metadata": {"name": name, "labels": {"a": "b"}}, "spec": spec, "extra": other});
        let resource = Resource::from_json(kind, document).unwrap();
        let value = Value::Resource(resource.clone());
        prop_assert_eq!(back(&Key::global(kind, name.as_str()), &value), value);
        let canonical = resource.canonical();
        prop_assert_eq!(canonical.canonical().to_stored_text(), canonical.to_stored_text());
        let carried = canonical.without_residue().carry_residue(&resource);
        prop_assert_eq!(carried.body().get("extra"), resource.body().get("extra"));
    }
}

/// The profile that Calico's CNI plugin stores in etcd for a network, in its last release and in those
/// before.
#[test]
fn a_profile_is_read_and_written_as_it_stands() {
    let path = "/calico/resources/v3/projectcalico.org/profiles/net1";
    let key = Key::from_etcd_path(path).unwrap();
    assert_eq!((key.etcd_path().as_str(), key.to_string().as_str()), (path, "Profile(net1)"));
    let start = r#"{"kind":"Profile","apiVersion":"projectcalico.org/v3","metadata":{"name":"net1","uid":"0b0e4a52-6b52-4a4e-9a53-1f1c1f3f6a01","creationTimestamp":"2026-08-01T09:00:00Z"},"spec":{"ingress":"#;
    for (rules, is_canonical) in [
        (r#"[{"action":"Allow","source":{"selector":"has(net1)"}}],"egress":[{"action":"Allow"}]"#, true),
        (
            r#"[{"action":"Allow","source":{"selector":"has(net1)"},"destination":{}}],"egress":[{"action":"Allow","source":{},"destination":{}}]"#,
            false,
        ),
    ] {
        let text = format!(r#"{start}{rules},"labelsToApply":{{"net1":""}}}}}}"#);
        let Value::Resource(profile) = Value::from_stored_text(&key, &text).unwrap() else {
            panic!("{text}")
        };
        assert_eq!(profile.to_stored_text(), text);
        assert_eq!(profile.canonical().to_stored_text() == text, is_canonical);
        assert_eq!(api::validate::resource(&profile), Ok(()));
    }
    assert_eq!(Kind::from_alias("profile"), None, "the command line does not know it");
}
