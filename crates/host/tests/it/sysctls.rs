//! The settings of a namespace's kernel.

use api::Family;
use host::sysctl::{self, Duties};

use crate::namespace::Namespace;

#[test]
fn what_is_wanted_is_set() {
    let (Some(host), Some(other)) = (Namespace::new(), Namespace::new()) else { return };
    host.cable("eth0.7", &other, "eth0");
    host.sh("echo 0 > /proc/sys/net/ipv6/conf/all/forwarding
         echo 1 > /proc/sys/net/ipv6/conf/eth0.7/accept_ra
         echo 0 > /proc/sys/net/ipv4/ip_forward
         echo 1 > /proc/sys/net/ipv4/conf/all/rp_filter
         echo 1 > /proc/sys/net/ipv4/conf/all/send_redirects");
    let duties = Duties {
        families: Family::BOTH.to_vec(),
        uplinks: vec!["eth0.7".to_string()],
        tunnels: vec!["vxlan.calico".to_string()],
        advertised: vec!["eth0.7".to_string()],
        is_loose: true,
        is_gateway: true,
    };
    let settings = host.run(|| sysctl::check(&duties).unwrap());
    let names: Vec<String> = settings.iter().map(|setting| setting.name()).collect();
    assert_eq!(
        names,
        [
            "net.ipv6.conf.eth0/7.accept_ra",
            "net.ipv6.conf.all.forwarding",
            "net.ipv4.ip_forward",
            "net.ipv4.conf.eth0/7.rp_filter",
            "net.ipv4.conf.all.send_redirects",
            "net.ipv4.conf.eth0/7.send_redirects",
        ]
    );
    assert_eq!(
        settings[0].to_string(),
        "net.ipv6.conf.eth0/7.accept_ra=2 (is 1): a host that forwards loses its advertised IPv6 default route otherwise"
    );
    assert!(settings.iter().all(|setting| !setting.is_met()), "{settings:?}");
    host.run(|| sysctl::set(&settings).unwrap());
    let settings = host.run(|| sysctl::check(&duties).unwrap());
    assert!(settings.iter().all(|setting| setting.is_met()), "{settings:?}");
    assert_eq!(host.sh("cat /proc/sys/net/ipv6/conf/eth0.7/accept_ra"), "2\n");
}
