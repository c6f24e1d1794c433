//! Calico's own agent, and kube-proxy.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use filter::kube_proxy::{self, KubeProxy, LocalMode};
use filter::{Nft, felix};
use routes::PoolNetwork;

use crate::lab::{Lab, NODE, OUTSIDE, caller};
use crate::world::{addr, cidr};

/// What a Felix leaves: every pod that it does not know is dropped, and its own are translated.
const FELIX: &str = "nft -f - <<'END'
table ip calico {
    set cali40masq-ipam-pools { type ipv4_addr; flags interval; elements = { 10.81.0.0/16 }; }
    chain filter-cali-unknown { iifname \"cali*\" drop; }
    chain filter-FORWARD { type filter hook forward priority filter; ct state established accept; jump filter-cali-unknown; }
    chain nat-POSTROUTING { type nat hook postrouting priority srcnat + 10; ip saddr @cali40masq-ipam-pools masquerade; }
}
table arp calico-arp { chain x { type filter hook input priority 0; }; }
END
iptables-nft -N cali-FORWARD
iptables-nft -A FORWARD -m comment --comment cali:abc -j cali-FORWARD
iptables-nft -A FORWARD -s 192.0.2.0/24 -j DROP
iptables-nft -A FORWARD -m comment --comment cali:def -m mark --mark 0x10000/0x10000 -j ACCEPT
iptables-nft -A cali-FORWARD -p tcp --dport 9 -j DROP
iptables-legacy -t nat -N cali-POSTROUTING
iptables-legacy -t nat -A POSTROUTING -j cali-POSTROUTING
iptables-legacy -t nat -A POSTROUTING -s 172.17.0.0/16 -j MASQUERADE";

#[test]
fn what_felix_left_goes_and_connections_go_on() {
    let Some(lab) = Lab::new() else { return };
    // A connection from before, translated by Felix.
    lab.node.sh("nft 'table ip calico { chain nat-POSTROUTING { type nat hook postrouting priority srcnat + 10; ip saddr 10.81.0.0/16 masquerade; }; }'");
    let listener = lab.outside.run(|| TcpListener::bind((addr(OUTSIDE[0]), 0)).unwrap());
    let at = listener.local_addr().unwrap();
    let mut calling = lab.pod1.run(|| TcpStream::connect(at).unwrap());
    let (mut called, from) = listener.accept().unwrap();
    assert_eq!(from.ip(), addr(NODE[0]));
    lab.node.sh("nft delete table ip calico");
    lab.node.sh(FELIX);
    let stranger = || {
        lab.pod2
            .run(|| {
                TcpStream::connect_timeout(&(addr(OUTSIDE[0]), at.port()).into(), Duration::from_millis(400))
            })
            .is_ok()
    };
    assert!(!stranger());

    let mut nft = Nft::default();
    let left = lab.node.run(|| nft.leftovers()).unwrap();
    assert_eq!(left.tables, ["ip calico", "arp calico-arp"]);
    let programs: Vec<(&str, usize)> =
        left.chains.iter().map(|chains| (chains.program, chains.count)).collect();
    assert_eq!(programs, [("iptables-nft", 1), ("iptables-legacy", 1)]);
    for part in ["the table ip calico", "1 chains named cali-... that iptables-legacy knows", "take-over"] {
        assert!(left.to_string().contains(part), "{left}");
    }

    assert_eq!(lab.node.run(|| nft.take_over(&lab.rules())).unwrap(), left);
    let ruleset = lab.node.sh("nft list ruleset; iptables-legacy-save");
    assert!(!ruleset.contains("cali-") && !ruleset.contains(" calico"), "{ruleset}");
    assert!(ruleset.contains("172.17.0.0/16") && ruleset.contains("192.0.2.0/24"), "{ruleset}");
    let mut bytes = [0; 5];
    for text in [b"first", b"again"] {
        calling.write_all(text).unwrap();
        called.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        called.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, text);
    }
    assert!(stranger());
    assert_eq!(caller(&lab.pod1, &lab.outside, OUTSIDE[0]).unwrap().ip(), addr(NODE[0]));
    assert!(lab.node.run(|| nft.take_over(&lab.rules())).unwrap().is_empty());
}

/// Files of processes as the kernel shows them.
fn process(proc: &Path, pid: u32, name: &str, words: &[&str]) {
    let dir = proc.join(pid.to_string());
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("comm"), format!("{name}\n")).unwrap();
    fs::write(dir.join("cmdline"), words.iter().map(|word| format!("{word}\0")).collect::<String>()).unwrap();
}

