//! The pools that a configuration names, by CIDR or by name.

use api::{Cidr, Family, Kind};
use store::View;

use cni::error::CniError;
use golang::strconv::quote;

/// Whether a list contains the name of a pool. If so, the pools have to be read before [`resolve`].
pub fn are_named(entries: &[&str]) -> bool {
    entries.iter().any(|entry| entry.parse::<Cidr>().is_err())
}

/// The networks of the pools in a list.
///
/// # Errors
/// For an entry that is neither a CIDR nor a pool's name, and for a pool of the wrong family. Whether a CIDR
/// is that of an enabled pool is checked later.
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
