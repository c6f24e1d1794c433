//! Addresses that are not assigned automatically, of all IPReservations together.

use std::net::IpAddr;

use api::{BlockCidr, Cidr, Family, Kind, cidr};
use store::View;

/// The reserved addresses as disjoint ranges, so that several reservations that together cover a block are seen to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reserved {
    v4: Vec<(u128, u128)>,
    v6: Vec<(u128, u128)>,
}

impl Reserved {
    /// The union of the networks.
    pub fn of(cidrs: impl IntoIterator<Item = Cidr>) -> Reserved {
        let mut reserved = Reserved::default();
        for cidr in cidrs {
            let range = (cidr::number(cidr.first()), cidr::number(cidr.last()));
            match cidr.family() {
                Family::V4 => reserved.v4.push(range),
                Family::V6 => reserved.v6.push(range),
            }
        }
        merge(&mut reserved.v4);
        merge(&mut reserved.v6);
        reserved
    }

    /// All reservations that a view knows.
    pub fn in_view(view: &View) -> Reserved {
        let reservations = view.resources(Kind::IPReservation).map(|(resource, _)| resource.as_reservation());
        Reserved::of(reservations.flat_map(|reservation| reservation.cidrs.iter().copied()))
    }

    /// Whether nothing is reserved.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Whether an address is reserved.
    pub fn holds(&self, addr: IpAddr) -> bool {
        self.range_of(addr).is_some()
    }

    /// Whether all of a block is reserved.
    pub fn covers(&self, block: BlockCidr) -> bool {
        let last = cidr::number(block.cidr().last());
        self.range_of(block.cidr().first()).is_some_and(|(_, end)| end >= last)
    }

    /// The last address of the reserved range that an address lies in.
    pub fn end_of(&self, addr: IpAddr) -> Option<IpAddr> {
        let (start, end) = self.range_of(addr)?;
        let first = cidr::offset(addr, 0u128.wrapping_sub(cidr::number(addr) - start));
        Some(cidr::offset(first, end - start))
    }

    /// How many addresses of a network are reserved.
    pub fn count_in(&self, network: &Cidr) -> u128 {
        let (first, last) = (cidr::number(network.first()), cidr::number(network.last()));
        self.ranges(network.family())
            .iter()
            .filter(|(start, end)| *start <= last && *end >= first)
            .map(|(start, end)| (*end.min(&last) - *start.max(&first)).saturating_add(1))
            .fold(0, u128::saturating_add)
    }

    /// The disjoint ranges of a family, first and last address as numbers, ascending.
    pub fn ranges(&self, family: Family) -> &[(u128, u128)] {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    fn range_of(&self, addr: IpAddr) -> Option<(u128, u128)> {
        let ranges = self.ranges(Family::of(addr));
        let number = cidr::number(addr);
        let after = ranges.partition_point(|(start, _)| *start <= number);
        ranges[..after].last().copied().filter(|(_, end)| *end >= number)
    }
}

/// Sorts, and joins ranges that touch.
fn merge(ranges: &mut Vec<(u128, u128)>) {
    ranges.sort_unstable();
    let mut merged: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
    for (start, end) in ranges.drain(..) {
        match merged.last_mut() {
            Some((_, last)) if start <= last.saturating_add(1) => *last = end.max(*last),
            _ => merged.push((start, end)),
        }
    }
    *ranges = merged;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserved(texts: &[&str]) -> Reserved {
        Reserved::of(texts.iter().map(|text| text.parse().unwrap()))
    }

    #[test]
    fn neighbours_cover_together() {
        let both = reserved(&["10.0.0.64/26", "10.0.0.0/26"]);
        assert!(both.covers("10.0.0.0/25".parse().unwrap()));
        assert!(!both.covers("10.0.0.0/24".parse().unwrap()));
        assert!(both.holds("10.0.0.127".parse().unwrap()));
        assert!(!both.holds("10.0.0.128".parse().unwrap()));
        assert!(!both.holds("fd00::1".parse().unwrap()));
        assert_eq!(both.end_of("10.0.0.3".parse().unwrap()), Some("10.0.0.127".parse().unwrap()));
    }

    #[test]
    fn counts_in_a_network() {
        let pool: Cidr = "10.0.0.0/24".parse().unwrap();
        for (texts, count) in [
            (&["10.0.0.32/30"][..], 4),
            (&["10.0.0.128/25"], 128),
            (&["10.0.0.5/32"], 1),
            (&["10.0.0.0/25", "10.0.0.5/32", "10.0.0.64/26"], 128),
            (&["0.0.0.0/0"], 256),
            (&["::/0"], 0),
        ] {
            assert_eq!(reserved(texts).count_in(&pool), count, "{texts:?}");
        }
        assert_eq!(reserved(&["::/0"]).count_in(&"::/0".parse().unwrap()), u128::MAX);
    }
}
