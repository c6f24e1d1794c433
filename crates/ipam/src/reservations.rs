//! The addresses that IPReservations exclude from automatic assignment.

use std::net::IpAddr;

use api::{BlockCidr, Cidr, Family, Kind, cidr};
use store::View;

use crate::ranges::Ranges;

/// The reserved addresses of all IPReservations together. They are kept as disjoint ranges, so that several
/// reservations that cover a block only together are recognised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reserved {
    v4: Ranges,
    v6: Ranges,
}

impl Reserved {
    /// The addresses of all these networks.
    pub fn of(cidrs: impl IntoIterator<Item = Cidr>) -> Reserved {
        let (v4, v6): (Vec<Cidr>, Vec<Cidr>) =
            cidrs.into_iter().partition(|cidr| cidr.family() == Family::V4);
        Reserved { v4: Ranges::of(v4.iter().map(numbers)), v6: Ranges::of(v6.iter().map(numbers)) }
    }

    /// The addresses of all IPReservations of a view.
    pub fn in_view(view: &View) -> Reserved {
        let reservations = view.resources(Kind::IPReservation).map(|(resource, _)| resource.as_reservation());
        Reserved::of(reservations.flat_map(|reservation| reservation.cidrs.iter().copied()))
    }

    /// Whether no address is reserved.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Whether an address is reserved.
    pub fn holds(&self, addr: IpAddr) -> bool {
        let number = cidr::number(addr);
        self.ranges(Family::of(addr)).meeting(number, number).is_some()
    }

    /// Whether all addresses of a block are reserved.
    pub fn covers(&self, block: BlockCidr) -> bool {
        self.covered_to(block).is_some()
    }

    /// The last address, as a number, of the reserved range that covers a block.
    pub(crate) fn covered_to(&self, block: BlockCidr) -> Option<u128> {
        let (first, last) = numbers(&block.cidr());
        self.ranges(block.family()).covering(first, last).map(|(_, end)| end)
    }

    /// How many addresses of a network are reserved.
    pub fn count_in(&self, network: &Cidr) -> u128 {
        let (first, last) = numbers(network);
        self.ranges(network.family())
            .iter()
            .filter(|(start, end)| *start <= last && *end >= first)
            .map(|(start, end)| (end.min(last) - start.max(first)).saturating_add(1))
            .fold(0, u128::saturating_add)
    }

    fn ranges(&self, family: Family) -> &Ranges {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }
}

/// The first and the last address of a network as numbers.
pub(crate) fn numbers(network: &Cidr) -> (u128, u128) {
    (cidr::number(network.first()), cidr::number(network.last()))
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
        let end = cidr::number("10.0.0.127".parse().unwrap());
        assert_eq!(both.covered_to("10.0.0.0/30".parse().unwrap()), Some(end));
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
