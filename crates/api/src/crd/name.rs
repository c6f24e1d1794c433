//! The names of objects, and the labels by which affinities are found.

use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};
use sha3::Sha3_256;

use super::Collection;
use crate::cidr::{BlockCidr, Family};
use crate::key::{HandleId, Key, Owner};

/// The longest object name that the API server accepts.
const LONGEST: usize = 253;

pub(super) const LABEL_TYPE: &str = "projectcalico.org/affinity-type";
pub(super) const LABEL_HASH: &str = "projectcalico.org/hostname-hash";
pub(super) const LABEL_VERSION: &str = "projectcalico.org/ip-version";

/// The name of the object that holds the record of a key (`libcalico-go/lib/names`,
/// `backend/k8s/resources/ipam_*.go`). Names of handles lose the case, names of affinities the owner's type;
/// readers take both from the object's `spec`.
///
/// The API server may refuse the name; see [`why_no_name`].
pub fn object_name(key: &Key) -> String {
    match key {
        Key::Resource { name, .. } | Key::IpamHost(name) => name.clone(),
        Key::IpamConfig => "default".to_string(),
        Key::Block(block) => cidr_name(*block),
        Key::Affinity { owner, block } => affinity_name(owner.name(), &cidr_name(*block)),
        Key::Handle(id) => id.as_str().to_lowercase(),
    }
}

/// A block's network in an object name: `10-0-0-0-26`, `fd80-24e2-f998-72d6---122`.
fn cidr_name(block: BlockCidr) -> String {
    block.to_string().replace(['.', ':', '/'], "-")
}

/// The longest name of a block's object, in bytes.
const LONGEST_OF_BLOCK: usize = "ffff-ffff-ffff-ffff-ffff-ffff-ffff-ffff-128".len();

/// The block whose object has that name; `None` if no block's object has.
pub fn block_of_name(name: &str) -> Option<BlockCidr> {
    // An affinity's name is asked about at each of its dashes, and is not to be copied at each.
    if name.len() > LONGEST_OF_BLOCK {
        return None;
    }
    let (address, prefix) = name.rsplit_once('-')?;
    let read =
        |separator: &str| format!("{}/{prefix}", address.replace('-', separator)).parse::<BlockCidr>().ok();
    // At most one of the two succeeds: an IPv6 address has eight groups, or an empty one.
    read(".").or_else(|| read(":")).filter(|block| cidr_name(*block) == name)
}

/// The key of the record whose object has that name, as far as the name tells. It does not tell the case of a
/// handle, the type of an owner, or the end of a long owner's name.
pub fn key_of_name(collection: Collection, name: &str) -> Option<Key> {
    match collection {
        Collection::Blocks => block_of_name(name).map(Key::Block),
        Collection::Handles => HandleId::new(name).map(Key::Handle),
        Collection::IpamConfig => (name == "default").then_some(Key::IpamConfig),
        Collection::Resources(kind) => Some(Key::global(kind, name)),
        Collection::Affinities => name.match_indices('-').find_map(|(at, _)| {
            let block = block_of_name(&name[at + 1..])?;
            Some(Key::Affinity { owner: Owner::Host(name[..at].to_string()), block })
        }),
    }
}

/// The name of an affinity's object, such as `node1-10-0-0-0-26`. If it were too long, the host's name is
/// cut, and a hash of host and network is appended.
fn affinity_name(host: &str, cidr: &str) -> String {
    let name = format!("{host}-{cidr}");
    if name.len() < LONGEST {
        return name;
    }
    let digest = Sha256::digest(format!("{host}+{cidr}"));
    let hex: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let kept: String = host.chars().take((LONGEST - 1).saturating_sub(cidr.len() + 13)).collect();
    format!("{kept}-{cidr}-{}", &hex[..11])
}

/// Why the API server refuses objects with that name; `None` if it accepts them.
pub fn why_no_name(name: &str) -> Option<&'static str> {
    if name.len() > LONGEST {
        return Some("a name has at most 253 characters");
    }
    let is_part = |part: &str| {
        let bytes = part.as_bytes();
        let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
        matches!((bytes.first(), bytes.last()), (Some(first), Some(last)) if *first != b'-' && *last != b'-')
            && bytes.iter().all(inner)
    };
    (!name.split('.').all(is_part)).then_some(
        "a name consists of lower-case letters, digits, `-` and `.`, and begins and ends, as does each part between dots, with a letter or digit",
    )
}

/// The value of the label that stands for a host: BASE32 of the SHA3-256 of its name, since the name may be
/// too long for a label.
pub fn host_hash(host: &str) -> String {
    BASE32_NOPAD.encode(&Sha3_256::digest(host))
}

