//! An IPReservation as the allocator uses it.

use serde_json::Value as Json;

use crate::cidr::{Cidr, parse_addr};
use crate::document::Document;
use crate::excerpt::excerpt;

/// Networks whose addresses are not assigned automatically.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reservation {
    /// The networks.
    pub cidrs: Vec<Cidr>,
    /// Entries that cannot be read: field and reason. They keep nothing back, as in Calico's allocator.
    pub odd: Vec<(String, String)>,
}

impl Reservation {
    /// The reservation in a resource. Its entries are networks or single addresses; validation refuses
    /// anything else on write.
    pub fn of(resource: &Document) -> Reservation {
        let mut reservation = Reservation::default();
        let field = "spec.reservedCIDRs";
        let entries = match resource.field(&["spec", "reservedCIDRs"]) {
            None if resource.body().get("spec").is_some_and(|spec| !spec.is_object() && !spec.is_null()) => {
                reservation.odd.push(("spec".to_string(), "it is not an object".to_string()));
                return reservation;
            }
            None => return reservation,
            Some(Json::Array(entries)) => entries.as_slice(),
            Some(other) => {
                reservation.odd.push((field.to_string(), format!("{} is no list", excerpt(other))));
                // A single network in place of the list counts as a list of one.
                std::slice::from_ref(other)
            }
        };
        for (place, json) in entries.iter().enumerate() {
            let text = json.as_str().map(str::trim);
            match text.and_then(|text| text.parse().ok().or_else(|| parse_addr(text).map(Cidr::single))) {
                Some(cidr) => reservation.cidrs.push(cidr),
                None => {
                    let reason = format!("{} is neither a network nor an address", excerpt(json));
                    reservation.odd.push((format!("{field}[{place}]"), reason));
                }
            }
        }
        reservation
    }
}
