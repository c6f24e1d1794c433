//! Records as etcd and the embedded store keep them.

use std::sync::Arc;

use api::{Attribute, Block, BlockCidr, Key, Resource, Timestamp, Value, fault};
use ipam::reservations::Reserved;
use serde_json::Value as Json;

use super::Target;
use crate::input::{bounded, head, text, told};

pub(super) const TARGETS: &[Target] = &[
    Target { name: "stored-record", what: "a key of etcd, a newline, and the value", run: record },
    Target { name: "stored-block", what: "the value of a block", run: block },
];

fn record(bytes: &[u8]) {
    let (path, value) = head(bytes);
    let Some(key) = Key::from_etcd_path(&path) else { return };
    // Two keys for one record would be two records of the same block.
    assert_eq!(key.etcd_path(), path);
    read(&key, &text(value));
}

fn block(bytes: &[u8]) {
    let text = text(bytes);
    let json: Json = serde_json::from_str(&text).unwrap_or_default();
    // The value itself says under which key it is looked for.
    let named: Option<BlockCidr> = json["cidr"].as_str().and_then(|cidr| cidr.parse().ok());
    let cidr = named.unwrap_or(BlockCidr::LEAST);
    read(&Key::Block(cidr), &text);
}

fn read(key: &Key, text: &str) {
    let value = match Value::from_stored_text(key, text) {
        Ok(value) => value,
        Err(error) => return told(error, 0),
    };
    hold(key, &value, text.len());
    if let Value::Block(block) = value {
        work_on(&block);
    }
}

/// What holds of each value that was read.
pub(super) fn hold(key: &Key, value: &Value, input: usize) {
    let written = value.to_stored_text();
    bounded("the written value", written.len(), input, 8);
    let again = Value::from_stored_text(key, &written).unwrap_or_else(|error| panic!("{error}: {written}"));
    assert_eq!(again.to_stored_text(), written);
    match (&again, value) {
        // Of two spellings of an ordinal (`0`, `00`) the one that can be read takes the other's place.
        (Value::Block(again), Value::Block(block)) => {
            let residue = block.residue.clone();
            assert_eq!(Block { residue, ..again.clone() }, *block, "{written}");
        }
        (Value::Resource(again), Value::Resource(resource)) => {
            assert_eq!(in_gos_numbers(again), in_gos_numbers(resource), "{written}");
        }
        _ => assert_eq!(&again, value, "{written}"),
    }
    for fault in fault::of_record(key, value) {
        told(fault, input);
    }
}

/// The resource with its numbers as Go writes them: `3e3` is `3000`.
fn in_gos_numbers(resource: &Resource) -> Resource {
    resource.with(|metadata, body| {
        metadata.rest.values_mut().chain(body.values_mut()).for_each(write_numbers);
    })
}

fn write_numbers(json: &mut Json) {
    match json {
        Json::Number(number) => *json = golang::number::json_number(number).parse().expect("it is JSON"),
        Json::Array(items) => items.iter_mut().for_each(write_numbers),
        Json::Object(fields) => fields.values_mut().for_each(write_numbers),
        _ => {}
    }
}

/// A block that was accepted can be worked on: nothing gets an address that another has, and what was made of
/// it is accepted again.
fn work_on(block: &Block) {
    let now = Timestamp::UNIX_EPOCH;
    let size = block.cidr.size() as usize;
    assert_eq!(block.allocations.len(), size);
    let header = block.header();
    assert!(header.held as usize <= size);
    let mut changed = ipam::block::copy(block);
    ipam::block::bump(&mut changed);
    ipam::block::collect(&mut changed, now, 0);
    let before = changed.allocations.clone();
    let attribute = Arc::new(Attribute { handle_id: Some("fuzz".to_string()), ..Attribute::default() });
    let taken = ipam::block::assign(&mut changed, 3, None, &attribute, &Reserved::default())
        .unwrap_or_else(|error| panic!("no owner was demanded: {error}"));
    for addr in &taken {
        let ordinal = block.cidr.ordinal(*addr).unwrap_or_else(|| panic!("{addr} lies in another block"));
        assert_eq!(before[ordinal as usize], None, "{addr} was in use");
    }
    let (mut apart, count) = (taken.clone(), taken.len());
    apart.sort();
    apart.dedup();
    assert_eq!(apart.len(), count, "an address was assigned twice: {taken:?}");
    keep(&changed);
    // A handle of that name may have had other addresses, too.
    let released = ipam::block::release_by_handle(&mut changed, "fuzz", |_| true, now, 0);
    assert!(taken.iter().all(|addr| released.contains(addr)));
    ipam::block::disown(&mut changed);
    for attribute in &mut changed.attributes {
        let renamed = Arc::make_mut(attribute);
        let node = renamed.owner.contains_key("node").then(|| "node-2".to_string());
        let handle = renamed.handle_id.is_some().then(|| "other".to_string());
        renamed.rename(node, handle);
    }
    keep(&changed);
}

fn keep(block: &Block) {
    let key = Key::Block(block.cidr);
    let written = Value::Block(block.clone()).to_stored_text();
    let again = Value::from_stored_text(&key, &written).unwrap_or_else(|error| panic!("{error}: {written}"));
    let Value::Block(again) = again else { panic!("another type was read") };
    // Some part that could not be read may have been replaced by one that can.
    assert_eq!(again.allocations, block.allocations);
    assert_eq!(again.attributes, block.attributes);
}
