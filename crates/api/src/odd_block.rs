//! Blocks of which a part cannot be read.
//!
//! No address may be assigned twice. So what can be done with such a block depends on whether it is still
//! certain who holds which address:
//!
//! | what is odd | what that means |
//! |---|---|
//! | a value of an owner (`"pod": 5`), a whole attribute | its address is in use; the rest of the attribute holds, above all its handle |
//! | `handle_id`, `releasedAt` of an attribute | its address is in use, by nobody known: only a release that names the address frees it |
//! | an entry of `unallocated` | the entry stands for no address. The rest of the queue is good, as `allocations` say what is free |
//! | an entry of `sequenceNumberForAllocation` | that number counts as 0 until the address is assigned anew |
//! | the claim time | the block is never taken over for being old |
//! | `cidr`, `affinity`, `deleted`, `sequenceNumber`; a list that is none; `allocations` too many or too few, an index that is none or points nowhere | the block is unreadable: all its addresses are in use, none is assigned or released |
//!
//! The last row lists so much because a list that lost an entry has moved all entries after it, and then
//! nobody can tell whose any of these addresses is. All other odd parts are written back as they were read
//! when the block is written.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use crate::block::{Attribute, Block};
use crate::excerpt::excerpt;
use crate::residue::{NEVER_OLD, Residue};
use crate::time;

/// A fault that makes a block unreadable: field and reason.
pub(crate) type BadField = (String, String);

/// Reads as much of a block as possible.
pub(crate) fn read(json: &Json, claim_time_field: &str) -> Result<Block, BadField> {
    let Json::Object(map) = json else { return Err((String::new(), "not an object".to_string())) };
    let mut residue = Residue::default();
    let text = map.get("cidr").and_then(Json::as_str).unwrap_or_default();
    let cidr = text.parse().map_err(|_| wrong("cidr", map.get("cidr"), "is no block"))?;
    let affinity: Option<Arc<str>> = optional(map, "affinity", |json| json.as_str().map(Arc::from))?;
    let attributes = attributes(map, &mut residue)?;
    let mut allocations = Vec::new();
    for (ordinal, entry) in list(map, "allocations")?.iter().enumerate() {
        allocations.push(match entry {
            Json::Null => None,
            other => Some(other.as_u64().and_then(|index| u32::try_from(index).ok()).ok_or_else(|| {
                wrong(&format!("allocations[{ordinal}]"), Some(other), "is no index of an attribute")
            })?),
        });
    }
    let mut unallocated = Vec::new();
    for (place, entry) in list(map, "unallocated")?.iter().enumerate() {
        match entry.as_u64().and_then(|ordinal| u32::try_from(ordinal).ok()) {
            Some(ordinal) => unallocated.push(ordinal),
            None => {
                let field = format!("unallocated[{place}]");
                residue.faults.push(wrong(&field, Some(entry), "is no ordinal"));
                residue.unallocated.push(entry.clone());
            }
        }
    }
    let read_time = |json: &Json| time::parse_rfc3339(json.as_str()?);
    let affinity_claim_time = optional(map, claim_time_field, read_time).unwrap_or_else(|fault| {
        residue.faults.push(fault);
        residue.claim_time = map.get(claim_time_field).cloned();
        Some(NEVER_OLD)
    });
    let sequence_numbers = sequences(map, &mut residue)?;
    Ok(Block {
        cidr,
        affinity,
        affinity_claim_time,
        allocations,
        unallocated,
        attributes,
        sequence_number: optional(map, "sequenceNumber", sequence)?.unwrap_or_default(),
        sequence_numbers,
        deleted: optional(map, "deleted", Json::as_bool)?.unwrap_or_default(),
        legacy_host_affinity: optional(map, "hostAffinity", |json| json.as_str().map(str::to_string))?,
        residue: (residue != Residue::default()).then(|| Arc::new(residue)),
    })
}

/// Looks for faults that make a block unreadable although each of its fields can be read.
pub(crate) fn check(block: &Block) -> Result<(), BadField> {
    let (size, found) = (block.cidr.size() as usize, block.allocations.len());
    if found != size {
        let reason =
            format!("{found} allocations stand for {size} addresses, so it is doubtful whose each is");
        return Err(("allocations".to_string(), reason));
    }
    let count = block.attributes.len();
    let points_nowhere = |index: &Option<u32>| index.is_some_and(|index| index as usize >= count);
    match block.allocations.iter().position(points_nowhere) {
        None => Ok(()),
        Some(ordinal) => {
            let index = block.allocations[ordinal].unwrap_or_default();
            let reason = format!(
                "{index} points past the {count} attributes, so it is doubtful whose each address is"
            );
            Err((format!("allocations[{ordinal}]"), reason))
        }
    }
}

/// The faults of a block that can be read: field and reason of each.
pub(crate) fn oddities(block: &Block) -> Vec<BadField> {
    let mut found: Vec<BadField> =
        block.residue.iter().flat_map(|residue| residue.faults.iter().cloned()).collect();
    if block.owner().is_none() && block.affinity.as_deref().is_some_and(|text| !text.is_empty()) {
        let text = Json::from(block.affinity.as_deref());
        found.push(wrong("affinity", Some(&text), "names no owner of a known form"));
    }
    let mut is_free = vec![false; block.allocations.len()];
    for (place, ordinal) in block.unallocated.iter().enumerate() {
        let reason = match (is_free.get_mut(*ordinal as usize), block.allocations.get(*ordinal as usize)) {
            (Some(free), Some(None)) if !*free => {
                *free = true;
                continue;
            }
            (Some(_), Some(None)) => "stands there twice",
            (Some(_), _) => "is in use",
            (None, _) => "lies outside of the block",
        };
        found.push((format!("unallocated[{place}]"), format!("{ordinal} {reason}")));
    }
    found
}

