//! Addresses and networks: families, CIDRs, blocks and ordinals.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both families, in the order in which a request is answered.
    pub const BOTH: [Family; 2] = [Family::V4, Family::V6];

    /// The family of an address.
    pub fn of(addr: IpAddr) -> Family {
        if addr.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    /// Bits of an address: 32 or 128.
    pub fn bits(self) -> u8 {
        match self {
            Family::V4 => 32,
            Family::V6 => 128,
        }
    }

    /// The digit that labels and messages use: 4 or 6.
    pub fn number(self) -> u8 {
        match self {
            Family::V4 => 4,
            Family::V6 => 6,
        }
    }

    /// The segment of a stored key: `ipv4` or `ipv6`.
    pub fn segment(self) -> &'static str {
        match self {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        })
    }
}

/// Why a text is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid CIDR address: {0}")]
pub struct CidrError(pub String);

/// A network whose host bits are zero. Prints as `10.0.0.0/8`, IPv6 as RFC 5952 wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr(IpNet);

impl Cidr {
    /// The network of `prefix` bits that holds `addr`; `None` when the family has no such prefix.
    pub fn of(addr: IpAddr, prefix: u8) -> Option<Cidr> {
        IpNet::new(addr, prefix).ok().map(|net| Cidr(net.trunc()))
    }

    /// The network of one address.
    pub fn single(addr: IpAddr) -> Cidr {
        Cidr(IpNet::from(addr))
    }

    /// Reads `address/prefix` and clears host bits, as Go's `net.ParseCIDR` does: a prefix may have leading
    /// zeros, an IPv4-mapped IPv6 network of 96 bits and more is the IPv4 network. Also tells the address as
    /// typed.
    pub fn parse_unmasked(text: &str) -> Result<(Cidr, IpAddr), CidrError> {
        let wrong = || CidrError(text.to_string());
        let (addr, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let addr: IpAddr = addr.parse().map_err(|_| wrong())?;
        if prefix.is_empty() || !prefix.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
        let (addr, prefix) = match addr {
            IpAddr::V6(v6) => match (v6.to_ipv4_mapped(), prefix.checked_sub(96)) {
                (Some(v4), Some(prefix)) => (IpAddr::V4(v4), prefix),
                _ => (addr, prefix),
            },
            v4 => (v4, prefix),
        };
        Cidr::of(addr, prefix).map(|cidr| (cidr, addr)).ok_or_else(wrong)
    }

    /// The family.
    pub fn family(&self) -> Family {
        Family::of(self.first())
    }

    /// The first address.
    pub fn first(&self) -> IpAddr {
        self.0.network()
    }

    /// The last address.
    pub fn last(&self) -> IpAddr {
        self.0.broadcast()
    }

    /// The prefix length in bits.
    pub fn prefix(&self) -> u8 {
        self.0.prefix_len()
    }

    /// Number of addresses; saturates for `::/0`.
    pub fn size(&self) -> u128 {
        1u128.checked_shl(u32::from(self.family().bits() - self.prefix())).unwrap_or(u128::MAX)
    }

    /// Whether the address lies inside.
    pub fn contains(&self, addr: IpAddr) -> bool {
        self.0.contains(&addr)
    }

    /// Whether all of `other` lies inside.
    pub fn covers(&self, other: &Cidr) -> bool {
        self.0.contains(&other.0)
    }

    /// Whether any address lies in both.
    pub fn overlaps(&self, other: &Cidr) -> bool {
        self.covers(other) || other.covers(self)
    }
}

impl FromStr for Cidr {
    type Err = CidrError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Cidr::parse_unmasked(text).map(|(cidr, _)| cidr)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Reads an address as Go's `net.ParseIP` does: no zone, no leading zeros in IPv4. An IPv4-mapped IPv6
/// address is the IPv4 address, whoever wrote it: two spellings of one address must never be two addresses.
pub fn parse_addr(text: &str) -> Option<IpAddr> {
    text.parse().ok().map(canonical_addr)
}

/// The address in a text, which may have the length of a network's prefix behind it: `10.0.0.1/26`.
pub fn parse_addr_of(text: &str) -> Option<IpAddr> {
    parse_addr(text).or_else(|| Cidr::parse_unmasked(text).ok().map(|(_, addr)| canonical_addr(addr)))
}

/// The address that Go prints for `addr`: an IPv4-mapped IPv6 address is the IPv4 address.
pub fn canonical_addr(addr: IpAddr) -> IpAddr {
    addr.to_canonical()
}

/// A block's network: 2^(32 - prefix) or 2^(128 - prefix) addresses, at most 65,536. One record holds the
/// allocations of all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockCidr(Cidr);

impl BlockCidr {
    /// The largest number of host bits that a stored block is read with.
    pub const MAX_HOST_BITS: u8 = 16;

    /// The block that comes before all others in the order of this type.
    pub const LEAST: BlockCidr = BlockCidr(Cidr(IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 16))));

    /// The network as a block; `None` when it is larger than any block may be.
    pub fn new(cidr: Cidr) -> Option<BlockCidr> {
        (cidr.family().bits() - cidr.prefix() <= Self::MAX_HOST_BITS).then_some(BlockCidr(cidr))
    }

    /// The block of `prefix` bits that holds `addr`.
    pub fn holding(addr: IpAddr, prefix: u8) -> Option<BlockCidr> {
        Cidr::of(addr, prefix).and_then(BlockCidr::new)
    }

