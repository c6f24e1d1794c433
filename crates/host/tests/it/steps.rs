//! Every kind of step, and what is there after it.

use std::net::IpAddr;
use std::sync::Arc;

use api::Cidr;
use routes::{Mac, Present, Route, Step, Target};

use crate::namespace::Namespace;

fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn via(device: &str, gateways: &[&str]) -> Target {
    Target::Via {
        gateways: gateways.iter().map(|gateway| addr(gateway)).collect(),
        device: Some(device.into()),
    }
}

/// A host with an uplink and two tunnel devices.
fn host() -> Option<(Namespace, Namespace)> {
    let (host, other) = (Namespace::new()?, Namespace::new()?);
    host.cable("eth0", &other, "eth0");
    host.sh("ip addr add 10.77.1.11/24 dev eth0
         ip addr add fd77:1::11/64 dev eth0
         ip link add vxlan.calico type vxlan id 4096 dstport 4789 local 10.77.1.11 dev eth0 nolearning
         ip link add vxlan-v6.calico type vxlan id 4096 dstport 4789 local fd77:1::11 dev eth0 nolearning
         ip link set dev vxlan.calico up
         ip link set dev vxlan-v6.calico up");
    Some((host, other))
}

fn routes() -> Vec<Route> {
    let link = |device: &str| Target::Link { device: device.into() };
    let mtu = |route: Route, mtu| Route { mtu: Some(mtu), ..route };
    let metric = |route: Route, metric| Route { metric, ..route };
    vec![
        Route::new(cidr("10.81.1.0/26"), Target::Blackhole),
        Route::new(cidr("10.80.0.0/14"), Target::Unreachable),
        Route::new(cidr("10.81.2.0/26"), via("eth0", &["10.77.1.12"])),
        metric(Route::new(cidr("10.81.2.0/26"), via("eth0", &["10.77.1.13"])), 100),
        Route::new(cidr("10.82.0.0/18"), via("eth0", &["10.77.1.12", "10.77.1.13"])),
        mtu(Route::new(cidr("10.81.3.0/26"), via("vxlan.calico", &["10.81.3.0"])), 1450),
        mtu(Route::new(cidr("10.81.9.9/32"), link("vxlan.calico")), 1450),
        Route::new(cidr("fd81::1:0/122"), Target::Blackhole),
        Route::new(cidr("fd81::/60"), Target::Unreachable),
        Route::new(cidr("fd81::2:0/122"), via("eth0", &["fd77:1::12"])),
        metric(Route::new(cidr("fd81::2:0/122"), via("eth0", &["fd77:1::13"])), 2000),
        Route::new(cidr("fd82::/64"), via("eth0", &["fd77:1::12", "fd77:1::13"])),
        mtu(Route::new(cidr("fd81::3:0/122"), via("vxlan-v6.calico", &["fd81::3:0"])), 1430),
        mtu(Route::new(cidr("fd81::9:9/128"), link("vxlan-v6.calico")), 1430),
    ]
}

const MAC: Mac = Mac([0x66, 1, 2, 3, 4, 5]);

fn entries() -> Vec<Step> {
    let (four, six): (Arc<str>, Arc<str>) = ("vxlan.calico".into(), "vxlan-v6.calico".into());
    vec![
        Step::Forward(four.clone(), MAC, addr("10.77.1.12")),
        Step::Forward(six.clone(), MAC, addr("fd77:1::12")),
        Step::Neighbour(four, addr("10.81.3.0"), MAC),
        Step::Neighbour(six, addr("fd81::3:0"), MAC),
    ]
}

fn removal(step: &Step) -> Step {
    match step.clone() {
        Step::Forward(device, mac, _) => Step::RemoveForward(device, mac),
        Step::Neighbour(device, addr, _) => Step::RemoveNeighbour(device, addr),
        Step::Route(route) => Step::RemoveRoute(route),
        removal => removal,
    }
}

fn sorted(mut present: Present) -> Present {
    present.routes.sort();
    present
}

/// What is there after each of these steps, and nothing failed.
fn assert_leads(host: &Namespace, from: &mut Present, steps: &[Step]) {
    let devices = ["vxlan.calico", "vxlan-v6.calico"];
    let (failed, present) = host
        .kernel(async |kernel| (kernel.apply(steps, None).await, kernel.present(&devices).await.unwrap()));
    assert!(failed.is_empty(), "{failed:?}");
    steps.iter().for_each(|step| from.apply(step));
    assert_eq!(sorted(present), sorted(from.clone()));
}

#[test]
fn what_is_set_is_there_and_what_is_removed_is_gone() {
    let Some((host, _other)) = host() else { return };
    let sets: Vec<Step> = entries().into_iter().chain(routes().into_iter().map(Step::Route)).collect();
    let mut present = Present::default();
    assert_leads(&host, &mut present, &sets);
    assert_eq!(present.routes.len(), 14);
    // Again: whatever is there is replaced by itself.
    assert_leads(&host, &mut present, &sets);
    let removals: Vec<Step> = sets.iter().rev().map(removal).collect();
    assert_leads(&host, &mut present, &removals);
    assert_eq!(present, Present::default());
    // What is gone is removed without complaint, even where the device is gone, too.
    assert_leads(&host, &mut present, &removals);
    host.sh("ip link del vxlan.calico; ip link del vxlan-v6.calico");
    assert_leads(&host, &mut present, &removals);
}

#[test]
fn every_target_takes_the_place_of_every_other() {
    let Some((host, _other)) = host() else { return };
    let mut present = Present::default();
    for (to, targets) in [
        (
            "10.81.3.0/26",
            [
                Target::Blackhole,
                Target::Unreachable,
                via("eth0", &["10.77.1.12"]),
                via("eth0", &["10.77.1.12", "10.77.1.13"]),
                via("vxlan.calico", &["10.81.3.0"]),
                Target::Link { device: "vxlan.calico".into() },
            ],
        ),
        (
            "fd81::3:0/122",
            [
                Target::Blackhole,
                Target::Unreachable,
                via("eth0", &["fd77:1::12"]),
                via("eth0", &["fd77:1::12", "fd77:1::13"]),
                via("vxlan-v6.calico", &["fd81::3:0"]),
                Target::Link { device: "vxlan-v6.calico".into() },
            ],
        ),
    ] {
        for from in &targets {
            for into in &targets {
                let step = |target: &Target| Step::Route(Route::new(cidr(to), target.clone()));
                assert_leads(&host, &mut present, &[step(from)]);
                assert_leads(&host, &mut present, &[step(into)]);
            }
        }
    }
    assert_eq!(present.routes.len(), 2);
}

#[test]
fn a_step_that_fails_stops_no_other_and_says_why() {
    let Some((host, _other)) = host() else { return };
    let route = |to: &str, target: Target| Step::Route(Route::new(cidr(to), target));
    let unnamed = Target::Via { gateways: vec![addr("10.77.1.12")], device: None };
    let steps = [
        route("10.81.2.0/26", via("nosuch0", &["10.77.1.12"])),
        Step::Neighbour("a-name-that-no-interface-has".into(), addr("10.81.3.0"), MAC),
        route("10.81.4.0/26", unnamed.clone()),
        // Its own address is no gateway.
        route("10.81.5.0/26", via("eth0", &["10.77.1.11"])),
        route("10.81.6.0/26", via("eth0", &["10.77.1.12"])),
    ];
    let (failed, uplink) = host.kernel(async |kernel| {
        let failed = kernel.apply(&steps, None).await;
        let all = kernel.interfaces().await.unwrap();
        (failed, all.into_iter().find(|interface| interface.name == "eth0").unwrap().index)
    });
    let said: Vec<String> = failed.iter().map(|(_, error)| error.to_string()).collect();
    assert_eq!(
        said,
        [
            "cannot set the route 10.81.2.0/26 via 10.77.1.12 dev nosuch0: there is no interface nosuch0; `ip link` shows those that there are",
            "cannot set the neighbour 10.81.3.0 lladdr 66:01:02:03:04:05 of a-name-that-no-interface-has: there is no interface a-name-that-no-interface-has; `ip link` shows those that there are",
            "cannot set the route 10.81.4.0/26 via 10.77.1.12: no interface carries the node's address; compare `ip addr` with `calicoctl get node -o yaml`",
            "the kernel refused to set the route 10.81.5.0/26 via 10.77.1.11 dev eth0: Nexthop has invalid gateway (Invalid argument (os error 22))",
        ]
    );
    assert!(failed.iter().zip(&steps).all(|((failed, _), step)| failed == step));
    let mut present = Present::default();
    present.apply(&steps[4]);
    // Where the uplink is told, a route that names no device leads by it.
    let step = route("10.81.4.0/26", unnamed);
    let failed = host.kernel(async |kernel| kernel.apply(&[step], Some(uplink)).await);
    assert!(failed.is_empty(), "{failed:?}");
    present.apply(&route("10.81.4.0/26", via("eth0", &["10.77.1.12"])));
    assert_leads(&host, &mut present, &[]);
}

/// A pod may come to have an address after the plan was made. Its own route stays.
#[test]
fn the_route_of_a_pod_is_never_replaced() {
    let Some((host, _other)) = host() else { return };
    host.sh("ip link add cali0 type veth peer name peer; ip link set cali0 up; ip link set peer up");
    let set = |to: &str, gateway: &str| Step::Route(Route::new(cidr(to), via("eth0", &[gateway])));
    let steps = [set("10.81.9.9/32", "10.77.1.12"), set("fd81::9:9/128", "fd77:1::12")];
    let mut present = Present::default();
    assert_leads(&host, &mut present, &steps);
    let pods = "ip route replace 10.81.9.9 dev cali0; ip -6 route replace fd81::9:9 dev cali0";
    host.sh(pods);
    let show = "ip route show 10.81.9.9; ip -6 route show fd81::9:9";
    let before = host.sh(show);
    assert_eq!(before.matches("dev cali0").count(), 2, "{before}");
    assert_leads(&host, &mut Present::default(), &[]);
    let failed = host.kernel(async |kernel| {
        assert_eq!(kernel.pod_addresses().await.unwrap().len(), 2);
        kernel.apply(&steps, None).await
    });
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(host.sh(show), before);
    // What is no pod's is replaced, as ever.
    let moved = [set("10.81.9.9/32", "10.77.1.13"), set("fd81::9:9/128", "fd77:1::13")];
    host.sh("ip link del cali0");
    assert_leads(&host, &mut Present::default(), &steps);
    assert_leads(&host, &mut Present::default(), &moved);
}
