//! A large cluster: 5,000 nodes in 125 racks, two blocks each.

use api::Cidr;
use routes::destination::Destinations;
use routes::{Aggregation, Difference, Exported, List, Options, Present, Step, budget, node};
use serde_json::json;

use crate::world::{World, addr};

const RACKS: usize = 125;
const NODES: usize = 40;

fn world() -> World {
    let mut world = World::new();
    for rack in 0..RACKS {
        let selector = json!({"nodeSelector": format!("rack == \"{rack}\""), "blockSize": 28});
        world.pool(&format!("rack-{rack}"), &format!("10.{rack}.0.0/16"), selector);
        for at in 0..NODES {
            let name = format!("n{rack}-{at}");
            world.node(&name, &format!("172.16.{rack}.{}/24", at + 1), &rack.to_string(), json!({}));
            for block in 0..2 {
                world.block(&format!("10.{rack}.{}.0/28", at * 2 + block), Some(&name), &[]);
            }
        }
    }
    world
}

#[test]
fn the_number_of_routes_grows_with_racks_and_not_with_nodes() {
    let mut world = world();
    let options = Options { via: vec![addr("172.16.7.254")], ..Options::default() };
    let desired = world.desired("n7-0", &options);
    let forwarding = |routes: &std::collections::BTreeMap<Cidr, routes::Wanted>| {
        routes.values().filter(|wanted| wanted.route.target.forwards()).count()
    };
    assert_eq!(forwarding(&desired.routes), 78 + 124);
    let destinations = Destinations::of(&world.snapshot);
    for (aggregation, tor, core) in
        [(Aggregation::Node, 125, 125), (Aggregation::Tor, 80 + 124, 125), (Aggregation::Off, 10_000, 10_000)]
    {
        let budgets = budget::of(&destinations, &world.racks(Exported::Plain), aggregation);
        assert_eq!((budgets[0].total(), budgets[RACKS].total()), (tor, core), "{aggregation:?}");
        assert_eq!(budgets[0].calico, 10_000);
    }

    // One block more is one message at the nodes of its rack, and none elsewhere.
    let mut present = Present::default();
    Difference::between(&present, &desired).steps(List::Fresh).0.iter().for_each(|step| present.apply(step));
    world.block("10.7.200.0/28", Some("n7-9"), &[]);
    let steps = Difference::between(&present, &world.desired("n7-0", &options)).steps(List::Kept).0;
    assert!(matches!(steps.as_slice(), [Step::Route(_)]), "{steps:?}");
    world.snapshot.forget(&api::Key::Block("10.7.200.0/28".parse().unwrap()));
    world.block("10.8.200.0/28", Some("n8-9"), &[]);
    let destinations = Destinations::of(&world.snapshot);
    let racks = world.racks(Exported::Plain);
    let there = node::desired(&destinations, &racks, "n7-0", &options).unwrap();
    assert!(Difference::between(&present, &there).is_empty());
}
