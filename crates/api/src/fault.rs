//! What is wrong with a stored record, and what the rest does about it: one bad record stops no other, is never taken for absent, and is always named.
//!
//! | record | what it means that it cannot be read |
//! |---|---|
//! | IPPool | it selects nobody, and no address comes from it; blocks and addresses of its network stay as they are. One whose selector cannot be read can be asked for by name |
//! | IPReservation | the networks in it that can be read are kept back, and nothing else, as with Calico: one slip of a hand must not stop a cluster, and no tenant holds what it names |
//! | IPAMConfiguration | the strictest that it could say: no address of another's block, no new block, nothing that cools down is free |
//! | block | its addresses are in use, and its owner's: none is assigned or released. In parts: see [`crate::odd_block`] |
//! | affinity | its block is what the block itself says; the owner leaves it alone |
//! | handle | nothing is assigned or released by it |
//! | Node | its labels are not known, so nothing is assigned on it; nothing else is kept from it |
//! | ClusterInformation | whether the datastore may be used is not known: it is refused to whoever asks |
//! | others | they are left out of lists |
//!
//! A record that stands under another name than its own is unreadable too: which of the two is meant nobody can tell.

use std::fmt;

use serde_json::Value as Json;

use crate::ipam_config::Persistence;
use crate::key::Key;
use crate::kind::Kind;
use crate::odd_block;
use crate::record::{DecodeError, Value};
use crate::resource::Resource;

/// Characters of a value that a reason repeats.
const SHOWN: usize = 60;
/// Bytes of a text that a message repeats.
pub const TEXT: usize = 200;
/// Bytes of a reason.
const REASON: usize = 800;
/// What the rest does about a field that nobody needs.
const NOT_NEEDED: &str = "it is kept as it is, and nothing depends on it";
/// What the rest does about a configuration that does not say what holds for machines.
const MACHINES_KEEP: &str =
    "virtual machines keep their addresses until it is mended (calicoctl ipam configure)";
/// Faults of one record that are told.
const TOLD: usize = 5;

/// A fault of a stored record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The record, as Calico's error texts name it.
    pub record: String,
    /// The field; empty where all of it is meant.
    pub field: String,
    /// What is wrong, in one line.
    pub reason: String,
    /// The same for a terminal: the place marked. Several lines.
    pub picture: Option<String>,
    /// What the rest does about it, and what to do.
    pub effect: &'static str,
}

impl Fault {
    /// The fault of a record that cannot be read; the key, where it is known.
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

/// What the rest does about a record of which all, or a part, cannot be read.
fn effect_of(key: &Key, all: bool) -> &'static str {
    match key {
        Key::Resource { kind: Kind::IPPool, .. } if all => {
            "no address comes from it until it is deleted (calicoctl delete) and created anew"
        }
        Key::Resource { kind: Kind::IPPool, .. } => {
            "no address comes from it until it is mended (calicoctl apply)"
        }
        Key::Resource { kind: Kind::IPReservation, .. } if all => {
            "it keeps no address back until it is deleted (calicoctl delete) and created anew"
        }
        Key::Resource { kind: Kind::IPReservation, .. } => {
            "that part keeps no address back until it is mended (calicoctl apply)"
        }
        Key::Resource { kind: Kind::Node, .. } => "nothing is assigned on that node until it is mended",
        Key::Resource { kind: Kind::ClusterInformation, .. } => {
            "whether the datastore may be used is not known until it is mended"
        }
        Key::Resource { .. } => "it is left out until it is deleted (calicoctl delete) and created anew",
        Key::IpamConfig => {
            "until it is mended no block is claimed or borrowed from, and what cools down stays so"
        }
        Key::Block(_) if all => "its addresses stay in use, none is assigned or released until it is mended",
        Key::Block(_) => "that part is kept as it is, and not acted on",
        Key::Affinity { .. } => "it is left alone until it is mended or deleted",
        Key::Handle(_) => "nothing is assigned or released by it until it is mended",
    }
}

/// What is odd about a record that can be read as a whole: some of it, and how much there is.
pub fn of_record(key: &Key, value: &Value) -> Vec<Fault> {
    let mut faults = all_of_record(key, value);
    let more = faults.len().saturating_sub(TOLD);
    faults.truncate(TOLD);
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
        Value::Affinity(_) | Value::Handle(_) => Vec::new(),
    }
}

fn of_resource(resource: &Resource, fault: impl Fn((String, String), Option<String>) -> Fault) -> Vec<Fault> {
    match resource.kind() {
        Kind::IPPool => match resource.as_pool() {
            Err(error) => {
                error.field().map(|field| fault((field, error.reason()), None)).into_iter().collect()
            }
            Ok(pool) => {
                let odd = pool.odd_selectors();
                odd.map(|(field, odd)| fault((field.to_string(), odd.to_string()), Some(odd.picture())))
                    .collect()
            }
        },
        Kind::IPReservation => {
            let odd = resource.as_reservation().odd.iter();
            odd.map(|(field, reason)| fault((field.clone(), reason.clone()), None)).collect()
        }
        _ => Vec::new(),
    }
}

/// A value for a message: short, in one line, fit for a terminal.
pub fn excerpt(json: &Json) -> String {
    let text = printable(&json.to_string());
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// A text of at most so many bytes and a few: both its ends, where it is longer, and how much was left out.
pub fn short(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_string();
    }
    let boundary = |at: usize| (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    let (head, tail) = (boundary(most * 3 / 4), boundary(text.len() - most / 4));
    format!("{}[... {} bytes ...]{}", &text[..head], tail - head, &text[tail..])
}

/// Whether a terminal may obey a character instead of showing it: control characters, and those that turn the direction in which others are shown, so that a
/// line reads as another one.
pub fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text with the characters spelled out that a terminal obeys (see [`is_obeyed`]), so that it shows them.
pub fn printable(text: &str) -> String {
    spelled_out(text, is_obeyed)
}

/// The same of a text in lines, with tabs.
pub fn printable_lines(text: &str) -> String {
    spelled_out(text, |c| is_obeyed(c) && !matches!(c, '\n' | '\t'))
}

fn spelled_out(text: &str, is_meant: impl Fn(char) -> bool) -> String {
    if !text.contains(&is_meant) {
        return text.to_string();
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            c if !is_meant(c) => out.push(c),
            c if c.is_control() => out.extend(c.escape_debug()),
            c => out.extend(c.escape_unicode()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(short("abcdefgh", 8), "abcdefgh");
        assert_eq!(short("abcdefghi", 8), "abcdef[... 1 bytes ...]hi");
        assert!(short(&"é".repeat(1_000_000), 200).len() < 240);
    }

    /// However large a bad record is, what is told of it is not.
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
            assert!((1..=TOLD + 1).contains(&faults.len()), "{}", faults.len());
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

    /// What nothing depends on is named, kept, and stops nothing.
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

    #[test]
    fn control_characters_are_spelled_out() {
        for (text, shown) in [
            ("plain é", "plain é"),
            ("a\u{1b}[31mb", "a\\u{1b}[31mb"),
            ("a\nb\tc\u{7f}\u{9b}", "a\\nb\\tc\\u{7f}\\u{9b}"),
            ("a\u{202e}b\u{2066}c\u{200f}", "a\\u{202e}b\\u{2066}c\\u{200f}"),
        ] {
            assert_eq!(printable(text), shown);
        }
        assert_eq!(printable_lines("a\nb\tc\r\u{202a}"), "a\nb\tc\\r\\u{202a}");
    }
}