    /// The network.
    pub fn cidr(&self) -> Cidr {
        self.0
    }

    /// The family.
    pub fn family(&self) -> Family {
        self.0.family()
    }

    /// Number of addresses, 1 to 65,536.
    pub fn size(&self) -> u32 {
        1 << (self.family().bits() - self.0.prefix())
    }

    /// The address of an ordinal, counted from 0; `None` past the end.
    pub fn addr(&self, ordinal: u32) -> Option<IpAddr> {
        (ordinal < self.size()).then(|| offset(self.0.first(), u128::from(ordinal)))
    }

    /// The ordinal of an address; `None` outside of the block.
    pub fn ordinal(&self, addr: IpAddr) -> Option<u32> {
        self.0.contains(addr).then(|| (number(addr) - number(self.0.first())) as u32)
    }

    /// The spelling in stored keys: `10.0.0.0-26`.
    pub fn key_text(&self) -> String {
        format!("{}-{}", self.0.first(), self.0.prefix())
    }

    /// Reads [`BlockCidr::key_text`]. Any other spelling of a block (`10.0.0.5-26`, `10.0.0.0-026`) is none:
    /// its key would be a second record of the same block, which no write reaches.
    pub fn from_key_text(text: &str) -> Option<BlockCidr> {
        let (addr, prefix) = text.rsplit_once('-')?;
        let cidr = Cidr::of(parse_addr(addr)?, prefix.parse().ok()?)?;
        BlockCidr::new(cidr).filter(|block| block.key_text() == text)
    }
}

impl FromStr for BlockCidr {
    type Err = CidrError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        BlockCidr::new(text.parse()?).ok_or_else(|| CidrError(text.to_string()))
    }
}

impl fmt::Display for BlockCidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An address as a number.
pub fn number(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// The address `by` after `addr`, wrapping at the end of its family.
pub fn offset(addr: IpAddr, by: u128) -> IpAddr {
    match addr {
        IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from(u32::from(v4).wrapping_add(by as u32))),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6).wrapping_add(by))),
    }
}

impl From<Cidr> for IpNet {
    fn from(cidr: Cidr) -> IpNet {
        cidr.0
    }
}

impl From<IpNet> for Cidr {
    fn from(net: IpNet) -> Cidr {
        Cidr(net.trunc())
    }
}

impl From<Ipv4Net> for Cidr {
    fn from(net: Ipv4Net) -> Cidr {
        Cidr(IpNet::V4(net.trunc()))
    }
}

impl From<Ipv6Net> for Cidr {
    fn from(net: Ipv6Net) -> Cidr {
        Cidr(IpNet::V6(net.trunc()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_and_prints_as_go_does() {
        for (text, printed) in [
            ("192.168.196.0/18", "192.168.192.0/18"),
            ("10.0.0.0/016", "10.0.0.0/16"),
            ("::ffff:10.0.0.0/112", "10.0.0.0/16"),
            ("fd00:10:244:0:0:0:0:0/64", "fd00:10:244::/64"),
        ] {
            assert_eq!(text.parse::<Cidr>().unwrap().to_string(), printed);
        }
        for text in
            ["10.0.0.0", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "10.0.0.0/+8", "010.0.0.0/8", "::/129"]
        {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address() {
        let plain: IpAddr = "10.0.0.7".parse().unwrap();
        for text in ["10.0.0.7", "::ffff:10.0.0.7", "::ffff:a00:7", "0:0:0:0:0:FFFF:10.0.0.7"] {
            assert_eq!(parse_addr(text), Some(plain), "{text}");
        }
        for text in ["10.0.0.7/8", "::ffff:10.0.0.7/128", "::ffff:10.0.0.7/64"] {
            assert_eq!(parse_addr_of(text), Some(plain), "{text}");
        }
        assert_eq!(parse_addr("::10.0.0.7"), "::a00:7".parse().ok(), "compatible is not mapped");
        for text in ["10.0.0.07", "fe80::1%eth0", "10.0.0.7/32", ""] {
            assert_eq!(parse_addr(text), None, "{text}");
        }
        for (text, printed) in [
            ("::ffff:10.0.0.7/128", "10.0.0.7/32"),
            ("::ffff:10.0.0.7/96", "0.0.0.0/0"),
            ("::ffff:10.0.0.7/95", "::fffe:0:0/95"),
        ] {
            assert_eq!(text.parse::<Cidr>().unwrap().to_string(), printed);
        }
    }

    #[test]
    fn ordinals_and_addresses_are_inverse() {
        let block: BlockCidr = "fd00:10:244::c0/122".parse().unwrap();
        assert_eq!(block.size(), 64);
        for ordinal in 0..64 {
            assert_eq!(block.ordinal(block.addr(ordinal).unwrap()), Some(ordinal));
        }
        assert_eq!(block.addr(64), None);
        assert_eq!(block.ordinal("fd00:10:244::1:0".parse().unwrap()), None);
        assert_eq!(block.key_text(), "fd00:10:244::c0-122");
        assert_eq!(BlockCidr::from_key_text(&block.key_text()), Some(block));
        for other in ["10.0.0.5-26", "10.0.0.0-026", "10.0.0.0-+26", "::ffff:a00:0-26", "FD00::-122"] {
            assert_eq!(BlockCidr::from_key_text(other), None, "{other}");
        }
    }
}
