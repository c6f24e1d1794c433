//! The pools that a configuration asks for: CIDRs, or names of pools.

use std::time::Duration;

use api::{Cidr, Family, Kind};
use store::{Depth, ReadSet, Scope, Store, View};

use crate::args::go_quoted;
use crate::error::CniError;

/// The time to list pools in.
const WITHIN: Duration = Duration::from_secs(30);

/// The pools of both lists. All pools are read, once, if there is a name among them.
///
/// # Errors
/// What is neither a CIDR nor a pool's name; the wrong family. That a CIDR is an enabled pool's is found out later.
pub async fn resolve(
    store: &impl Store,
    v4: &[&str],
    v6: &[&str],
) -> Result<(Vec<Cidr>, Vec<Cidr>), CniError> {
    let named = v4.iter().chain(v6).any(|entry| entry.parse::<Cidr>().is_err());
    let view = if named {
        let set = ReadSet::new().scope(Scope::kind(Kind::IPPool), Depth::Full);
        store.read(&set, WITHIN).await.map_err(CniError::internal)?
    } else {
        View::new()
    };
    let all = |entries: &[&str], family| -> Result<Vec<Cidr>, CniError> {
        entries.iter().map(|entry| one(&view, entry, family)).collect()
    };
    Ok((all(v4, Family::V4)?, all(v6, Family::V6)?))
}

fn one(view: &View, entry: &str, family: Family) -> Result<Cidr, CniError> {
    let cidr: Cidr = match entry.parse() {
        Ok(cidr) => cidr,
        Err(not_a_cidr) => {
            let bad = |reason: &dyn std::fmt::Display| {
                CniError::internal(format!("error parsing pool {}: {reason}", go_quoted(entry)))
            };
            let pool = view.resources(Kind::IPPool).find(|(pool, _)| pool.name() == entry);
            let (pool, _) = pool.ok_or_else(|| bad(&not_a_cidr))?;
            let cidr = pool.text(&["spec", "cidr"]).unwrap_or_default();
            cidr.parse().map_err(|e| bad(&e))?
        }
    };
    if cidr.family() != family {
        let (first, number) = (cidr.first(), family.number());
        return Err(CniError::internal(format!("\"{first}\" isn't a IPv{number} address")));
    }
    Ok(cidr)
}
