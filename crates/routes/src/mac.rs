//! Hardware addresses of tunnel devices.

use std::fmt;

use api::Family;
use sha1::{Digest, Sha1};

/// A hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The address of a node's VXLAN device where the Node names none: every node computes it alike, so it
    /// must be Calico's bit by bit (`felix/dataplane/linux/vxlan_mgr.go`).
    pub fn derived(node: &str, family: Family) -> Mac {
        let suffix = if family == Family::V6 { "-v6" } else { "" };
        let digest = Sha1::new().chain_update(node).chain_update(suffix).finalize();
        Mac([b'f', digest[0], digest[1], digest[2], digest[3], digest[4]])
    }

    /// Reads `66:40:b3:ea:b6:3f`, or the same with hyphens.
    pub fn parse(text: &str) -> Option<Mac> {
        api::mac::parse(text).map(Mac)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen on a node of Calico's.
    #[test]
    fn derived_addresses_are_those_of_calico() {
        assert_eq!(Mac::derived("n1", Family::V4).to_string(), "66:40:b3:ea:b6:3f");
        assert_eq!(Mac::derived("n2", Family::V4).to_string(), "66:40:24:34:76:fc");
        assert_ne!(Mac::derived("n1", Family::V6), Mac::derived("n1", Family::V4));
    }

    #[test]
    fn texts_are_read_back() {
        let mac = Mac::derived("n1", Family::V4);
        assert_eq!(Mac::parse(&mac.to_string()), Some(mac));
        assert_eq!(Mac::parse(""), None);
    }
}