fn attributes(map: &Map<String, Json>, residue: &mut Residue) -> Result<Vec<Arc<Attribute>>, BadField> {
    let read = |(place, json): (usize, &Json)| {
        let attribute = serde_json::from_value(json.clone()).ok().filter(|_| json.is_object());
        Arc::new(attribute.unwrap_or_else(|| {
            let mut faults = Vec::new();
            let attribute = odd_attribute(json, &format!("attributes[{place}]"), &mut faults);
            residue.faults.extend(faults);
            attribute
        }))
    };
    Ok(list(map, "attributes")?.iter().enumerate().map(read).collect())
}

/// Reads as much of an attribute as possible. If the time of release cannot be read, the address counts as in
/// use.
fn odd_attribute(json: &Json, at: &str, faults: &mut Vec<BadField>) -> Attribute {
    let odd = Some(Arc::new(json.clone()));
    let Json::Object(map) = json else {
        faults.push(wrong(at, Some(json), "is not an object"));
        return Attribute { odd, ..Attribute::default() };
    };
    let mut note =
        |field: &str, json: &Json, reason| faults.push(wrong(&format!("{at}.{field}"), Some(json), reason));
    let mut texts = |field: &str| {
        let mut read = BTreeMap::new();
        match map.get(field) {
            None | Some(Json::Null) => {}
            Some(Json::Object(pairs)) => {
                for (name, value) in pairs {
                    match value.as_str() {
                        Some(text) => drop(read.insert(name.clone(), text.to_string())),
                        None => note(&format!("{field}.{name}"), value, "is no text"),
                    }
                }
            }
            Some(other) => note(field, other, "is not an object"),
        }
        read
    };
    let (owner, alternate_owner) = (texts("secondary"), texts("alternateOwnerAttrs"));
    let handle_id = optional(map, "handle_id", |json| json.as_str().map(str::to_string));
    let released_at = optional(map, "releasedAt", |json| time::parse_rfc3339(json.as_str()?));
    let mut rest = |fault: &BadField| faults.push((format!("{at}.{}", fault.0), fault.1.clone()));
    handle_id.as_ref().err().into_iter().for_each(&mut rest);
    released_at.as_ref().err().into_iter().for_each(&mut rest);
    Attribute {
        handle_id: handle_id.unwrap_or_default(),
        owner,
        alternate_owner,
        released_at: released_at.unwrap_or_default(),
        odd,
    }
}

fn sequences(map: &Map<String, Json>, residue: &mut Residue) -> Result<Vec<(u32, u64)>, BadField> {
    const FIELD: &str = "sequenceNumberForAllocation";
    let numbers = match map.get(FIELD) {
        None | Some(Json::Null) => return Ok(Vec::new()),
        Some(Json::Object(numbers)) => numbers,
        Some(other) => return Err(wrong(FIELD, Some(other), "is not an object")),
    };
    let mut read = BTreeMap::new();
    for (ordinal, number) in numbers {
        match (ordinal.parse().ok(), sequence(number)) {
            (Some(ordinal), Some(number)) => drop(read.insert(ordinal, number)),
            _ => {
                residue.faults.push(wrong(
                    &format!("{FIELD}.{ordinal}"),
                    Some(number),
                    "is no sequence number",
                ));
                residue.sequences.push((ordinal.clone(), number.clone()));
            }
        }
    }
    Ok(read.into_iter().collect())
}

/// Reads a sequence number, even as a floating-point number: tools without integers write it so, rounded
/// above 2^53.
fn sequence(json: &Json) -> Option<u64> {
    let whole =
        |number: &f64| number.fract() == 0.0 && *number >= 0.0 && *number < 18_446_744_073_709_551_616.0;
    json.as_u64().or_else(|| json.as_f64().filter(whole).map(|number| number as u64))
}

fn list<'j>(map: &'j Map<String, Json>, field: &str) -> Result<&'j [Json], BadField> {
    match map.get(field) {
        None | Some(Json::Null) => Ok(&[]),
        Some(Json::Array(items)) => Ok(items),
        Some(other) => Err(wrong(field, Some(other), "is no list")),
    }
}

fn optional<T>(
    map: &Map<String, Json>,
    field: &str,
    read: impl Fn(&Json) -> Option<T>,
) -> Result<Option<T>, BadField> {
    match map.get(field) {
        None | Some(Json::Null) => Ok(None),
        Some(json) => read(json).map(Some).ok_or_else(|| wrong(field, Some(json), "cannot be read")),
    }
}

fn wrong(field: &str, json: Option<&Json>, reason: &str) -> BadField {
    let shown = json.map_or("nothing".to_string(), excerpt);
    (field.to_string(), format!("{shown} {reason}"))
}

#[cfg(test)]
#[path = "odd_block_tests.rs"]
mod tests;
