//! A dump of all that a store holds, and checks of its addresses. It reads the stored JSON itself, without
//! the code under test.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use api::{BlockCidr, Key, Record, Revision, Value};
use serde_json::{Value as Json, json};

const BLOCKS: &str = "/calico/ipam/v2/assignment/";
const HANDLES: &str = "/calico/ipam/v2/handle/";
const POOLS: &str = "/calico/resources/v3/projectcalico.org/ippools/";
const AFFINITIES: [&str; 2] = ["/calico/ipam/v2/host/", "/calico/ipam/v2/virtual/"];

/// Everything under `/calico/`: stored texts by key.
#[derive(Clone, Debug, Default)]
pub struct Dump(pub BTreeMap<String, String>);

impl Dump {
    /// A dump of custom resources, in the form in which etcd would hold their records. Resources whose
    /// deletion has begun are left out.
    pub fn of_objects(objects: BTreeMap<String, String>) -> Dump {
        let mut dump = BTreeMap::new();
        for (path, text) in objects {
            let object: Json = serde_json::from_str(&text).unwrap();
            let spec = &object["spec"];
            if [json!(true), json!("true")].contains(&spec["deleted"]) {
                continue;
            }
            let text = |field: &str| spec[field].as_str().unwrap_or_default();
            let family = if text("cidr").contains(':') { "ipv6" } else { "ipv4" };
            let block = format!("{family}/block/{}", text("cidr").replace('/', "-"));
            let (key, value) = match object["kind"].as_str().unwrap_or_default() {
                "IPAMBlock" => (format!("{BLOCKS}{block}"), spec.clone()),
                "IPAMHandle" => (
                    format!("{HANDLES}{}", text("handleID")),
                    json!({"block": spec["block"], "deleted": false}),
                ),
                "BlockAffinity" => (
                    format!("{}{}/{block}", AFFINITIES[0], text("node")),
                    json!({"state": spec["state"], "deleted": false}),
                ),
                "IPPool" => {
                    let name = object["metadata"]["name"].as_str().unwrap_or_default();
                    (format!("{POOLS}{name}"), json!({"metadata": {"name": name}, "spec": spec}))
                }
                _ => continue,
            };
            let before = dump.insert(key, value.to_string());
            assert!(before.is_none(), "{path} holds what another object holds");
        }
        Dump(dump)
    }

    fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, Json)> {
        let found = self.0.range(prefix.to_string()..).take_while(move |(path, _)| path.starts_with(prefix));
        found.map(move |(path, text)| {
            (&path[prefix.len()..], serde_json::from_str(text).unwrap_or(Json::Null))
        })
    }

    /// Every assigned address with its handle. An address that is in two blocks appears twice.
    pub fn held(&self) -> Vec<(IpAddr, String)> {
        let mut held = Vec::new();
        for (_, block) in self.under(BLOCKS) {
            let Some(cidr) = block["cidr"].as_str().and_then(|text| text.parse::<BlockCidr>().ok()) else {
                continue;
            };
            for (ordinal, index) in block["allocations"].as_array().into_iter().flatten().enumerate() {
                let Some(index) = index.as_u64() else { continue };
                let attribute = &block["attributes"][index as usize];
                if attribute["releasedAt"].is_null() {
                    let handle = attribute["handle_id"].as_str().unwrap_or("(no handle)").to_string();
                    held.extend(cidr.addr(ordinal as u32).map(|addr| (addr, handle)));
                }
            }
        }
        held
    }

    /// The names of all handles.
    pub fn handles(&self) -> BTreeSet<String> {
        self.under(HANDLES).map(|(id, _)| id.to_string()).collect()
    }

    /// All records. An error if one cannot be read.
    pub fn records(&self) -> Result<Vec<Arc<Record>>, String> {
        let mut records = Vec::new();
        for (path, text) in &self.0 {
            let key = Key::from_etcd_path(path).ok_or_else(|| format!("{path} is no key of Calico's"))?;
            let value = Value::from_stored_text(&key, text).map_err(|error| error.to_string())?;
            records.push(Arc::new(Record { key, value, revision: Revision::from(1) }));
        }
        Ok(records)
    }

    /// Faults of single records with which Calico's allocator or its controllers could not cope. They are
    /// looked for in the stored JSON, since reading a record may mend it. What does not hold between records,
    /// the allocator's invariants tell.
    pub fn breaks_calico(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (path, block) in self.under(BLOCKS) {
            faults.extend(block_faults(path, &block).into_iter().map(|what| format!("block {path}: {what}")));
        }
        for (id, json) in self.under(HANDLES) {
            let Some(counts) = json["block"].as_object() else {
                faults.push(format!("handle {id}: `block` is no object: {json}"));
                continue;
            };
            for (block, count) in counts {
                if block.parse::<BlockCidr>().is_err() || count.as_i64().is_none_or(|count| count < 1) {
                    faults.push(format!("handle {id}: counts {count} of {block}"));
                }
            }
        }
        for (path, affinity) in AFFINITIES.iter().flat_map(|prefix| self.under(prefix)) {
            let state = affinity["state"].as_str().unwrap_or_default();
            if !["pending", "confirmed", "pendingDeletion"].contains(&state) {
                faults.push(format!("affinity {path}: {affinity}"));
            }
        }
        faults
    }
}

