//! The annotations of pods.

use serde_json::{Value as Json, json};

use crate::fixture::on_host;
use crate::harness::Container;

#[test]
fn addresses_by_name() {
    on_host(|cluster| {
        cluster.pod("a", &[("ipAddrs", r#"["10.5.0.77","fd00:5::77"]"#)]);
        let container = Container::new("c1", "a");
        let answer = cluster.add(&container);
        assert_eq!(
            answer.addresses(),
            ["10.5.0.77", "fd00:5::77"].map(|text| text.parse::<std::net::IpAddr>().unwrap())
        );
        let result: Json = serde_json::from_str(&answer.stdout).unwrap();
        assert_eq!(result.get("routes"), None);
        assert_eq!(cluster.annotation("a", "podIPs"), "10.5.0.77/32,fd00:5::77/128");
        // The pod's next container gets the same addresses, although the first one's DEL is still to come.
        let next = Container::new("c2", "a");
        assert_eq!(cluster.add(&next).addresses(), answer.addresses());
        assert_eq!((cluster.del(&container).code, cluster.taken()), (0, 2));
        assert_eq!((cluster.del(&next).code, cluster.taken()), (0, 0));

        cluster.pod("half", &[("ipAddrs", r#"["10.5.0.78","fd00:99::78"]"#)]);
        let msg = cluster.add(&Container::new("c3", "half")).error();
        assert!(msg.starts_with("error getting IP from IPAM: "), "{msg}");
        assert_eq!(cluster.taken(), 0, "the first is taken back");
    });
}

#[test]
fn addresses_that_nobody_records() {
    on_host(|cluster| {
        cluster.pod("a", &[("ipAddrsNoIpam", r#"["10.77.0.1"]"#)]);
        let container = Container::new("c1", "a");
        assert_eq!(cluster.add(&container).error(), "requested feature is not enabled: ip_addrs_no_ipam");
        let allowed = json!({"feature_control": {"ip_addrs_no_ipam": true}});
        let addr = "10.77.0.1".parse::<std::net::IpAddr>().unwrap();
        assert_eq!(cluster.call("ADD", &container, allowed.clone()).addresses(), [addr]);
        assert_eq!((cluster.taken(), cluster.annotation("a", "podIP")), (0, "10.77.0.1/32".to_string()));
        assert!(cluster.host().reaches(&container.netns, addr));
        assert_eq!(cluster.call("DEL", &container, allowed).code, 0);
    });
}

#[test]
fn floating_addresses_have_to_be_allowed() {
    on_host(|cluster| {
        cluster.pod("a", &[("floatingIPs", r#"["192.0.2.7"]"#)]);
        let container = Container::new("c1", "a");
        assert_eq!(cluster.add(&container).error(), "requested feature is not enabled: floating_ips");
        assert_eq!(cluster.taken(), 0);
        let allowed = json!({"feature_control": {"floating_ips": true}});
        assert_eq!(cluster.call("ADD", &container, allowed).addresses().len(), 1);
        assert_eq!(cluster.del(&container).code, 0);
    });
}

#[test]
fn what_cannot_be_done_is_refused() {
    on_host(|cluster| {
        let allowed = json!({"feature_control": {"floating_ips": true}});
        for (pod, name, value, told) in [
            ("net", "floatingIPs", r#"["172.32.0.0/24"]"#, "ExternalIP = '172.32.0.0/24'"),
            ("text", "floatingIPs", r#"["not-an-ip"]"#, "'not-an-ip'"),
            ("family", "floatingIPs", r#"["fd00::1"]"#, "holds fd00::1, and there is no IPv6 address"),
            ("json", "floatingIPs", "192.0.2.7", "failed to parse '192.0.2.7' as JSON"),
            ("prefix", "allowedSourcePrefixes", r#"["x"]"#, "failed to parse 'x' as a CIDR"),
        ] {
            cluster.pod(pod, &[(name, value)]);
            let container = Container::new(&format!("c-{pod}"), pod);
            let msg = cluster.call("ADD", &container, allowed.clone()).error();
            let title = format!("the annotation cni.projectcalico.org/{name} of default/{pod}");
            let title = title.strip_prefix("the ").unwrap();
            assert!(msg.contains(told) && msg.contains(title), "{msg}");
            assert_eq!((cluster.taken(), cluster.annotation(pod, "podIP")), (0, String::new()), "{pod}");
            assert!(container.netns.interfaces().is_empty(), "{pod}");
        }
    });
}

#[test]
fn a_hardware_address() {
    on_host(|cluster| {
        cluster.pod("a", &[("hwAddr", "1c:0c:0a:c0:ff:ee")]);
        let container = Container::new("c1", "a");
        let result: Json = serde_json::from_str(&cluster.add(&container).stdout).unwrap();
        assert_eq!(result["interfaces"][1]["mac"], "1c:0c:0a:c0:ff:ee");
        let links = container.netns.run(|| {
            let mut ip = std::process::Command::new("ip");
            String::from_utf8(ip.args(["link", "show", "eth0"]).output().unwrap().stdout).unwrap()
        });
        assert!(links.contains("1c:0c:0a:c0:ff:ee"), "{links}");
        cluster.del(&container);
        cluster.pod("bad", &[("hwAddr", "x")]);
        assert_eq!(cluster.add(&Container::new("c2", "bad")).error(), "address x: invalid MAC address");
        assert_eq!(cluster.taken(), 0);
    });
}

#[test]
fn pools_and_families() {
    on_host(|cluster| {
        let pools = r#"["other"]"#;
        cluster.kubectl(
            &["annotate", "namespace", "default", &format!("cni.projectcalico.org/ipv4pools={pools}")],
            "",
        );
        let both = r#"["IPv4","IPv6"]"#;
        cluster.pod("a", &[("ipFamilies", both)]);
        cluster.pod("b", &[("ipv4pools", r#"["10.5.0.0/24"]"#)]);
        let (a, b) = (Container::new("c1", "a"), Container::new("c2", "b"));
        let of_a: Vec<_> = cluster.add(&a).addresses().iter().map(ToString::to_string).collect();
        assert!(of_a[0].starts_with("10.6.0.") && of_a[1].starts_with("fd00:5::"), "{of_a:?}");
        let of_b = cluster.add(&b).addresses();
        assert!(
            of_b.len() == 1 && of_b[0].to_string().starts_with("10.5.0."),
            "the pod's word goes first: {of_b:?}"
        );
        assert_eq!((cluster.del(&a).code, cluster.del(&b).code, cluster.taken()), (0, 0, 0));
    });
}
