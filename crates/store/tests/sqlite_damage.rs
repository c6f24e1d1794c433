//! Damage at many places of a file: what is called a backup, and what is restored, is either whole or refused.

// All of it is test code.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use api::{Handle, HandleId, Key, Kind, Resource, Value};
use rusqlite::{Connection, OpenFlags};
use serde_json::json;
use store::sqlite::{Options, SqliteStore};
use store::{Batch, Expect, Store};

const WITHIN: Duration = Duration::from_secs(10);
const SEEDS: u64 = 300;

fn open(path: &Path) -> Result<SqliteStore, store::StoreError> {
    SqliteStore::open(path, Options::default())
}

/// A store as a small cluster has it, some of it changed and deleted again, all in the one file.
async fn filled(path: &Path) {
    let store = open(path).unwrap();
    let mut records: Vec<(Key, Value)> = Vec::new();
    for n in 0..60_u32 {
        let block: api::BlockCidr = format!("10.0.{n}.0/26").parse().unwrap();
        let handle = Handle { blocks: BTreeMap::from([(block, n + 1)]), deleted: false };
        let id = format!("k8s-pod-network.{:064x}", u128::from(n) << 90);
        records.push((Key::Handle(HandleId::new(&id).unwrap()), Value::Handle(handle)));
        let node = Resource::from_input(json!({"kind": "Node", "apiVersion": "projectcalico.org/v3",
            "metadata": {"name": format!("node-{n}"), "labels": {"rack": n.to_string()}},
            "spec": {"bgp": {"ipv4Address": format!("10.1.0.{n}/24")}}}))
        .unwrap();
        records.push((node.key(), Value::Resource(node)));
    }
    let pool = Resource::from_input(json!({"kind": "IPPool", "apiVersion": "projectcalico.org/v3",
        "metadata": {"name": "p"}, "spec": {"cidr": "10.0.0.0/16", "nodeSelector": "rack == \"1\""}}))
    .unwrap();
    assert_eq!(pool.kind(), Kind::IPPool);
    records.push((pool.key(), Value::Resource(pool)));
    for (index, (key, value)) in records.into_iter().enumerate() {
        let mut batch = Batch::new();
        let put = batch.put(key.clone(), Expect::Absent, value.clone());
        match index % 5 {
            3 => drop(batch.put(key, Expect::AsLeftBy(put), value)),
            4 => drop(batch.delete(key, Expect::AsLeftBy(put))),
            _ => {}
        }
        assert!(store.commit(&batch, WITHIN).await.unwrap().is_applied());
    }
    store.checkpoint(WITHIN).await.unwrap();
}

/// What a backup has to hold.
fn contents(path: &Path) -> Option<Vec<(String, String)>> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    let mut all = conn.prepare("SELECT key, value FROM kv ORDER BY key").ok()?;
    let rows = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).ok()?;
    rows.collect::<Result<_, _>>().ok()
}

/// Damages a file in one of the ways in which files are; tells which.
fn damage(bytes: &mut Vec<u8>, seed: u64) -> String {
    let mut rng = fastrand::Rng::with_seed(seed);
    let at = rng.usize(..bytes.len());
    match rng.usize(..6) {
        0 => {
            bytes[at] ^= 1 << rng.u8(..8);
            format!("a bit at {at}")
        }
        1 => {
            bytes[at] = bytes[at].wrapping_add(rng.u8(1..));
            format!("a byte at {at}")
        }
        2 => {
            let end = (at + rng.usize(2..64)).min(bytes.len());
            bytes[at..end].iter_mut().for_each(|byte| *byte = rng.u8(..));
            format!("noise at {at}..{end}")
        }
        3 => {
            let start = at / 512 * 512;
            bytes[start..start + 512].fill(0);
            format!("a sector of zeros at {start}")
        }
        4 => {
            let (one, other) = (at / 4096 * 4096, rng.usize(..bytes.len()) / 4096 * 4096);
            let page = bytes[one..one + 4096].to_vec();
            bytes[other..other + 4096].copy_from_slice(&page);
            format!("page {one} also at {other}")
        }
        _ => {
            bytes.truncate(at);
            format!("cut at {at}")
        }
    }
}

#[tokio::test]
async fn a_damaged_file_is_no_backup_and_gives_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    filled(&path("store.db")).await;
    open(&path("store.db")).unwrap().backup(&path("good.db"), WITHIN).await.unwrap();
    let good = contents(&path("good.db")).unwrap();
    assert_eq!(good.len(), 97);
    let (mut backed_up, mut restored) = (0, 0);
    let target = path("target.db");
    for seed in 0..SEEDS {
        // The store itself, with what was last committed in the file.
        let mut bytes = fs::read(path("store.db")).unwrap();
        let what = damage(&mut bytes, seed);
        let source = path(&format!("source{seed}.db"));
        fs::write(&source, &bytes).unwrap();
        fs::copy(path("store.db-wal"), path(&format!("source{seed}.db-wal"))).unwrap();
        let copy = path(&format!("copy{seed}.db"));
        if let Ok(store) = open(&source)
            && store.backup(&copy, WITHIN).await.is_ok()
        {
            backed_up += 1;
            assert_eq!(contents(&copy).as_ref(), Some(&good), "seed {seed}: {what} in the source");
        } else {
            assert!(!copy.exists(), "seed {seed}: {what}: no half backup is left");
        }
        // A backup.
        let mut bytes = fs::read(path("good.db")).unwrap();
        let what = damage(&mut bytes, seed);
        let backup = path(&format!("backup{seed}.db"));
        fs::write(&backup, &bytes).unwrap();
        if open(&target).unwrap().restore(&backup, WITHIN).await.is_ok() {
            restored += 1;
            let found = contents(&target);
            assert_eq!(found.as_ref(), Some(&good), "seed {seed}: {what} in the backup");
        }
    }
    // Some damage is to what nothing lies in.
    assert!(backed_up < SEEDS / 2 && restored < SEEDS / 2, "{backed_up} {restored}");
}