#[test]
fn a_felix_that_runs_is_found() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(felix::running(dir.path()), felix::Running::default());
    process(dir.path(), 7, "calico", &["/opt/cni/bin/calico"]);
    process(dir.path(), 8, "kworker/0:1", &[]);
    assert!(!felix::running(dir.path()).is_certain());
    process(dir.path(), 10, "calico-node", &["calico-node", "-felix"]);
    process(dir.path(), 11, "calico", &["/usr/bin/calico", "component", "felix"]);
    let net = dir.path().join("thread-self/net");
    fs::create_dir_all(&net).unwrap();
    fs::write(net.join("tcp"), "head\n 0: 0100007F:238B 00000000:0000 0A 0\n").unwrap();
    let found = felix::running(dir.path());
    let pids: Vec<u32> = found.processes.iter().map(|process| process.pid).collect();
    assert_eq!((pids, found.ports.iter().copied().collect()), (vec![10, 11], vec![9099]));
    assert!(found.to_string().contains("process 10 (calico-node), 11 (calico)"), "{found}");
    // The machine's own list can be read.
    felix::running(Path::new("/proc"));
}

fn pools() -> Vec<PoolNetwork> {
    let pool = |network, is_inside| PoolNetwork { cidr: cidr(network), is_translated: true, is_inside };
    vec![
        pool("10.81.0.0/16", true),
        pool("10.82.0.0/16", true),
        pool("10.90.0.0/16", false),
        pool("2001:db8::/48", true),
    ]
}

#[test]
fn kube_proxies_that_do_not_fit() {
    for (flags, wanted) in [
        ("", vec![]),
        ("--cluster-cidr=10.80.0.0/12", vec![]),
        ("--cluster-cidr 10.81.0.0/16,2001:db8::/32", vec!["10.82.0.0/16"]),
        (
            "--cluster-cidr=10.81.0.0/16 --detect-local-mode=InterfaceNamePrefix --pod-interface-name-prefix=cali",
            vec![],
        ),
        (
            "--detect-local-mode=InterfaceNamePrefix --pod-interface-name-prefix=azv",
            vec!["10.81", "10.82", "2001"],
        ),
        ("--detect-local-mode=InterfaceNamePrefix", vec!["10.81", "10.82", "2001"]),
        ("--detect-local-mode=NodeCIDR", vec!["10.81", "10.82", "2001"]),
        ("--detect-local-mode BridgeInterface -v=2", vec!["10.81", "10.82", "2001"]),
        ("--masquerade-all --cluster-cidr=10.80.0.0/12", vec!["masquerade-all"]),
        ("--masquerade-all=false --cluster-cidr=10.80.0.0/12", vec![]),
    ] {
        let words: Vec<String> =
            format!("kube-proxy {flags}").split_whitespace().map(str::to_string).collect();
        let told = KubeProxy::of_flags(&words).conflicts(&pools());
        let told: Vec<String> = told.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), wanted.len(), "{flags}: {told:?}");
        for (told, wanted) in told.iter().zip(&wanted) {
            assert!(told.contains(wanted) && told.contains("process 0"), "{flags}: {told}");
        }
    }
}

#[test]
fn kube_proxies_are_found_with_their_configuration() {
    let dir = tempfile::tempdir().unwrap();
    process(dir.path(), 20, "kube-proxy", &["/usr/local/bin/kube-proxy", "--cluster-cidr=10.81.0.0/16"]);
    process(dir.path(), 21, "kube-proxy", &["kube-proxy", "--config=/var/lib/kube-proxy/config.conf"]);
    process(dir.path(), 22, "kube-proxy", &["kube-proxy", "--config", "/nowhere"]);
    process(dir.path(), 23, "sh", &["sh", "-c", "kube-proxy"]);
    let root = dir.path().join("21/root/var/lib/kube-proxy");
    fs::create_dir_all(&root).unwrap();
    let text = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nclusterCIDR: \
         10.81.0.0/16,2001:db8::/48\ndetectLocalMode: \"\"\ndetectLocal:\n  interfaceNamePrefix: \"\"\niptables:\n  \
         masqueradeAll: false\n";
    fs::write(root.join("config.conf"), text).unwrap();
    let found = kube_proxy::found(dir.path());
    let [flags, file, lost] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((flags.pid, flags.cluster_cidrs.as_slice()), (20, &[cidr("10.81.0.0/16")][..]));
    assert_eq!((file.pid, file.local_mode, file.cluster_cidrs.len()), (21, LocalMode::ClusterCidr, 2));
    let told = file.conflicts(&pools());
    assert!(told.len() == 1 && told[0].to_string().contains("10.82.0.0/16"), "{told:?}");
    let told = lost.conflicts(&pools());
    assert!(told.len() == 1 && told[0].to_string().contains("/nowhere"), "{told:?}");
    for wrong in ["", "kind: Pod", "kind: [", "a\nb: c"] {
        assert!(KubeProxy::of_configuration(wrong).is_err(), "{wrong}");
    }
    let all = "kind: KubeProxyConfiguration\nipvs: {masqueradeAll: true}\n";
    assert!(KubeProxy::of_configuration(all).unwrap().masquerades_all);
}
