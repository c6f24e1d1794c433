//! The pools that a configuration names, by CIDR or by name.

use std::sync::Arc;

use api::fault::short;
use api::{Cidr, Family, Kind, Pool};
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
            let (pool, _) = pool.ok_or_else(|| bad(&not_a_cidr).with(missing(view, entry)))?;
            let cidr = pool.text(&["spec", "cidr"]).unwrap_or_default();
            cidr.parse().map_err(|e| bad(&e))?
        }
    };
    if cidr.family() != family {
        let (first, number, found) = (cidr.first(), family.number(), cidr.family().number());
        let error = CniError::internal(format!("\"{first}\" isn't a IPv{number} address"));
        return Err(error.with(format!(
            "the pool {} is one of IPv{found}: ask for it in the annotation cni.projectcalico.org/ipv{found}pools, \
             or in ipam.ipv{found}_pools of the network configuration",
            quote(&short(entry, LONGEST_NAME))
        )));
    }
    Ok(cidr)
}

/// The most bytes of a pool's name, and the most pools, that a message shows.
const LONGEST_NAME: usize = 100;
const MOST_NAMES: usize = 5;

/// Says that there is no such pool, and which there are.
fn missing(view: &View, entry: &str) -> String {
    // Pools that are for some namespaces only are nothing to other tenants.
    let is_everybodys =
        |pool: &&Arc<Pool>| pool.is_enabled() && pool.namespace_selector.as_ref().is_ok_and(|it| it.is_all());
    let mut names: Vec<&str> =
        ipam::pools::all(view).filter(is_everybodys).map(|pool| pool.name.as_str()).collect();
    let more = match names.len().checked_sub(MOST_NAMES) {
        None | Some(0) => String::new(),
        Some(more) => format!(" and {more} more"),
    };
    names.sort_by_key(|name| strsim::damerau_levenshtein(name, entry));
    names.truncate(MOST_NAMES);
    let entry = quote(&short(entry, LONGEST_NAME));
    match names.is_empty() {
        true => format!("there is no IPPool {entry}, and none that is for everybody"),
        false => format!("there is no IPPool {entry}; there are {}{more}", names.join(", ")),
    }
}
