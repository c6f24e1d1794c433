//! What the programs of the packet filter write.

use filter::door;

use super::Target;
use crate::input::{bounded, text};

pub(super) const TARGETS: &[Target] = &[
    Target { name: "nft-listing", what: "a listing of nft", run: listing },
    Target { name: "nft-refusal", what: "why nft refuses", run: refusal },
    Target { name: "iptables-save", what: "what iptables-save writes", run: saved },
    Target { name: "tcp-sockets", what: "the kernel's list of TCP sockets", run: sockets },
];

fn listing(bytes: &[u8]) {
    let text = text(bytes);
    let listing = door::listing(&text);
    let size: usize = listing.parts.iter().map(|(name, lines)| name.len() + lines).sum();
    bounded("the parts", size, text.len(), 2);
    // These names are handed to nft, which takes them for a part of its language.
    let is_name = |c: char| c.is_ascii_alphanumeric() || " _.-/".contains(c);
    assert!(listing.forwarding.iter().all(|name| name.chars().all(is_name)), "{:?}", listing.forwarding);
    let size: usize = listing.forwarding.iter().map(String::len).sum();
    bounded("the names of chains", size, text.len() * text.lines().count(), 1);
}

fn refusal(bytes: &[u8]) {
    let text = text(bytes);
    let (_, reason) = door::refusal(&text);
    bounded("the reason", reason.len(), text.len(), 10);
    assert!(reason.lines().count() <= 1, "{reason}");
}

fn saved(bytes: &[u8]) {
    let text = text(bytes);
    let (count, removal) = door::removal(&text);
    bounded("the removal", removal.len() + count, text.len(), 4);
    // It removes, and adds nothing.
    let is_removal = |line: &str| {
        ["-D ", "-F cali-", "-X cali-", "*"].iter().any(|start| line.starts_with(start)) || line == "COMMIT"
    };
    assert!(removal.lines().all(is_removal), "{removal}");
}

fn sockets(bytes: &[u8]) {
    bounded("the ports", door::listening(&text(bytes)).len(), bytes.len(), 1);
}
