//! Every kind on the embedded store.

#[path = "../shared/kinds.rs"]
mod story;

use crate::world::World;

fn run(world: &World, line: &str, input: &str) -> (bool, String) {
    let ran = world.run_with(line, input);
    (ran.code == 0, if ran.code == 0 { ran.stdout } else { ran.stderr })
}

#[test]
fn each_lives() {
    let world = World::new();
    world.good("datastore init --ipv4-cidr none");
    story::lives(&|line, input| run(&world, line, input));
}

#[test]
fn each_is_copied_and_exported() {
    let world = World::new();
    world.good("datastore init --ipv4-cidr none");
    let to = world.path("other.db");
    let to = format!(
        "apiVersion: projectcalico.org/v3\nkind: CalicoAPIConfig\nmetadata: {{}}\nspec:\n  datastoreType: embedded\n  rackpoolDB: {}\n",
        to.display()
    );
    let to = world.write("other.cfg", &to);
    story::is_copied(&|line, input| run(&world, line, input), &to);
    let world = World::new();
    world.good("datastore init --ipv4-cidr none");
    story::is_exported(&|line, input| run(&world, line, input));
}

#[test]
fn some_go_with_their_node() {
    let world = World::new();
    world.good("datastore init --ipv4-cidr none");
    story::goes_with_its_node(&|line, input| run(&world, line, input));
}
