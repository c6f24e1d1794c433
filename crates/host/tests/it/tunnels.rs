//! Tunnel devices: what is changed in place, and what is made anew.

use std::collections::BTreeMap;

use host::{Ensured, HostError};
use routes::tunnel::{Address, Kind, Tunnel};
use routes::{Mac, Present};

use crate::cluster::{DEVICES, PORT, VNI, uplink};
use crate::namespace::Namespace;

fn host() -> Option<Namespace> {
    let host = Namespace::new()?;
    host.sh("ip link add eth0 type veth peer name other
         ip link set dev eth0 up
         ip link set dev other up
         ip addr add 10.77.1.11/24 dev eth0
         ip addr add 10.77.1.12/24 dev eth0
         ip addr add fd77:1::11/64 dev eth0");
    Some(host)
}

fn tunnel(kind: Kind, device: &'static str, local: &str, addr: &str) -> Tunnel {
    Tunnel {
        kind,
        device,
        local: Some(local.parse().unwrap()),
        address: Address::Keep(addr.parse().unwrap()),
        pools: Vec::new(),
        mac: Some(Mac([0x66, 1, 2, 3, 4, 5])),
        mtu: 1400,
        peers: BTreeMap::new(),
    }
}

fn vxlan() -> Tunnel {
    tunnel(Kind::Vxlan, "vxlan.calico", "10.77.1.11", "10.81.1.0")
}

fn ensure(host: &Namespace, tunnel: &Tunnel, vni: u32, port: u16) -> Result<Ensured, HostError> {
    host.kernel(async |kernel| kernel.ensure_tunnel(tunnel, &uplink(kernel).await, vni, port).await)
}

fn index(host: &Namespace, device: &str) -> u32 {
    let all = host.kernel(async |kernel| kernel.interfaces().await.unwrap());
    all.iter().find(|interface| interface.name == device).unwrap().index
}

#[test]
fn a_device_is_kept_and_changed_in_place() {
    let Some(host) = host() else { return };
    let wanted = vxlan();
    assert_eq!(ensure(&host, &wanted, VNI, PORT).unwrap(), Ensured::Made);
    let made = index(&host, "vxlan.calico");
    let shown = host.sh("ip -d link show vxlan.calico");
    for part in [
        "vxlan id 4096 local 10.77.1.11 dev eth0",
        "dstport 4789",
        "nolearning",
        "mtu 1400",
        "66:01:02:03:04:05",
        "UP",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let mac = Some(Mac([0x66, 5, 4, 3, 2, 1]));
    let (other, given_up) = ("10.81.1.7".parse().unwrap(), Address::GiveUp(None));
    let changes = [
        ("the size", Tunnel { mtu: 1300, ..wanted.clone() }, "mtu 1300"),
        ("the hardware address", Tunnel { mac, ..wanted.clone() }, "66:05:04:03:02:01"),
        ("the address", Tunnel { address: Address::Keep(other), ..wanted.clone() }, "inet 10.81.1.7/32"),
        (
            "the address that is being replaced",
            Tunnel { address: Address::Take(Some(other)), ..wanted.clone() },
            "inet 10.81.1.7/32",
        ),
        ("no address", Tunnel { address: given_up, ..wanted.clone() }, "UP"),
        (
            "the local address",
            Tunnel { local: Some("10.77.1.12".parse().unwrap()), ..wanted.clone() },
            "local 10.77.1.12",
        ),
    ];
    for (what, changed, shown) in changes {
        let became = ensure(&host, &changed, VNI, PORT).unwrap();
        assert!([Ensured::Changed, Ensured::Kept].contains(&became), "{what}: {became:?}");
        let (link, addr) = (host.sh("ip -d link show vxlan.calico"), host.sh("ip addr show vxlan.calico"));
        assert!(link.contains(shown) || addr.contains(shown), "{what}: {link}{addr}");
        assert_eq!(addr.contains("inet "), changed.address != given_up, "{what}: {addr}");
        assert_eq!(ensure(&host, &changed, VNI, PORT).unwrap(), Ensured::Kept, "{what}");
        assert_eq!(index(&host, "vxlan.calico"), made, "{what}");
    }
    let became = host.kernel(async |kernel| {
        let all = kernel.interfaces().await.unwrap();
        let other = all.iter().find(|interface| interface.name == "other").unwrap();
        kernel.ensure_tunnel(&wanted, other, VNI, PORT).await.unwrap()
    });
    assert_eq!((became, index(&host, "vxlan.calico")), (Ensured::Changed, made));
    let shown = host.sh("ip -d link show vxlan.calico");
    assert!(shown.contains("local 10.77.1.11 dev other"), "{shown}");
}

#[test]
fn what_others_did_to_a_device_is_undone_in_place() {
    let Some(host) = host() else { return };
    for (wanted, local) in [
        (vxlan(), "inet 10.81.1.0/32"),
        (tunnel(Kind::VxlanV6, "vxlan-v6.calico", "fd77:1::11", "fd81::1:0"), "inet6 fd81::1:0/128"),
    ] {
        let device = wanted.device;
        ensure(&host, &wanted, VNI, PORT).unwrap();
        let made = index(&host, device);
        let before = host.sh(&format!("ip addr show {device}"));
        assert!(before.contains(local) && before.contains("inet6 fe80:"), "{before}");
        for script in ["ip link set dev DEVICE down", "ip link set dev DEVICE mtu 1280"] {
            host.sh(&script.replace("DEVICE", device));
            assert_eq!(ensure(&host, &wanted, VNI, PORT).unwrap(), Ensured::Changed, "{script}");
        }
        host.sh(&format!("ip addr add 192.0.2.1/24 dev {device}; ip addr add fd99::1/64 dev {device}"));
        assert_eq!(ensure(&host, &wanted, VNI, PORT).unwrap(), Ensured::Changed);
        let after = host.sh(&format!("ip addr show {device}"));
        assert!(!after.contains("192.0.2.1") && !after.contains("fd99::1"), "{after}");
        assert!(after.contains(local) && after.contains("inet6 fe80:"), "{after}");
        assert_eq!(index(&host, device), made);
    }
}

#[test]
fn a_device_that_cannot_be_changed_is_made_anew() {
    let Some(host) = host() else { return };
    let wanted = vxlan();
    ensure(&host, &wanted, VNI, PORT).unwrap();
    let mut last = index(&host, "vxlan.calico");
    let mut is_anew = |vni, port, what: &str| {
        assert_eq!(ensure(&host, &wanted, vni, port).unwrap(), Ensured::MadeAnew, "{what}");
        assert_eq!(ensure(&host, &wanted, vni, port).unwrap(), Ensured::Kept, "{what}");
        let now = index(&host, "vxlan.calico");
        assert_ne!(now, last, "{what}");
        last = now;
    };
    is_anew(VNI + 1, PORT, "another number");
    is_anew(VNI, PORT, "and back");
    is_anew(VNI, 8472, "another port");
    for foreign in [
        "type vxlan id 4096 dstport 8472 local 10.77.1.11 dev eth0",
        "type vxlan dstport 8472 external",
        "type bridge",
    ] {
        host.sh(&format!("ip link del vxlan.calico; ip link add vxlan.calico {foreign}"));
        is_anew(VNI, 8472, foreign);
    }
}

#[test]
fn a_device_is_removed_and_nothing_else() {
    let Some(host) = host() else { return };
    ensure(&host, &vxlan(), VNI, PORT).unwrap();
    host.kernel(async |kernel| {
        kernel.remove_tunnel("vxlan.calico").await.unwrap();
        kernel.remove_tunnel("vxlan.calico").await.unwrap();
        let error = kernel.remove_tunnel("eth0").await.unwrap_err();
        assert_eq!(error.to_string(), "eth0 is none of our tunnel devices, so it is left alone");
        assert_eq!(kernel.present(&DEVICES).await.unwrap(), Present::default());
    });
    let links = host.sh("ip link");
    assert!(!links.contains("vxlan") && links.contains("eth0"), "{links}");
}

#[test]
fn a_node_without_an_address_gets_no_device() {
    let Some(host) = host() else { return };
    let error = ensure(&host, &Tunnel { local: None, ..vxlan() }, VNI, PORT).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot make vxlan.calico: the node has no IPv4 address; `calicoctl get node -o yaml` shows what it has"
    );
}

#[test]
fn ipip_is_refused_where_the_kernel_has_none() {
    let Some(host) = host() else { return };
    let wanted = Tunnel { mac: None, ..tunnel(Kind::Ipip, "tunl0", "10.77.1.11", "10.81.1.0") };
    match ensure(&host, &wanted, VNI, PORT) {
        Err(HostError::NoIpip { device }) => assert_eq!(device, "tunl0"),
        Err(error) => panic!("{error}"),
        // This kernel has IPIP.
        Ok(_) => {
            assert_eq!(ensure(&host, &wanted, VNI, PORT).unwrap(), Ensured::Kept);
            host.kernel(async |kernel| kernel.remove_tunnel("tunl0").await.unwrap());
        }
    }
}

#[test]
fn what_is_not_as_it_must_be_is_told() {
    let Some(host) = host() else { return };
    let wanted = vxlan();
    let told = |vni| -> Vec<String> {
        let found = host
            .kernel(async |kernel| kernel.tunnel_deviations(&wanted, &uplink(kernel).await, vni, PORT).await);
        found.unwrap().iter().map(ToString::to_string).collect()
    };
    assert_eq!(told(VNI), ["device is missing, and must be there"]);
    ensure(&host, &wanted, VNI, PORT).unwrap();
    assert_eq!(told(VNI), [""; 0]);
    host.sh("ip link set vxlan.calico mtu 1300 address 66:00:00:00:00:01
         ip addr add 10.81.1.9/32 dev vxlan.calico");
    let before = host.sh("ip -d link show vxlan.calico; ip addr show vxlan.calico");
    assert_eq!(
        told(7),
        [
            "mtu is 1300, and must be 1400",
            "mac is 66:00:00:00:00:01, and must be 66:01:02:03:04:05",
            "vni is 4096, and must be 7",
            "address is 10.81.1.0, 10.81.1.9, and must be 10.81.1.0",
        ]
    );
    assert_eq!(host.sh("ip -d link show vxlan.calico; ip addr show vxlan.calico"), before);
    host.sh(
        "ip link del vxlan.calico; ip link add vxlan.calico type bridge; ip link set vxlan.calico up mtu 1400",
    );
    let told = told(VNI);
    assert!(
        told[0].starts_with("kind is ") && told.contains(&"vni is none, and must be 4096".to_string()),
        "{told:?}"
    );
}
