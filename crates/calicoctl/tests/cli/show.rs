//! `ipam show`: as tables, and as documents for other programs.

use serde_json::{Value, json};

use crate::world::{World, pool};

fn world() -> World {
    let world = World::new();
    world.good("datastore init --ipv4-cidr=none");
    for (name, cidr) in
        [("a", "10.1.0.0/24"), ("b", "fd00:1::/56"), ("c", "fd00:2::/64"), ("d", "fd00:3::/65")]
    {
        world.good_with("create -f -", &pool(name, cidr));
    }
    world
}

fn document(world: &World, line: &str) -> Value {
    let json: Value = serde_json::from_str(&world.good(&format!("{line} -o json"))).unwrap();
    let yaml = golang::yaml::read(world.good(&format!("{line} -o yaml")).as_bytes()).unwrap();
    assert_eq!(yaml, json);
    json
}

/// Calico's count stops at 2^63.
#[test]
fn large_pools_have_their_true_sizes() {
    let shown = world().good("ipam show");
    for (cidr, size) in
        [("fd00:1::/56", "4.7224e+21"), ("fd00:2::/64", "1.8447e+19"), ("fd00:3::/65", "9.2234e+18")]
    {
        let row = shown.lines().find(|line| line.contains(cidr)).unwrap();
        assert_eq!(row.matches(size).count(), 2, "{row}");
    }
}

#[test]
fn pools_and_blocks_are_a_document() {
    let shown = document(&world(), "ipam show --show-blocks");
    let small = json!({"name": "a", "cidr": "10.1.0.0/24", "disabled": false, "total": 256, "inUse": 0, "cooling": 0,
        "reserved": 0, "free": 256, "blocks": []});
    assert_eq!(shown["pools"][0], small);
    assert_eq!(shown["pools"][1]["total"], json!("4722366482869645213696"));
    assert_eq!(shown["pools"].as_array().unwrap().len(), 4);
    assert_eq!((&shown["blocksWithoutPool"], &shown["inUseWithoutPool"]), (&json!([]), &json!(0)));
}

#[test]
fn an_address_is_a_document() {
    let free = json!({"address": "10.1.0.7", "status": "free", "pool": "a", "block": null});
    assert_eq!(document(&world(), "ipam show --ip=10.1.0.7"), free);
}

#[test]
fn borrowed_addresses_and_the_configuration_are_documents() {
    let world = world();
    assert_eq!(document(&world, "ipam show --show-borrowed"), json!({"borrowed": [], "withoutNode": 0}));
    let configuration = json!({"strictAffinity": false, "autoAllocateBlocks": true, "maxBlocksPerHost": 0,
        "kubeVirtVMAddressPersistence": "Enabled", "ipCooldownSeconds": 0});
    assert_eq!(document(&world, "ipam show --show-configuration"), configuration);
    let note = "MaxBlocksPerHost 0 means 20.\n";
    assert!(world.good("ipam show --show-configuration").ends_with(note));
    world.good("ipam configure --strictaffinity=true");
    world.good("ipam configure --max-blocks-per-host=3");
    assert!(!world.good("ipam show --show-configuration").contains(note));
}

#[test]
fn a_flag_that_does_not_count_is_told() {
    let ran = world().run("ipam show --ip=10.1.0.7 --show-blocks");
    assert_eq!((ran.code, ran.stderr.as_str()), (0, "warning: --show-blocks has no effect: --ip counts\n"));
}
