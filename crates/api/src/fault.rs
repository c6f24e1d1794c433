//! What is wrong with a stored record, and what follows from it. A bad record never stops work on another
//! one, is never taken for an absent one, and every message about it names it.
//!
//! | record | what follows when it cannot be read |
//! |---|---|
//! | IPPool | no address is assigned from it; blocks and addresses of its network stay as they are. A pool whose selector cannot be read selects no node, but a request can name it |
//! | IPReservation | only those of its networks that can be read are kept back, as in Calico: one typing error must not stop a cluster, and nobody holds the addresses that it names |
//! | IPAMConfiguration | the strictest configuration holds: no host borrows an address from another's block or claims a block, and addresses that cool down stay taken |
//! | block | all its addresses count as in use: none is assigned or released. Where a part of it cannot be read: see [`crate::odd_block`] |
//! | affinity | the block itself says whose it is; the owner leaves the affinity alone |
//! | handle | no address is assigned or released under it |
//! | Node | its labels are not known, so no address is assigned on it; releases on it work |
//! | ClusterInformation | nobody knows whether the datastore may be used, so programs that ask refuse to use it |
//! | others | they are left out of lists |
//!
//! A record whose text names another record than its key does is unreadable too, as nobody can tell which is
//! meant.

use std::fmt;

use crate::ipam_config::Persistence;
use crate::key::Key;
use crate::kinds::Role;
use crate::odd_block;
use crate::record::{DecodeError, Value};
use crate::resource::Resource;

pub use crate::excerpt::{TEXT, excerpt, is_obeyed, printable, printable_lines, short};

/// The longest reason that a message contains, in bytes.
const REASON: usize = 800;
/// What follows from a bad value of a field that nothing depends on.
const NOT_NEEDED: &str = "it is kept as it is, and nothing depends on it";
/// What follows when the configuration does not say whether virtual machines keep their addresses.
const MACHINES_KEEP: &str =
    "virtual machines keep their addresses until it is mended (calicoctl ipam configure)";
/// How many faults of one record are reported at most.
const MOST_FAULTS: usize = 5;

/// A fault of a stored record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The record, as Calico's error texts name it.
    pub record: String,
    /// The field; empty where the fault is not one field's.
    pub field: String,
    /// What is wrong, in one line.
    pub reason: String,
    /// What is wrong, in several lines for a terminal, with the place of the error marked.
    pub picture: Option<String>,
    /// What follows from the fault, and what to do about it.
    pub effect: &'static str,
}

impl Fault {
    /// The fault of a record that cannot be read. `key` is given if it is known.
    pub fn unreadable(key: Option<&Key>, error: &DecodeError) -> Fault {
        let effect = key.map_or("it is left out", |key| effect_of(key, true));
        Fault {
            record: short(&error.key, 2 * TEXT),
            field: short(&error.field, TEXT),
            reason: short(&error.reason, REASON),
            picture: None,
            effect,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { record, field, reason, effect, .. } = self;
        match field.as_str() {
            "" => write!(f, "{record} cannot be read: {reason}; {effect}"),
            field => write!(f, "{record}: {field}: {reason}; {effect}"),
        }
    }
}

/// What follows if all of a record cannot be read (`all`), or a part of it.
fn effect_of(key: &Key, all: bool) -> &'static str {
    match key {
        Key::Resource { kind, .. } => {
            let unreadable = kind.definition().unreadable;
            if all { unreadable.whole } else { unreadable.part }
        }
        Key::IpamConfig => {
            "until it is mended no block is claimed or borrowed from, and what cools down stays so"
        }
        Key::Block(_) if all => "its addresses stay in use, none is assigned or released until it is mended",
        Key::Block(_) => "that part is kept as it is, and not acted on",
        Key::Affinity { .. } => "it is left alone until it is mended or deleted",
        Key::Handle(_) => "nothing is assigned or released by it until it is mended",
        Key::IpamHost(_) => NOT_NEEDED,
    }
}

/// The faults of a record that can be read: the first few, and how many more there are.
pub fn of_record(key: &Key, value: &Value) -> Vec<Fault> {
    let mut faults = all_of_record(key, value);
    let more = faults.len().saturating_sub(MOST_FAULTS);
    faults.truncate(MOST_FAULTS);
    if let (Some(last), 1..) = (faults.last().cloned(), more) {
        let reason = format!("and {more} more faults of that record");
        faults.push(Fault { field: "...".to_string(), reason, picture: None, ..last });
    }
    faults
}

