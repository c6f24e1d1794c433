//! Addresses, networks, times and names, as all programs read them.

use api::wep_name::Identifiers;
use api::{BlockCidr, Cidr, cidr, time};
use routes::Mac;

use super::Target;
use crate::input::{text, told};

pub(super) const TARGETS: &[Target] = &[
    Target { name: "address", what: "an address, a network, a block, or a hardware address", run: address },
    Target { name: "time", what: "a time of RFC 3339", run: a_time },
    Target { name: "endpoint-name", what: "the name of a WorkloadEndpoint", run: endpoint_name },
];

fn address(bytes: &[u8]) {
    let text = text(bytes);
    if let Some(addr) = cidr::parse_addr_of(&text) {
        assert_eq!(cidr::parse_addr(&addr.to_string()), Some(addr));
    }
    match Cidr::parse_unmasked(&text) {
        Ok((net, addr)) => {
            assert!(net.contains(addr) && net.covers(&Cidr::single(addr)) && net.size() >= 1);
            assert_eq!(net.to_string().parse(), Ok(net));
        }
        Err(error) => told(error, text.len()),
    }
    for block in [text.parse::<BlockCidr>().ok(), BlockCidr::from_key_text(&text)].into_iter().flatten() {
        assert_eq!(BlockCidr::from_key_text(&block.key_text()), Some(block));
        for ordinal in [0, block.size() / 2, block.size() - 1] {
            let addr = block.addr(ordinal).unwrap_or_else(|| panic!("{block} has no ordinal {ordinal}"));
            assert_eq!(block.ordinal(addr), Some(ordinal));
        }
        assert_eq!(block.addr(block.size()), None);
    }
    if let Some(block) = BlockCidr::from_key_text(&text) {
        assert_eq!(block.key_text(), text, "a block has one key");
    }
    let mac = Mac::parse(&text);
    assert!(mac.is_none_or(|mac| Mac::parse(&mac.to_string()) == Some(mac)));
    assert_eq!(mac.is_some(), calico::door::parse_mac(&text).is_ok());
}

fn a_time(bytes: &[u8]) {
    let text = text(bytes);
    match time::canonical(&text) {
        Ok(written) => assert_eq!(time::canonical(&written), Ok(written.clone())),
        Err(error) => told(error, text.len()),
    }
    if let Some(found) = time::parse_rfc3339(&text) {
        time::go_text(found);
        time::sequence(found);
    }
}

fn endpoint_name(bytes: &[u8]) {
    let text = text(bytes);
    match Identifiers::parse(&text) {
        Ok(found) => {
            // Only a whole name is written again; an empty part makes the start of one.
            if let Ok(name) = found.name() {
                assert_eq!(Identifiers::parse(&name).ok(), Some(found.clone()), "{name}");
            }
            let _ = found.prefix();
        }
        Err(error) => told(error, text.len()),
    }
}
