//! Compares this calicoctl with Calico's, where Calico's texts, checks and addresses are known.

use std::collections::BTreeMap;
use std::time::Duration;

use api::{HandleId, Use};
use store::sqlite::{SqliteOptions, SqliteStore};

use crate::world::{World, pool};

/// Gives a host a named address, with those attributes.
fn assign(world: &World, addr: &str, attributes: &[(&str, &str)]) {
    let store = SqliteStore::open(world.path("rackpool.db"), SqliteOptions::default()).unwrap();
    let request = ipam::AssignIp {
        addr: addr.parse().unwrap(),
        host: "n1".to_string(),
        intended_use: Some(Use::Workload),
        handle: HandleId::new(&format!("net.{addr}")),
        attributes: attributes
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect::<BTreeMap<_, _>>(),
        max_per_handle: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let clock = setup::Clock::start();
    runtime.block_on(ipam::run(&store, &clock, request.planner(), Duration::from_secs(10))).unwrap();
}

/// If the input names a resourceVersion, every command changes only that version.
#[test]
fn a_version_that_is_gone_is_a_conflict() {
    let world = World::new();
    let text = |version: &str| {
        pool("p", "10.1.0.0/16")
            .replace("  name: p\n", &format!("  name: p\n  resourceVersion: \"{version}\"\n"))
    };
    world.good_with("apply -f -", &pool("p", "10.1.0.0/16"));
    let shown = world.good("get ippool p -o yaml");
    let version = shown.split("resourceVersion: \"").nth(1).unwrap().split('"').next().unwrap();
    let patch = |version: &str| {
        let patch = format!(
            "{{\"metadata\":{{\"resourceVersion\":\"{version}\"}},\"spec\":{{\"natOutgoing\":true}}}}"
        );
        world.run_args(&["patch", "ippool", "p", "-p", &patch].map(String::from), "")
    };
    assert_eq!(patch(version).stdout, "Successfully patched 1 'IPPool' resource\n");
    let before = world.contents();
    let told = patch(version);
    let mut lines = told.stderr.lines();
    let words = "hit error: updating existing resource: update conflict: IPPool(p)";
    assert_eq!((told.code, lines.next()), (1, Some(words)));
    assert!(lines.next().is_some_and(|line| line.contains("calicoctl get ippool p -o yaml")), "{told:?}");
    for line in ["apply -f -", "replace -f -", "delete -f -"] {
        let ran = world.run_with(line, &text(version));
        assert_eq!(ran.code, 1, "{line}");
        assert!(ran.stderr.contains("update conflict: IPPool(p)"), "{line} {ran:?}");
    }
    assert!(world.contents() == before);
    world.good("label ippool p a=b");
}

#[test]
fn an_address_that_has_cooled_down_is_nobodys() {
    let world = World::new();
    world.good_with("create -f -", &pool("p", "10.0.0.0/24"));
    world.good("ipam configure --ip-cooldown-seconds=1200");
    assign(&world, "10.0.0.5", &[]);
    assert!(world.good("ipam show --ip=10.0.0.5").starts_with("IP 10.0.0.5 is in use\n"));
    world.good("ipam release --ip=10.0.0.5");
    let cooling = world.run("ipam show --ip=10.0.0.5");
    assert_eq!((cooling.code, cooling.stderr.as_str()), (1, "address 10.0.0.5 is in cooldown\n"));
    world.good("ipam configure --ip-cooldown-seconds=0");
    assert_eq!(world.good("ipam show --ip=10.0.0.5"), "10.0.0.5 is not assigned\n");
    assert_eq!(world.good("ipam show --ip=10.0.0.6"), "10.0.0.6 is not assigned\n");
}

#[test]
fn what_is_said_below_the_borrowed_stands_apart() {
    let world = World::new();
    world.good_with("create -f -", &pool("p", "10.0.0.0/24"));
    assign(&world, "10.0.0.5", &[]);
    assert!(world.good("ipam show --show-borrowed").ends_with(
        "+\n\nNote: found 1 IP allocations without an explicit node association. Unable to determine if they are borrowed.\n"
    ));
}

#[test]
fn faults_of_the_environment_say_where_they_come_from() {
    let mut world = World::new();
    world.set("K8S_CLIENT_QPS", "fast");
    let told = "failed to load config from env vars: envconfig.Process: assigning CALICO_K8S_CLIENT_QPS to K8sClientQPS: converting 'fast' to type float32. \
                details: strconv.ParseFloat: parsing \"fast\": invalid syntax";
    assert_eq!(world.run("get nodes").stdout, format!("Failed to create Calico API client: {told}\n"));
    assert_eq!(world.run("ipam show").stderr, format!("{told}\n"));
    assert_eq!(world.run("datastore init").stderr, format!("{told}\n"));
}

/// An IPv4 address in IPv6 notation means the IPv4 address.
#[test]
fn a_mapped_address_is_the_ipv4_address() {
    let world = World::new();
    world.good_with("create -f -", &pool("p", "::ffff:10.0.0.0/120"));
    assert!(world.good("get ippool").contains("10.0.0.0/24"));
    assert_eq!(world.run_with("create -f -", &pool("q", "10.0.0.0/24")).code, 1, "it overlaps");
    let reservation = "apiVersion: projectcalico.org/v3\nkind: IPReservation\nmetadata:\n  name: r\nspec:\n  reservedCIDRs: ['::ffff:10.0.0.9/128', '10.0.0.8/32']\n";
    world.good_with("create -f -", reservation);
    let shown = world.good("ipam show");
    assert!(shown.contains("2 (1%)"), "{shown}");
    assign(&world, "10.0.0.5", &[("node", "n1")]);
    for text in ["::ffff:10.0.0.5", "::ffff:a00:5", "10.0.0.5"] {
        assert!(
            world.good(&format!("ipam show --ip={text}")).starts_with("IP 10.0.0.5 is in use\n"),
            "{text}"
        );
    }
    assert_eq!(
        world.good("ipam release --ip=::ffff:10.0.0.5"),
        "Successfully released IP address 10.0.0.5\n"
    );
    assert_eq!(world.good("ipam show --ip=10.0.0.5"), "10.0.0.5 is not assigned\n");
}
