//! Nothing is unreadable: no record, and no part of one. (What the parts of a block say of each other is
//! checked in `capacity`.)

use api::{DecodeError, Key, Record, Value, fault};

use crate::invariants::Violation;

pub(super) fn check(record: &Record, tell: &mut impl FnMut(Violation)) {
    let mut part = |field: &str, reason: &str| {
        let (field, reason) = (field.to_string(), reason.to_string());
        let (key, name) = (Some(record.key.clone()), record.key.to_string());
        tell(Violation::Unreadable { key, record: name, field, reason });
    };
    match &record.value {
        Value::Block(block) => {
            let faults = block.residue.iter().flat_map(|residue| residue.faults());
            faults.for_each(|(field, reason)| part(field, reason));
            let owner = block.affinity.as_deref().filter(|text| !text.is_empty() && block.owner().is_none());
            if let Some(text) = owner {
                part("affinity", &format!("'{}' names no owner of a known form", fault::printable(text)));
            }
        }
        other => {
            let faults = fault::of_record(&record.key, other);
            faults.iter().for_each(|fault| part(&fault.field, &fault.reason));
        }
    }
}

pub(super) fn unreadable(key: Option<&Key>, error: &DecodeError, tell: &mut impl FnMut(Violation)) {
    let DecodeError { key: record, field, reason, .. } = error.clone();
    tell(Violation::Unreadable { key: key.cloned(), record, field, reason });
}
