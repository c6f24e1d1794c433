use serde_json::json;

use super::*;
use crate::key::Key;
use crate::record::Value;

const KEY: &str = "/calico/ipam/v2/assignment/ipv4/block/10.0.0.0-30";

fn good() -> Json {
    json!({
        "cidr": "10.0.0.0/30", "affinity": "host:n", "affinity_claim_time": "2026-08-01T10:00:00Z",
        "allocations": [0, null, null, 1], "unallocated": [1, 2],
        "attributes": [
            {"handle_id": "h.1", "secondary": {"namespace": "ns", "node": "n", "pod": "p"}},
            {"handle_id": "h.2", "secondary": {"node": "n"}}
        ],
        "sequenceNumber": 1_785_578_400_123_456_790_u64,
        "sequenceNumberForAllocation": {"0": 7, "3": 8}, "deleted": false
    })
}

fn changed(pointer: &str, value: Json) -> Json {
    let mut json = good();
    *json.pointer_mut(pointer).unwrap() = value;
    json
}

fn stored(json: &Json) -> Result<Block, crate::DecodeError> {
    let key = Key::from_etcd_path(KEY).unwrap();
    match Value::from_stored_text(&key, &json.to_string())? {
        Value::Block(block) => Ok(block),
        other => panic!("{other:?}"),
    }
}

/// Each row: a fault, the field that is reported, and the text that is written back.
#[test]
fn odd_parts_survive_and_the_rest_is_read() {
    let rows = [
        ("/attributes/0/secondary/pod", json!(5), "attributes[0].secondary.pod"),
        ("/attributes/0/secondary", json!("x"), "attributes[0].secondary"),
        ("/attributes/0/handle_id", json!(5), "attributes[0].handle_id"),
        ("/attributes/0", json!(null), "attributes[0]"),
        ("/attributes/0", json!([1]), "attributes[0]"),
        ("/attributes/0", json!({"handle_id": "h.1", "releasedAt": "soon"}), "attributes[0].releasedAt"),
        ("/affinity_claim_time", json!("long ago"), "affinity_claim_time"),
        ("/sequenceNumberForAllocation/0", json!(-1), "sequenceNumberForAllocation.0"),
        ("/sequenceNumberForAllocation", json!({"x": 1, "3": 8}), "sequenceNumberForAllocation.x"),
        ("/unallocated", json!([1, 2, null]), "unallocated[2]"),
        ("/unallocated", json!([1, 2, -1]), "unallocated[2]"),
        ("/unallocated", json!([1, 2, "1", 1.5]), "unallocated[2]"),
    ];
    for (pointer, value, field) in rows {
        let json = changed(pointer, value);
        let block = stored(&json).unwrap_or_else(|error| panic!("{pointer}: {error}"));
        let odd = oddities(&block);
        assert_eq!(odd.first().map(|(field, _)| field.as_str()), Some(field), "{odd:?}");
        assert_eq!(block.allocations, [Some(0), None, None, Some(1)], "{field}");
        assert_eq!(block.attribute(3).unwrap().handle(), Some("h.2"), "{field}");
        assert_eq!(serde_json::to_value(&block).unwrap(), json, "{field}: written again");
    }
}

#[test]
fn the_handle_of_an_odd_owner_holds() {
    let block = stored(&changed("/attributes/0/secondary/pod", json!(5))).unwrap();
    let attribute = block.attribute(0).unwrap();
    assert_eq!(attribute.handle(), Some("h.1"));
    assert_eq!(attribute.owner.get("namespace").map(String::as_str), Some("ns"));
    assert_eq!(attribute.owner.get("pod"), None);
    let block = stored(&changed("/attributes/0", json!({"handle_id": "h.1", "releasedAt": 1}))).unwrap();
    assert_eq!(block.attribute(0).unwrap().released_at, None, "it is in use");
    let block = stored(&changed("/affinity_claim_time", json!(1))).unwrap();
    assert_eq!(block.affinity_claim_time, Some(NEVER_OLD));
}

/// The block can be read in spite of the fault, and the fault is reported.
#[test]
fn a_queue_that_contradicts_the_allocations_is_named() {
    for (queue, reason) in [
        (json!([1, 1, 2]), "1 stands there twice"),
        (json!([1, 2, 3]), "3 is in use"),
        (json!([1, 2, 4]), "4 lies outside of the block"),
    ] {
        let json = changed("/unallocated", queue);
        let block = stored(&json).unwrap();
        assert!(oddities(&block).iter().any(|(_, found)| found == reason), "{:?}", oddities(&block));
        assert_eq!(serde_json::to_value(&block).unwrap(), json);
    }
    let block = stored(&changed("/affinity", json!("pod:x"))).unwrap();
    assert_eq!(oddities(&block)[0].0, "affinity");
    assert_eq!(oddities(&stored(&good()).unwrap()), []);
}

