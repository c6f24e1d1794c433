//! The order in which a host tries a pool's blocks: a ring that starts at a block which depends on the host's
//! name (`libcalico-go/lib/ipam/ipam_block_reader_writer.go`).
//!
//! The start is the number that Go's `math/rand` draws from a hash of the host's name, bit for bit, so that
//! Calico and this program give a host the same blocks.

use api::Pool;

use golang::rand::Rand;

/// The index of the block with which a host's ring begins in a pool; `None` when the pool holds no block.
///
/// In a pool whose blocks are single addresses, the random `seed` decides instead of the host's name.
pub fn start(pool: &Pool, host: &str, seed: u64) -> Option<u128> {
    let count = pool.block_count();
    if count == 0 {
        return None;
    }
    let seed = if pool.block_size == pool.family().bits() { seed as i64 } else { i64::from(fnv1(host)) };
    Some(Rand::new(seed).below(count))
}

/// A pool's blocks in the order of one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ring {
    start: u128,
    count: u128,
}

impl Ring {
    /// The ring of a host in a pool; `None` when the pool holds no block. For `seed` see [`start`].
    pub fn of(pool: &Pool, host: &str, seed: u64) -> Option<Ring> {
        start(pool, host, seed).map(|start| Ring { start, count: pool.block_count() })
    }

    /// The number of blocks in the pool.
    pub fn count(&self) -> u128 {
        self.count
    }

    /// The index of the block that is `steps` after the start; `None` after a whole turn.
    pub fn at(&self, steps: u128) -> Option<u128> {
        if steps >= self.count {
            return None;
        }
        let before_the_end = self.count - self.start;
        Some(if steps < before_the_end { self.start + steps } else { steps - before_the_end })
    }

    /// How many steps after the start the block with an index is.
    pub fn steps_to(&self, index: u128) -> u128 {
        if index >= self.start { index - self.start } else { self.count - self.start + index }
    }
}

/// The 32-bit FNV-1 hash of a text.
fn fnv1(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| hash.wrapping_mul(0x0100_0193) ^ u32::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(cidr: &str, block_size: u8) -> Pool {
        Pool {
            name: "p".into(),
            cidr: cidr.parse().unwrap(),
            block_size,
            disabled: false,
            deleting: false,
            unallocatable: false,
            manual: false,
            node_selector: Ok(selector::Selector::all()),
            namespace_selector: Ok(selector::Selector::all()),
            allowed_uses: vec![],
        }
    }

    #[test]
    fn starts_are_those_of_calico() {
        let pools = [pool("192.168.0.0/16", 26), pool("10.244.0.0/16", 24), pool("fd00:10:244::/64", 122)];
        for (host, hash, starts) in [
            ("node1", 0xebdee2ce, [666, 154, 13588661266676378]),
            ("node2", 0xebdee2cd, [416, 44, 239116056101196844]),
            ("node-a", 0x21df10f7, [698, 186, 251070522519304890]),
            ("test-host", 0x6a0af334, [1012, 210, 253349111635947218]),
            ("load-balancer", 0xfe8c4210, [586, 74, 16344416427082314]),
            ("ip-10-0-0-1.ec2.internal", 0x55dd20bb, [555, 43, 103027900413292386]),
        ] {
            assert_eq!(fnv1(host), hash, "{host}");
            for (pool, wanted) in pools.iter().zip(starts) {
                assert_eq!(start(pool, host, 0), Some(wanted), "{host} in {}", pool.cidr);
            }
        }
        assert_eq!(start(&pool("192.168.0.0/28", 26), "node1", 0), None);
        assert_eq!(start(&pool("192.168.0.0/26", 26), "node1", 0), Some(0));
    }

    /// From Calico's `randomblock_test.go`: a ring contains every block once, whatever the pool's shape.
    #[test]
    fn a_ring_meets_every_block_once() {
        for (cidr, size) in [
            ("10.0.0.0/24", 26),
            ("10.0.0.0/26", 26),
            ("10.0.0.0/20", 32),
            ("10.0.0.0/16", 20),
            ("fd00::/112", 122),
            ("fd00::/122", 128),
        ] {
            let pool = pool(cidr, size);
            let ring = Ring::of(&pool, "node1", 7).unwrap();
            let mut met: Vec<u128> = (0..ring.count()).map(|steps| ring.at(steps).unwrap()).collect();
            assert_eq!(
                met.iter().map(|index| ring.steps_to(*index)).collect::<Vec<_>>(),
                (0..ring.count()).collect::<Vec<_>>()
            );
            met.sort_unstable();
            assert_eq!(met, (0..pool.block_count()).collect::<Vec<_>>(), "{cidr} by /{size}");
            assert_eq!(ring.at(ring.count()), None);
        }
    }
}
