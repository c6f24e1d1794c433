//! The order in which a host tries a pool's blocks: a ring that starts at a place of the host's own
//! (`libcalico-go/lib/ipam/ipam_block_reader_writer.go`).
//!
//! The start is what Go's `math/rand` draws from a hash of the host's name, bit for bit, so that Calico and we give a host the same blocks.

use api::Pool;

use crate::go_rand::GoRand;

/// Where a host's ring begins in a pool: a block index; `None` when the pool holds no block.
///
/// Pools of single addresses have no such place: there `seed`, a fresh random number, decides.
pub fn start(pool: &Pool, host: &str, seed: u64) -> Option<u128> {
    let count = pool.block_count();
    if count == 0 {
        return None;
    }
    let seed = if pool.block_size == pool.family().bits() { seed as i64 } else { i64::from(fnv1(host)) };
    Some(GoRand::new(seed).below(count))
}

/// How far behind the ring's start an index lies.
pub fn distance(start: u128, count: u128, index: u128) -> u128 {
    if index >= start { index - start } else { count - start + index }
}

/// FNV-1, 32 bits.
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

    #[test]
    fn distances_wrap() {
        assert_eq!(distance(3, 8, 3), 0);
        assert_eq!(distance(3, 8, 7), 4);
        assert_eq!(distance(3, 8, 2), 7);
    }
}
