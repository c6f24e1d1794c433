//! Records that lack much of what is there are not believed before they are a fresh list.

use routes::{Difference, List, Options, Present, Step};
use serde_json::json;

use crate::world::World;

/// A node with routes to that many blocks of another one.
fn world(blocks: usize) -> World {
    let mut world = World::new();
    world.node("a", "10.0.0.1/24", "", json!({}));
    world.node("b", "10.0.0.2/24", "", json!({}));
    world.pool("p", "10.1.0.0/16", json!({}));
    for index in 0..blocks {
        world.block(&format!("10.1.{index}.0/26"), Some("b"), &[]);
    }
    world
}

fn after(present: usize, wanted: usize) -> Difference {
    let mut there = Present::default();
    let all = Difference::between(&there, &world(present).desired("a", &Options::default()));
    all.steps(List::Kept).0.iter().for_each(|step| there.apply(step));
    assert_eq!(there.routes.len(), present);
    Difference::between(&there, &world(wanted).desired("a", &Options::default()))
}

#[test]
fn a_fifth_is_too_much() {
    for (present, wanted, is_doubted) in [
        (10, 10, false),
        (10, 9, false),
        (10, 8, true),
        (100, 81, false),
        (100, 80, true),
        (3, 0, true),
        (0, 0, false),
    ] {
        let difference = after(present, wanted);
        let (steps, doubt) = difference.steps(List::Kept);
        assert_eq!(doubt.is_some(), is_doubted, "{present} to {wanted}");
        let removed = if is_doubted { 0 } else { present - wanted };
        assert_eq!(steps.len(), removed, "{present} to {wanted}");
        let (steps, doubt) = difference.steps(List::Fresh);
        assert_eq!((steps.len(), doubt), (present - wanted, None), "{present} to {wanted}");
    }
    let told = after(10, 8).steps(List::Kept).1.unwrap().to_string();
    assert!(told.starts_with("2 of 10 destinations"), "{told}");
}

/// What is added does no harm, whatever the records lack.
#[test]
fn doubt_keeps_nothing_from_being_added() {
    let mut there = Present::default();
    let many = Difference::between(&there, &world(10).desired("a", &Options::default()));
    many.steps(List::Kept).0.iter().for_each(|step| there.apply(step));
    let mut other = world(2);
    other.block("10.1.99.0/26", Some("b"), &[]);
    let (steps, doubt) =
        Difference::between(&there, &other.desired("a", &Options::default())).steps(List::Kept);
    assert!(doubt.is_some());
    assert!(matches!(steps.as_slice(), [Step::Route(_)]), "{steps:?}");
}
