//! The pools that a configuration asks for: CIDRs, or names of pools.

use api::{Cidr, Family, Kind};
use store::View;

use cni::error::CniError;
use golang::strconv::quote;

/// Whether there is a name of a pool in a list: then the pools must have been read.
pub fn are_named(entries: &[&str]) -> bool {
    entries.iter().any(|entry| entry.parse::<Cidr>().is_err())
}

/// The pools of a list.
///
/// # Errors
/// What is neither a CIDR nor a pool's name; the wrong family. That a CIDR is an enabled pool's is found out
/// later.
pub fn resolve(view: &View, entries: &[&str], family: Family) -> Result<Vec<Cidr>, CniError> {
    entries.iter().map(|entry| one(view, entry, family)).collect()
}

fn one(view: &View, entry: &str, family: Family) -> Result<Cidr, CniError> {
    let cidr: Cidr = match entry.parse() {
        Ok(cidr) => cidr,
        Err(not_a_cidr) => {
            let bad = |reason: &dyn std::fmt::Display| {
                CniError::internal(format!("error parsing pool {}: {reason}", quote(entry)))
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
