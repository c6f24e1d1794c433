//! Reads a table of routes as `ip -j route` and `ip -j -6 route` print it.

use std::net::IpAddr;
use std::sync::Arc;

use api::{Cidr, Family};
use serde_json::Value as Json;

use crate::route::{PROTOCOL, Route, Target, default_metric};

/// A route that was found in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The route.
    pub route: Route,
    /// Who made it, as the table says: a name or a number.
    pub protocol: String,
    /// The source address that the route suggests.
    pub source: Option<IpAddr>,
}

impl Found {
    /// Whether the route is one of ours.
    pub fn is_ours(&self) -> bool {
        self.protocol == PROTOCOL.to_string()
    }
}

/// Why a text is no table of routes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// It is no JSON.
    #[error("it is no JSON: {0}. `ip -j route` prints what is needed")]
    Json(String),
    /// It is no list of routes.
    #[error("it is no list of routes: `ip -j route` prints one")]
    Shape,
    /// A route cannot be understood.
    #[error("route {0} (counted from 1) {1}")]
    Route(usize, String),
}

/// Reads a table. Default routes are left out: they lead to no pool by themselves.
///
/// # Errors
/// See [`TableError`].
pub fn read(text: &str) -> Result<Vec<Found>, TableError> {
    // A host without routes of a family prints nothing, or an empty list.
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let json: Json = serde_json::from_str(text).map_err(|error| TableError::Json(error.to_string()))?;
    let rows = json.as_array().ok_or(TableError::Shape)?;
    let mut found = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        match route(row) {
            Ok(route) => found.extend(route),
            Err(reason) => return Err(TableError::Route(index + 1, reason)),
        }
    }
    Ok(found)
}

/// A row; `None` for a default route, which leads to none of the pools by itself.
fn route(row: &Json) -> Result<Option<Found>, String> {
    let text = |field: &str| row[field].as_str();
    let dst = text("dst").ok_or("has no dst")?;
    if dst == "default" {
        return Ok(None);
    }
    let to = dst.parse::<Cidr>().ok().or_else(|| api::cidr::parse_addr(dst).map(Cidr::single));
    let to = to.ok_or_else(|| format!("leads to {}, which is no network", api::fault::printable(dst)))?;
    let address = |json: &Json| json.as_str().and_then(api::cidr::parse_addr);
    let device = text("dev").map(Arc::from);
    let hops = row["nexthops"].as_array();
    let mut gateways: Vec<IpAddr> = match hops {
        Some(hops) => hops.iter().filter_map(|hop| address(&hop["gateway"])).collect(),
        None => address(&row["gateway"]).or_else(|| address(&row["via"]["host"])).into_iter().collect(),
    };
    gateways.sort();
    let target = match (text("type").unwrap_or("unicast"), device) {
        ("blackhole", _) => Target::Blackhole,
        ("unreachable" | "prohibit", _) => Target::Unreachable,
        (_, Some(device)) if gateways.is_empty() => Target::Link { device },
        (_, device) => Target::Via { gateways, device },
    };
    let mtu = row["metrics"].as_array().into_iter().flatten().find_map(|metrics| metrics["mtu"].as_u64());
    let metric = row["metric"].as_u64().and_then(|metric| u32::try_from(metric).ok());
    let route = Route {
        to,
        target,
        mtu: mtu.and_then(|mtu| u32::try_from(mtu).ok()),
        metric: metric.unwrap_or_else(|| default_metric(to.family())),
    };
    // `ip` leaves the protocol out where it is "boot".
    let protocol = match &row["protocol"] {
        Json::String(name) => name.clone(),
        Json::Number(number) => number.to_string(),
        _ => "boot".to_string(),
    };
    Ok(Some(Found { route, protocol, source: address(&row["prefsrc"]) }))
}

/// The interface that carries an address, by the route to its own network that the kernel makes.
pub fn uplink_of(table: &[Found], addr: IpAddr) -> Option<Arc<str>> {
    table.iter().find_map(|found| match &found.route.target {
        Target::Link { device } if found.protocol == "kernel" && found.route.to.contains(addr) => {
            let is_own = found.source == Some(addr) || Family::of(addr) == Family::V6;
            is_own.then(|| device.clone())
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read_as_ip_prints_them() {
        let text = r#"[
            {"dst":"default","gateway":"10.77.1.1","dev":"eth0","flags":[]},
            {"dst":"10.77.1.0/24","dev":"eth0","protocol":"kernel","scope":"link","prefsrc":"10.77.1.11","flags":[]},
            {"dst":"10.81.2.0/26","gateway":"10.82.2.0","dev":"vxlan.calico","protocol":"81","flags":["onlink"],"metrics":[{"mtu":1450}]},
            {"dst":"10.81.8.150","gateway":"10.77.1.12","dev":"eth0","protocol":"81","flags":["onlink"]},
            {"type":"blackhole","dst":"10.81.8.128/26","protocol":"80","flags":[]},
            {"dst":"10.1.0.0/16","protocol":"static","flags":[],"nexthops":[
                {"gateway":"10.77.1.12","dev":"eth0","weight":1,"flags":[]},{"gateway":"10.77.1.11","dev":"eth0","weight":1,"flags":[]}]},
            {"dst":"fd00::/64","dev":"eth0","protocol":"kernel","metric":256,"flags":[],"pref":"medium"}]"#;
        let table = read(text).unwrap();
        let shown: Vec<String> =
            table.iter().map(|found| format!("{} {}", found.protocol, found.route)).collect();
        assert_eq!(
            shown,
            [
                "kernel 10.77.1.0/24 dev eth0 scope link",
                "81 10.81.2.0/26 via 10.82.2.0 dev vxlan.calico mtu 1450",
                "81 10.81.8.150/32 via 10.77.1.12 dev eth0",
                "80 blackhole 10.81.8.128/26",
                "static 10.1.0.0/16 nexthop via 10.77.1.11 nexthop via 10.77.1.12",
                "kernel fd00::/64 dev eth0 scope link metric 256",
            ]
        );
        assert_eq!(table.iter().filter(|found| found.is_ours()).count(), 2);
        assert_eq!(uplink_of(&table, "10.77.1.11".parse().unwrap()).as_deref(), Some("eth0"));
        assert_eq!(uplink_of(&table, "10.77.1.12".parse().unwrap()), None);
        assert_eq!(read(" \n"), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_table_is_told() {
        for (text, told) in [
            ("10.0.0.0/8 via 10.1.1.1", "it is no JSON: "),
            ("{}", "it is no list of routes"),
            ("[{\"dst\":\"x\"}]", "route 1 (counted from 1) leads to x, which is no network"),
            ("[{}]", "route 1 (counted from 1) has no dst"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.starts_with(told), "{error}");
        }
    }
}
