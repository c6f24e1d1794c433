//! The kernel's messages.

use super::Target;
use crate::input::{bounded, halves};

pub(super) const TARGETS: &[Target] = &[
    Target { name: "netlink", what: "messages about interfaces, addresses and routes", run: routes },
    Target {
        name: "netlink-changes",
        what: "two datagrams of changes, with a line of four dashes between them",
        run: changes,
    },
    Target { name: "netfilter", what: "messages of the packet filter", run: filter },
    Target { name: "netlink-refusal", what: "the payload of an error", run: refusal },
];

fn routes(bytes: &[u8]) {
    let heard = host::door::answers(bytes);
    let count = heard.interfaces.len() + heard.addresses.len() + heard.routes.len() + heard.entries;
    bounded("what was heard", count, bytes.len(), 1);
    let size: usize = heard.refusals.iter().map(String::len).sum();
    bounded("the refusals", size, bytes.len(), 16);
}

fn changes(bytes: &[u8]) {
    let (first, second) = halves(bytes);
    // What cannot be read is told.
    let changed = host::door::changes(first, second);
    let size = first.len() + second.len();
    assert!(changed != host::Changed::default() || size > 16 || size == 0);
}

fn filter(bytes: &[u8]) {
    let heard = filter::door::datagram(bytes);
    bounded("the attributes", heard.size.0 + heard.size.1, bytes.len(), 2);
    bounded("the sources", heard.sources.len(), bytes.len(), 1);
}

fn refusal(bytes: &[u8]) {
    bounded("the words", outside::netlink::explanation(bytes).map_or(0, str::len), bytes.len(), 1);
}