fn version(family: Family) -> &'static str {
    match family {
        Family::V4 => "4",
        Family::V6 => "6",
    }
}

/// The labels of an affinity, in the order of their names.
pub(super) fn affinity_labels(owner: &Owner, block: BlockCidr) -> [(&'static str, String); 3] {
    [
        (LABEL_TYPE, owner.affinity_type().to_string()),
        (LABEL_HASH, host_hash(owner.name())),
        (LABEL_VERSION, version(block.family()).to_string()),
    ]
}

/// The label selector that finds the affinities of an owner or of all owners, and of a family or of both;
/// `None` if no labels are to be compared.
pub fn affinity_selector(owner: Option<&Owner>, family: Option<Family>) -> Option<String> {
    let mut terms = Vec::new();
    if let Some(owner) = owner {
        terms.push(format!("{LABEL_TYPE}={}", owner.affinity_type()));
        terms.push(format!("{LABEL_HASH}={}", host_hash(owner.name())));
        // Without an owner no label selects, as records of old releases have none; the reader sorts out the
        // family.
        terms.extend(family.map(|family| format!("{LABEL_VERSION}={}", version(family))));
    }
    (!terms.is_empty()).then(|| terms.join(","))
}

/// The label selector that finds the affinities that old releases wrote, without labels.
pub fn unlabelled_affinity_selector() -> String {
    format!("!{LABEL_TYPE}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn affinity(host: &str, block: &str) -> Key {
        Key::Affinity { owner: Owner::Host(host.into()), block: block.parse().unwrap() }
    }

    #[test]
    fn names() {
        for (key, name) in [
            (Key::Block("10.0.0.0/26".parse().unwrap()), "10-0-0-0-26"),
            (Key::Block("fd80:24e2:f998:72d6::/122".parse().unwrap()), "fd80-24e2-f998-72d6---122"),
            (affinity("node1", "10.0.0.0/26"), "node1-10-0-0-0-26"),
            (Key::Handle(HandleId::new("Net.ABC").unwrap()), "net.abc"),
            (Key::IpamConfig, "default"),
        ] {
            assert_eq!(object_name(&key), name);
            assert_eq!(why_no_name(name), None);
        }
    }

    #[test]
    fn names_of_blocks_are_read() {
        for text in [
            "10.0.0.0/26",
            "255.255.255.255/32",
            "fd80:24e2:f998:72d6::/122",
            "::/122",
            "1:2:3:4:5:6:7:8/128",
        ] {
            let block: BlockCidr = text.parse().unwrap();
            assert_eq!(block_of_name(&cidr_name(block)), Some(block), "{text}");
        }
        for name in [
            "",
            "x",
            "10-0-0-0",
            "10-0-0-1-26",
            "010-0-0-0-26",
            "10-0-0-0-26-",
            "default",
            "1-2-3-4-5-6-7-0-129",
        ] {
            assert_eq!(block_of_name(name), None, "{name}");
        }
        let longest: BlockCidr = "fff0:fff1:fff2:fff3:fff4:fff5:fff6:fff7/128".parse().unwrap();
        assert_eq!(cidr_name(longest).len(), LONGEST_OF_BLOCK);
        assert_eq!(block_of_name(&cidr_name(longest)), Some(longest));
        // It takes no time for each pair of dashes.
        assert_eq!(key_of_name(Collection::Affinities, &"-".repeat(1_000_000)), None);
    }

    #[test]
    fn a_long_host_is_cut() {
        let host = "long--hostna".repeat(21);
        let name = object_name(&affinity(&host, "10.0.0.0/26"));
        assert_eq!(name.len(), 252);
        assert!(name.ends_with("-10-0-0-0-26-fb0ffb1c45a"), "{name}");
        // A name one character below the limit is not cut.
        let host = "h".repeat(252 - "-10-0-0-0-26".len());
        assert_eq!(object_name(&affinity(&host, "10.0.0.0/26")), format!("{host}-10-0-0-0-26"));
    }

    #[test]
    fn hashes() {
        assert_eq!(host_hash("node-a"), "PY3TQE2E3XMTETLM2MJO3UITKPFB27YUJ4T4E5XGPEJON3SM4QAA");
        assert_eq!(host_hash("load-balancer"), "TAU2RK2F2FG7MIS72DPZYC6FJ3U3BIWIDZAMUTQY7ZXMSKQZ5GSQ");
    }

    #[test]
    fn names_that_no_object_bears() {
        for name in ["", "a_b", "A", "-a", "a.", "a..b", "a.-b", "a/b", "é", &"a".repeat(254)] {
            assert!(why_no_name(name).is_some(), "{name}");
        }
    }
}
