//! Sets of addresses as lists of networks.

use api::Cidr;
use ipnet::IpNet;

/// The fewest networks that hold exactly the addresses of these.
pub(crate) fn fewest(networks: impl IntoIterator<Item = Cidr>) -> Vec<Cidr> {
    let networks: Vec<IpNet> = networks.into_iter().map(IpNet::from).collect();
    let mut fewest: Vec<Cidr> = IpNet::aggregate(&networks).into_iter().map(Cidr::from).collect();
    fewest.sort();
    fewest
}

/// The fewest networks that hold exactly the addresses of `network` that are in none of `holes`.
pub(crate) fn without(network: Cidr, holes: &[Cidr]) -> Vec<Cidr> {
    if holes.iter().any(|hole| hole.covers(&network)) {
        return Vec::new();
    }
    let inside: Vec<Cidr> = holes.iter().copied().filter(|hole| network.covers(hole)).collect();
    if inside.is_empty() {
        return vec![network];
    }
    halves(network).into_iter().flatten().flat_map(|half| without(half, &inside)).collect()
}

fn halves(network: Cidr) -> [Option<Cidr>; 2] {
    let prefix = network.prefix().saturating_add(1);
    [Cidr::of(network.first(), prefix), Cidr::of(network.last(), prefix)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidrs(text: &str) -> Vec<Cidr> {
        text.split_whitespace().map(|cidr| cidr.parse().unwrap()).collect()
    }

    #[test]
    fn neighbours_are_merged_and_nothing_else_is() {
        for (networks, merged) in [
            ("", ""),
            ("10.0.0.0/26 10.0.0.64/26", "10.0.0.0/25"),
            ("10.0.0.64/26 10.0.0.128/26", "10.0.0.64/26 10.0.0.128/26"),
            ("10.0.0.0/24 10.0.0.64/26", "10.0.0.0/24"),
            ("fd00::/65 10.0.0.0/32 fd00:0:0:0:8000::/65", "10.0.0.0/32 fd00::/64"),
        ] {
            assert_eq!(fewest(cidrs(networks)), cidrs(merged), "{networks}");
        }
    }

    #[test]
    fn holes_are_left_out() {
        for (network, holes, rest) in [
            ("10.0.0.0/30", "", "10.0.0.0/30"),
            ("10.0.0.0/30", "10.0.0.1/32", "10.0.0.0/32 10.0.0.2/31"),
            ("10.0.0.0/30", "10.0.0.0/24", ""),
            ("10.0.0.1/32", "10.0.0.1/32", ""),
            ("10.0.0.0/30", "10.0.1.1/32 fd00::/64", "10.0.0.0/30"),
        ] {
            assert_eq!(without(cidrs(network)[0], &cidrs(holes)), cidrs(rest), "{network} without {holes}");
        }
    }
}
