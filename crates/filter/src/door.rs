//! The readers of what the kernel, `nft` and `iptables` say, as plain functions of bytes, for tests of other
//! crates.

use std::net::IpAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::changes::{Touched, touched};
use crate::connections::{ORIGINAL, REPLY, entry, source};
use crate::felix;
use crate::forward::{Chain, forwarding, of_pods};
use crate::message::{attributes, messages};
use crate::nft::{line_of, names, reason};
use crate::text::parts;

/// What `nft` lists, by each of the readers of its listings.
#[derive(Debug)]
pub struct Listing {
    /// The kinds and names of sets and chains, and how many bytes their lines have.
    pub parts: Vec<(String, usize)>,
    /// The chains that packets pass on their way through the host.
    pub forwarding: Vec<String>,
    /// Whether the listing is that of a chain that drops.
    pub is_dropping: bool,
    /// How many of its rules are ours.
    pub ours: usize,
}

/// Reads a listing.
pub fn listing(text: &str) -> Listing {
    let chain = Chain::of(text);
    assert!(chain.end().is_none() || chain.is_dropping());
    let parts: Vec<_> = parts(text).map(|(name, lines)| (name.to_string(), lines.len())).collect();
    assert!(names(text).len() <= parts.len());
    let (forwarding, is_dropping) = (forwarding(text), chain.is_dropping());
    Listing { parts, forwarding, is_dropping, ours: chain.ours(&of_pods()).len() }
}

/// Reads why `nft` refused. Gives the line that it speaks of, and the reason in one line.
pub fn refusal(said: &str) -> (Option<usize>, String) {
    (line_of(said), reason(said, ExitStatus::from_raw(256)))
}

/// Reads what `iptables-save` wrote. Gives how many chains of Felix there are, and the text that removes
/// them.
pub fn removal(saved: &str) -> (usize, String) {
    felix::removal(saved)
}

/// Reads the kernel's list of TCP sockets. Gives the ports at which somebody listens.
pub fn listening(list: &str) -> Vec<u16> {
    felix::listening(list)
}

/// What messages of the packet filter say.
#[derive(Debug)]
pub struct Heard {
    /// What changed.
    pub touched: Touched,
    /// The sources of connections.
    pub sources: Vec<IpAddr>,
    /// How many messages there are, and how many bytes their attributes have.
    pub size: (usize, usize),
}

/// Reads a datagram of the packet filter.
pub fn datagram(bytes: &[u8]) -> Heard {
    let mut heard = Heard { touched: touched(bytes), sources: Vec::new(), size: (0, 0) };
    for message in messages(bytes) {
        // The number must be one that can be negated.
        assert_ne!(message.error(), i32::MIN);
        heard.size.0 += 1;
        for (_, value) in message.attributes() {
            heard.size.1 += value.len() + attributes(value).map(|(_, inner)| inner.len()).sum::<usize>();
        }
        heard.sources.extend([ORIGINAL, REPLY].into_iter().filter_map(|way| source(&message, way)));
        entry(&message);
    }
    heard
}