fn all_of_record(key: &Key, value: &Value) -> Vec<Fault> {
    let lines = |picture: String| {
        let short = picture.lines().map(|line| short(line, TEXT)).collect::<Vec<_>>();
        short.join("\n")
    };
    let fault = |(field, reason): (String, String), picture: Option<String>| Fault {
        record: short(&key.to_string(), 2 * TEXT),
        field: short(&field, TEXT),
        reason: short(&reason, REASON),
        picture: picture.map(lines),
        effect: effect_of(key, false),
    };
    match value {
        Value::Block(block) => odd_block::oddities(block).into_iter().map(|odd| fault(odd, None)).collect(),
        Value::Resource(resource) => {
            let odd = resource.metadata().oddities().into_iter();
            let odd = odd.map(|odd| Fault { effect: NOT_NEEDED, ..fault(odd, None) });
            odd.chain(of_resource(resource, fault)).collect()
        }
        Value::IpamConfig(config) => match &config.persistence {
            Some(Persistence::Odd(json)) => {
                let reason = format!("{} is neither Enabled nor Disabled", excerpt(json));
                let odd = fault(("kubeVirtVMAddressPersistence".to_string(), reason), None);
                vec![Fault { effect: MACHINES_KEEP, ..odd }]
            }
            _ => Vec::new(),
        },
        Value::Affinity(_) | Value::Handle(_) | Value::IpamHost => Vec::new(),
    }
}

fn of_resource(resource: &Resource, fault: impl Fn((String, String), Option<String>) -> Fault) -> Vec<Fault> {
    match resource.kind().definition().role {
        Role::Pool => match resource.as_pool() {
            Err(error) => {
                error.field().map(|field| fault((field, error.reason()), None)).into_iter().collect()
            }
            Ok(pool) => {
                let odd = pool.odd_selectors();
                odd.map(|(field, odd)| fault((field.to_string(), odd.to_string()), Some(odd.picture())))
                    .collect()
            }
        },
        Role::Reservation => {
            let odd = resource.as_reservation().odd.iter();
            odd.map(|(field, reason)| fault((field.clone(), reason.clone()), None)).collect()
        }
        Role::Configuration | Role::Host | Role::None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value as Json;

    use super::*;
    use crate::kinds::Kind;

    /// Messages about a bad record are small, however large the record is.
    #[test]
    fn messages_are_small() {
        let nested = "(".repeat(1_000_000);
        let name = "x".repeat(100_000);
        let spec = serde_json::json!({"cidr": "10.0.0.0/16", "nodeSelector": nested, "namespaceSelector": format!("{name} bad {name}")});
        let pool = serde_json::json!({"metadata": {"name": "p"}, "spec": spec}).to_string();
        let queue: Vec<Json> = (0..20_000).map(|n| Json::from(format!("bad {n}"))).collect();
        let block = serde_json::json!({"cidr": "10.0.0.0/30", "affinity": "host:n", "allocations": [null, null, null, null],
            "unallocated": queue, "attributes": []})
        .to_string();
        for (key, text) in
            [(Key::global(Kind::IPPool, "p"), pool), (Key::Block("10.0.0.0/30".parse().unwrap()), block)]
        {
            let faults = of_record(&key, &Value::from_stored_text(&key, &text).unwrap());
            assert!((1..=MOST_FAULTS + 1).contains(&faults.len()), "{}", faults.len());
            for fault in &faults {
                let picture = fault.picture.as_deref().unwrap_or_default();
                assert!(fault.to_string().len() < 1500 && picture.len() < 1500, "{fault} {picture}");
            }
            let is_block = matches!(key, Key::Block(_));
            assert_eq!(faults.last().unwrap().reason.contains("19995 more"), is_block);
        }
        let key = Key::Handle(crate::key::HandleId::new("h").unwrap());
        let huge = serde_json::json!({"block": {name: 1}}).to_string();
        let error = Value::from_stored_text(&key, &huge).unwrap_err();
        assert!(error.to_string().len() < 1500, "{}", error.to_string().len());
    }

    /// A bad value of a field that nothing depends on is named and kept, and the record can be read.
    #[test]
    fn metadata_that_nobody_needs() {
        for (field, value) in [
            ("uid", Json::from(5)),
            ("uid", Json::from(-1)),
            ("creationTimestamp", Json::from(1.5)),
            ("creationTimestamp", serde_json::json!({})),
            ("generation", Json::from("x")),
        ] {
            for kind in [Kind::ClusterInformation, Kind::Node, Kind::IPPool, Kind::IPReservation] {
                let key = Key::global(kind, "default");
                let mut json = serde_json::json!({"metadata": {"name": "default", "labels": {"rack": "1"}}, "spec": {"cidr": "10.0.0.0/16"}});
                json["metadata"][field] = value.clone();
                let read = Value::from_stored_text(&key, &json.to_string()).unwrap();
                let faults = of_record(&key, &read);
                assert!(
                    matches!(&faults[..], [one] if one.field == format!("metadata.{field}")),
                    "{faults:?}"
                );
                let written: Json = serde_json::from_str(&read.to_stored_text()).unwrap();
                assert_eq!(written["metadata"][field], value, "{kind} {field}");
                assert_eq!(written["metadata"]["labels"]["rack"], "1");
            }
        }
    }
}
