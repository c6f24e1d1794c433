//! Reads the reports of `ipam check`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipam::ReleaseIp;
use serde_json::Value as Json;

use crate::output::report::Cluster;

/// The largest report: one of several million addresses.
pub const LARGEST: usize = 2 << 30;

/// What a report says that may be released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The cluster.
    pub cluster: Cluster,
    /// The addresses that nobody used, each with the handle and the sequence number of its allocation.
    pub leaked: Leaked,
}

/// What has leaked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leaked {
    /// The addresses, each as it was assigned.
    pub addresses: BTreeMap<IpAddr, ReleaseIp>,
    /// The handles of which no block held an address: name and revision of each.
    pub handles: BTreeSet<(String, String)>,
}

impl Report {
    /// Reads a report.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn read(text: &[u8]) -> Result<Report, String> {
        let json: Json = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let field = |name: &str| match &json[name] {
            Json::Null => Ok(String::new()),
            Json::String(text) => Ok(text.clone()),
            other => Err(format!("{name}: {} is no text", api::fault::excerpt(other))),
        };
        let cluster = Cluster {
            version: field("version")?,
            guid: field("clusterGUID")?,
            is_locked: json["datastoreLocked"] == Json::Bool(true),
            revision: field("clusterInformationRevision")?,
            kind: field("clusterType")?,
        };
        let mut leaked = Leaked::default();
        for entries in json["allocations"].as_object().into_iter().flat_map(|all| all.values()) {
            let entries = entries.as_array().map_or(&[][..], Vec::as_slice);
            // Where blocks overlap, somebody may use the other allocation of the address.
            let Some(first) = entries.first() else { continue };
            let mut is_leaked = true;
            for entry in entries {
                is_leaked &= !is_used(entry)?;
            }
            if !is_leaked {
                continue;
            }
            let ip = assignment(first)?;
            leaked.addresses.insert(ip.addr, ip);
        }
        for handle in json["leakedHandles"].as_array().into_iter().flatten() {
            let part = |name: &str| {
                let text = handle[name].as_str().filter(|text| !text.is_empty());
                text.map(str::to_string).ok_or_else(|| format!("leakedHandles: {name} is missing"))
            };
            leaked.handles.insert((part("ID")?, part("Revision")?));
        }
        Ok(Report { cluster, leaked })
    }
}

fn is_used(entry: &Json) -> Result<bool, String> {
    let Json::Bool(in_use) = entry["inUse"] else {
        return Err(format!(
            "allocations: {} does not say whether it is inUse",
            api::fault::excerpt(&entry["ip"])
        ));
    };
    let has_owners = entry["owners"].as_array().is_some_and(|owners| !owners.is_empty());
    Ok(in_use || has_owners || entry["coolingDown"] == Json::Bool(true))
}

fn assignment(entry: &Json) -> Result<ReleaseIp, String> {
    let text = entry["ip"].as_str().unwrap_or_default();
    let shown = || api::fault::excerpt(&entry["ip"]);
    let addr =
        api::cidr::parse_addr(text).ok_or_else(|| format!("allocations: {} is no address", shown()))?;
    // Without its number, nobody could tell whether the address was assigned anew since.
    let sequence = entry["sequenceNumber"].as_u64();
    let sequence = sequence.ok_or_else(|| format!("allocations: {text} has no sequenceNumber"))?;
    let handle = entry["handle"].as_str().and_then(|id| id.split('\r').next()).filter(|id| !id.is_empty());
    Ok(ReleaseIp { addr, handle: handle.map(str::to_string), sequence: Some(sequence) })
}

/// What has leaked by all reports. An address that was assigned anew between two reports has not.
pub fn common(reports: &[Report]) -> Leaked {
    let Some((first, others)) = reports.split_first() else { return Leaked::default() };
    let mut leaked = first.leaked.clone();
    leaked
        .addresses
        .retain(|addr, ip| others.iter().all(|other| other.leaked.addresses.get(addr) == Some(ip)));
    leaked.handles.retain(|handle| others.iter().all(|other| other.leaked.handles.contains(handle)));
    leaked
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(allocations: Json, handles: Json) -> Result<Report, String> {
        let json = json!({"version": "v", "clusterGUID": "g", "datastoreLocked": true,
            "clusterInformationRevision": "7", "clusterType": "", "allocations": allocations, "leakedHandles": handles});
        Report::read(json.to_string().as_bytes())
    }

    fn leaked(ip: &str, sequence: u64) -> Json {
        json!({"ip": ip, "handle": "h\r", "sequenceNumber": sequence, "inUse": false, "owners": null})
    }

    #[test]
    fn only_what_all_reports_call_leaked_is_common() {
        let used = json!({"ip": "10.0.0.3", "sequenceNumber": 1, "inUse": true});
        let cooling = json!({"ip": "10.0.0.4", "sequenceNumber": 1, "inUse": false, "coolingDown": true});
        let handles =
            json!([{"ID": "a", "UID": null, "Revision": "1"}, {"ID": "b", "UID": null, "Revision": "2"}]);
        let one = json!({"10.0.0.1": [leaked("10.0.0.1", 1)], "10.0.0.2": [leaked("10.0.0.2", 1)],
            "10.0.0.3": [used, leaked("10.0.0.3", 1)], "10.0.0.4": [cooling]});
        let two = json!({"10.0.0.1": [leaked("10.0.0.1", 1)], "10.0.0.2": [leaked("10.0.0.2", 9)]});
        let one = report(one, handles).unwrap();
        assert_eq!(one.leaked.addresses.len(), 2);
        let two =
            report(two, json!([{"ID": "a", "UID": null, "Revision": "1"}, {"ID": "b", "Revision": "3"}]))
                .unwrap();
        let both = common(&[one, two]);
        let addresses: Vec<&ReleaseIp> = both.addresses.values().collect();
        let addr = "10.0.0.1".parse().unwrap();
        assert_eq!(addresses, [&ReleaseIp { addr, handle: Some("h".to_string()), sequence: Some(1) }]);
        assert_eq!(both.handles, BTreeSet::from([("a".to_string(), "1".to_string())]));
    }

    #[test]
    fn what_cannot_be_understood_is_an_error() {
        let numberless = json!({"10.0.0.1": [{"ip": "10.0.0.1", "inUse": false}]});
        let error = report(numberless, Json::Null).unwrap_err();
        assert!(error.contains("10.0.0.1 has no sequenceNumber"), "{error}");
        let nameless = json!({"x": [{"ip": "x", "sequenceNumber": 1, "inUse": false}]});
        assert!(report(nameless, Json::Null).unwrap_err().contains("is no address"));
        assert!(report(json!({}), json!([{"ID": "a"}])).unwrap_err().contains("Revision is missing"));
        assert!(Report::read(b"{").is_err());
    }
}
