//! The report that `ipam check` writes and `ipam release --from-report` reads, in Calico's form.

use std::io::{self, Write};
use std::net::IpAddr;

use api::Resource;
use golang::json;
use resources::check::{Allocation, Checked, CheckedBlock};
use serde_json::{Map, Value as Json};

use super::check::owners;

/// What a report says of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// The version of the program that wrote the report.
    pub version: String,
    /// The cluster's ID.
    pub guid: String,
    /// Whether the datastore was locked.
    pub is_locked: bool,
    /// The revision of the ClusterInformation.
    pub revision: String,
    /// The ClusterInformation's `clusterType`.
    pub kind: String,
}

impl Cluster {
    /// What is to be reported of that ClusterInformation.
    pub fn of(version: &str, information: &Resource) -> Cluster {
        let text = |field: &str| information.text(&["spec", field]).unwrap_or_default().to_string();
        Cluster {
            version: version.to_string(),
            guid: text("clusterGUID"),
            is_locked: information.field(&["spec", "datastoreReady"]) == Some(&Json::Bool(false)),
            revision: information.metadata().resource_version.clone().unwrap_or_default(),
            kind: text("clusterType"),
        }
    }

    /// Whether Calico's controllers run in the cluster.
    pub fn has_controllers(&self) -> bool {
        self.kind.split(',').any(|part| part == "k8s")
    }
}

/// Writes a report. `uids` are those of the objects that hold the leaked handles. It is written piece by
/// piece, as it may be large.
///
/// # Errors
/// Those of `out`.
pub fn write(
    out: &mut impl Write,
    cluster: &Cluster,
    checked: &Checked,
    uids: &[Option<String>],
) -> io::Result<()> {
    let text = |text: &str| json::to_text(&Json::from(text));
    writeln!(out, "{{")?;
    writeln!(out, "  \"version\": {},", text(&cluster.version))?;
    writeln!(out, "  \"clusterGUID\": {},", text(&cluster.guid))?;
    writeln!(out, "  \"datastoreLocked\": {},", cluster.is_locked)?;
    writeln!(out, "  \"clusterInformationRevision\": {},", text(&cluster.revision))?;
    writeln!(out, "  \"clusterType\": {},", text(&cluster.kind))?;
    write!(out, "  \"allocations\": {{")?;
    // Go sorts the keys of a map as texts.
    let mut addresses: Vec<(String, IpAddr)> =
        checked.allocated().map(|addr| (addr.to_string(), addr)).collect();
    addresses.sort_unstable();
    let is_empty = addresses.is_empty();
    for (index, (name, addr)) in addresses.into_iter().enumerate() {
        let all = checked.allocations_of(addr);
        let all: Vec<Json> = all.map(|(block, allocation)| entry(checked, block, allocation, addr)).collect();
        let comma = if index == 0 { "" } else { "," };
        write!(out, "{comma}\n    {}: {}", text(&name), indented(&all.into(), "    "))?;
    }
    write!(out, "{}}}", if is_empty { "" } else { "\n  " })?;
    if !checked.leaked_handles.is_empty() {
        let handles = checked.leaked_handles.iter().enumerate().map(|(at, (id, revision))| {
            let uid = uids.get(at).cloned().flatten();
            let pairs =
                [("ID", Json::from(&**id)), ("UID", uid.into()), ("Revision", revision.as_str().into())];
            Json::Object(pairs.into_iter().map(|(name, value)| (name.to_string(), value)).collect())
        });
        write!(out, ",\n  \"leakedHandles\": {}", indented(&handles.collect::<Vec<_>>().into(), "  "))?;
    }
    write!(out, "\n}}")
}

/// A value's text, whose lines after the first begin with `margin`.
fn indented(value: &Json, margin: &str) -> String {
    json::to_indented_text(value, 2).replace('\n', &format!("\n{margin}"))
}

fn entry(checked: &Checked, block: &CheckedBlock, allocation: &Allocation, addr: IpAddr) -> Json {
    let owner = allocation.owner().unwrap_or_default();
    let mut entry = Map::new();
    entry.insert("ip".to_string(), addr.to_string().into());
    let text = |entry: &mut Map<String, Json>, name: &str, value: Option<&str>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            entry.insert(name.to_string(), value.into());
        }
    };
    let field = |name: &str| owner.fields.get(name).map(String::as_str);
    text(&mut entry, "handle", allocation.handle.as_deref());
    entry.insert("sequenceNumber".to_string(), allocation.sequence.into());
    text(&mut entry, "pod", field("pod"));
    text(&mut entry, "namespace", field("namespace"));
    text(&mut entry, "node", Some(&allocation.node));
    text(&mut entry, "type", field("type"));
    text(&mut entry, "creationTimestamp", field("timestamp"));
    entry.insert("inUse".to_string(), checked.is_in_use(addr, allocation).into());
    for (name, holds) in
        [("borrowed", *allocation.node != *block.host()), ("coolingDown", allocation.is_cooling)]
    {
        if holds {
            entry.insert(name.to_string(), true.into());
        }
    }
    entry.insert("owners".to_string(), owners(checked.users_of(addr)));
    entry.into()
}
