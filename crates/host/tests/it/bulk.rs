//! Many routes at once.

use std::sync::Arc;

use api::Cidr;
use host::Changes;
use routes::{Route, Step, Target};

use crate::namespace::Namespace;

#[test]
fn ten_thousand_routes_are_set_and_removed_and_a_flood_of_changes_is_told_once() {
    let (Some(host), Some(other)) = (Namespace::new(), Namespace::new()) else { return };
    host.cable("eth0", &other, "eth0");
    host.sh("ip addr add 10.77.1.11/24 dev eth0");
    let device: Arc<str> = "eth0".into();
    let gateway = "10.77.1.12".parse().unwrap();
    let target = Target::Via { gateways: vec![gateway], device: Some(device) };
    let network = |n: u32| Cidr::of((0x0a80_0000 + n * 64).to_be_bytes().into(), 26).unwrap();
    let routes: Vec<Route> = (0..10_000).map(|n| Route::new(network(n), target.clone())).collect();
    let sets: Vec<Step> = routes.iter().cloned().map(Step::Route).collect();
    let removals: Vec<Step> = routes.iter().cloned().map(Step::RemoveRoute).collect();
    host.kernel(async |kernel| {
        let mut changes = Changes::subscribe().unwrap();
        changes.next().await;
        #[allow(clippy::disallowed_methods, reason = "the time is printed, and nothing depends on it")]
        let now = std::time::Instant::now;
        let begin = now();
        let failed = kernel.apply(&sets, None).await;
        let set = begin.elapsed();
        assert!(failed.is_empty(), "{failed:?}");
        let begin = now();
        let mut present = kernel.present(&[]).await.unwrap().routes;
        let listed = begin.elapsed();
        present.sort();
        assert_eq!(present, routes);
        let mut overflows = 0;
        while let Ok(changed) =
            tokio::time::timeout(std::time::Duration::from_millis(200), changes.next()).await
        {
            assert!(changed.ours || changed.is_incomplete || changed.interfaces, "{changed:?}");
            overflows += usize::from(changed.is_incomplete);
        }
        assert_eq!(overflows, 1);
        let begin = now();
        let failed = kernel.apply(&removals, None).await;
        let removed = begin.elapsed();
        assert!(failed.is_empty(), "{failed:?}");
        // Removing what is gone is no failure.
        let failed = kernel.apply(&removals[..300], None).await;
        assert!(failed.is_empty(), "{failed:?}");
        assert!(kernel.present(&[]).await.unwrap().routes.is_empty());
        println!("10,000 routes: set in {set:?}, listed in {listed:?}, removed in {removed:?}");
    });
}