/// A tool wrote the sequence number as a floating-point number: its rounded value is read.
#[test]
fn rounded_sequence_numbers_are_read() {
    let json = changed("/sequenceNumber", json!(1.785_578_400_123_456_8e18));
    assert_eq!(stored(&json).unwrap().sequence_number, 1_785_578_400_123_456_768);
    let json = changed("/sequenceNumberForAllocation/0", json!(9.007_199_254_740_994e15));
    assert_eq!(stored(&json).unwrap().sequence_of(0), 9_007_199_254_740_994);
}

/// If it is doubtful who holds an address, the block cannot be read. Field and value are reported.
#[test]
fn doubtful_blocks_are_unreadable() {
    for (pointer, value, field) in [
        ("/cidr", json!("10.0.0.0/33"), "cidr"),
        ("/cidr", json!("10.0.0.4/30"), "cidr"),
        ("/cidr", json!(null), "cidr"),
        ("/affinity", json!(5), "affinity"),
        ("/allocations", json!([0, null, 1]), "allocations"),
        ("/allocations", json!([0, null, null, null, 1]), "allocations"),
        ("/allocations", json!("x"), "allocations"),
        ("/allocations", json!(null), "allocations"),
        ("/allocations/1", json!(-1), "allocations[1]"),
        ("/allocations/1", json!("0"), "allocations[1]"),
        ("/allocations/3", json!(2), "allocations[3]"),
        ("/attributes", json!({}), "attributes"),
        ("/attributes", json!([]), "allocations[0]"),
        ("/unallocated", json!(5), "unallocated"),
        ("/sequenceNumber", json!("1"), "sequenceNumber"),
        ("/sequenceNumber", json!(-1), "sequenceNumber"),
        ("/sequenceNumber", json!(1e30), "sequenceNumber"),
        ("/sequenceNumberForAllocation", json!([]), "sequenceNumberForAllocation"),
        ("/deleted", json!("yes"), "deleted"),
    ] {
        let error = stored(&changed(pointer, value)).unwrap_err();
        assert_eq!(error.field, field, "{error}");
        assert_eq!(error.key, "BlockKey(cidr=10.0.0.0/30)");
    }
}

/// The same faults in Kubernetes, where a header may be read alone, and an object may have another block's
/// name.
#[test]
fn objects_are_read_alike() {
    use crate::crd::{Collection, Group, decode, decode_header, encode};
    let object = |spec: Json, name: &str| {
        let mut spec = spec;
        let time = spec.as_object_mut().unwrap().shift_remove("affinity_claim_time").unwrap();
        spec["affinityClaimTime"] = time;
        json!({"metadata": {"name": name, "resourceVersion": "7"}, "spec": spec}).to_string()
    };
    for (pointer, value) in [
        ("/attributes/0/secondary/pod", json!(5)),
        ("/unallocated", json!([1, 2, null])),
        ("/affinity_claim_time", json!("soon")),
        ("/sequenceNumberForAllocation/0", json!("x")),
    ] {
        let text = object(changed(pointer, value), "10-0-0-0-30");
        let read = decode(Group::V1, Collection::Blocks, &text).unwrap();
        let Value::Block(block) = &read.value else { panic!("{read:?}") };
        assert_eq!(oddities(block).len(), 1, "{text}");
        let header = decode_header(Group::V1, &text).unwrap().header;
        assert_eq!((&header, header.affinity.as_deref()), (&block.header(), Some("host:n")), "{text}");
        let was: Json = serde_json::from_str(&text).unwrap();
        let again = encode(Group::V1, &read.key, &read.value, None).unwrap();
        for (field, value) in was["spec"].as_object().unwrap() {
            assert_eq!(&again["spec"][field], value, "{field}");
        }
    }
    for (text, field) in [
        (object(good(), "10-0-0-4-30"), "spec.cidr"),
        (object(changed("/allocations", json!([0])), "10-0-0-0-30"), "spec.allocations"),
        (object(changed("/affinity", json!(5)), "10-0-0-0-30"), "spec.affinity"),
    ] {
        let error = decode(Group::V3, Collection::Blocks, &text).unwrap_err();
        assert!(error.field == field && error.key.starts_with("IPAMBlock(10-0-0-"), "{error}");
    }
}
