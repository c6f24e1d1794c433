use api::{Cidr, Kind, Resource};
use serde_json::json;

use super::*;
use crate::reservations::Reserved;

fn pool(cidr: &str, size: u8) -> Arc<Pool> {
    let document = json!({"metadata": {"name": "p"}, "spec": {"cidr": cidr, "blockSize": size}});
    Resource::from_json(Kind::IPPool, document).unwrap().as_pool().unwrap().clone()
}

fn search(pool: &Pool, host: &str, stored: &[&str], reserved: &[&str]) -> Option<String> {
    let ring = Ring::of(pool, host, 1).unwrap();
    let cidr = |text: &&str| text.parse::<Cidr>().unwrap();
    let taken = Ranges::of(stored.iter().map(|text| reservations::numbers(&cidr(text))));
    let reserved = Reserved::of(reserved.iter().map(cidr));
    first_unclaimed(pool, &ring, &taken, &reserved, |_| false).map(|block| block.to_string())
}

#[test]
fn the_search_wraps_and_jumps() {
    // node1 starts at block 666 of 1024.
    let p = pool("192.168.0.0/16", 26);
    for (stored, reserved, wanted) in [
        (&[][..], &[][..], Some("192.168.166.128/26")),
        (&["192.168.166.128/26"], &[], Some("192.168.166.192/26")),
        (&["192.168.166.190/32"], &[], Some("192.168.166.192/26")),
        (&["192.168.160.0/20"], &[], Some("192.168.176.0/26")),
        (&[], &["192.168.166.128/26"], Some("192.168.166.192/26")),
        (&[], &["192.168.166.128/27"], Some("192.168.166.128/26")),
        (&[], &["192.168.166.128/26", "192.168.166.192/27"], Some("192.168.166.192/26")),
        (&[], &["192.168.128.0/17"], Some("192.168.0.0/26")),
        (&["192.168.0.0/17"], &["192.168.128.0/17"], None),
        (&[], &["0.0.0.0/0"], None),
        (&["192.168.166.128/26"], &["192.168.166.192/26"], Some("192.168.167.0/26")),
    ] {
        assert_eq!(search(&p, "node1", stored, reserved).as_deref(), wanted, "{stored:?} {reserved:?}");
    }
    let whole = pool("::/0", 122);
    assert!(search(&whole, "node1", &[], &["::/1"]).is_some_and(|block| !block.starts_with("::")));
    assert_eq!(search(&whole, "node1", &[], &["::/0"]), None);
    assert!(search(&whole, "node1", &[], &["8000::/1"]).is_some());
}

/// All blocks but one are reserved or taken, and the search finds that one, whichever it is. A pool of 2^74
/// blocks cannot be searched block by block.
#[test]
fn one_block_left_in_a_pool_that_cannot_be_walked() {
    let p = pool("fd00::/48", 122);
    let mut left: Vec<Cidr> = Vec::new();
    // The whole pool except fd00::40/122, as the networks around it.
    for prefix in 49..=122 {
        let bit = 1u128 << (128 - prefix);
        let hole = cidr::number("fd00::40".parse().unwrap());
        left.push(Cidr::of(cidr::offset("::".parse().unwrap(), hole ^ bit), prefix).unwrap());
    }
    let ring = Ring::of(&p, "node1", 1).unwrap();
    let reserved = Reserved::of(left.iter().copied());
    let none = Ranges::default();
    let found = first_unclaimed(&p, &ring, &none, &reserved, |_| false);
    assert_eq!(found, Some("fd00::40/122".parse().unwrap()));
    let taken = Ranges::of(left.iter().map(reservations::numbers));
    let found = first_unclaimed(&p, &ring, &taken, &Reserved::default(), |_| false);
    assert_eq!(found, Some("fd00::40/122".parse().unwrap()));
}