fn block_faults(path: &str, block: &Json) -> Vec<String> {
    let mut faults = Vec::new();
    let cidr = block["cidr"].as_str().unwrap_or_default();
    let Ok(parsed) = cidr.parse::<BlockCidr>() else {
        return vec![format!("cannot be read: {block}")];
    };
    if !path.ends_with(&format!("/block/{}", cidr.replace('/', "-"))) {
        faults.push(format!("says that it is {cidr}"));
    }
    let size = parsed.size() as usize;
    let empty = Vec::new();
    let allocations = block["allocations"].as_array().unwrap_or(&empty);
    let attributes = block["attributes"].as_array().unwrap_or(&empty);
    if allocations.len() != size {
        faults.push(format!("has {} allocations, not {size}", allocations.len()));
    }
    let mut used = BTreeSet::new();
    for (ordinal, index) in allocations.iter().enumerate().filter(|(_, index)| !index.is_null()) {
        match index.as_u64().filter(|index| (*index as usize) < attributes.len()) {
            Some(index) => drop(used.insert(index)),
            None => {
                faults.push(format!("ordinal {ordinal} has index {index} of {} attributes", attributes.len()))
            }
        }
    }
    if used.len() != attributes.len() {
        faults.push(format!("uses {} of {} attributes", used.len(), attributes.len()));
    }
    let listed: Vec<Option<u64>> =
        block["unallocated"].as_array().unwrap_or(&empty).iter().map(Json::as_u64).collect();
    let free: BTreeSet<Option<u64>> = listed.iter().copied().collect();
    let wanted: BTreeSet<Option<u64>> =
        (0..allocations.len()).filter(|at| allocations[*at].is_null()).map(|at| Some(at as u64)).collect();
    if free != wanted || free.len() != listed.len() {
        faults.push(format!("lists {} as free, but {} is", block["unallocated"], block["allocations"]));
    }
    if block["sequenceNumber"].as_u64().is_none_or(|number| number == 0) {
        faults.push(format!("has sequence number {}", block["sequenceNumber"]));
    }
    for (ordinal, number) in block["sequenceNumberForAllocation"].as_object().into_iter().flatten() {
        let is_taken =
            ordinal.parse().is_ok_and(|at: usize| allocations.get(at).is_some_and(|a| !a.is_null()));
        if !is_taken || number.as_u64() >= block["sequenceNumber"].as_u64() {
            faults.push(format!("has sequence number {number} for ordinal {ordinal}"));
        }
    }
    if block["deleted"].as_bool() == Some(true) {
        faults.push("is marked as deleted".to_string());
    }
    faults
}
