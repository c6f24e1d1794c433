//! The table in the kernel, beside those of others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use filter::{Changes, Comparison, Nft, NftError, Outcome, Rules, Touched};

use crate::harness::Namespace;
use crate::lab::{Lab, NODE, OUTSIDE, POD1, POD2, caller, pinged, socket};
use crate::protection::{arrives, vxlan};
use crate::world::cidr;

/// Tables of others, with what ours has, too.
const OTHERS: &str = "nft -f - <<'END'
table inet site {
    set blocked { type ipv4_addr; flags interval; elements = { 192.0.2.0/24 }; }
    chain input { type filter hook input priority filter; policy accept; ip saddr @blocked counter drop; }
}
table ip kube-proxy { chain services { type nat hook postrouting priority srcnat; counter; }; }
table ip6 rackpool { chain x { udp dport 4789 accept; }; }
END
iptables-nft -t nat -A POSTROUTING -s 172.17.0.0/16 -j MASQUERADE
iptables-nft -A FORWARD -i docker0 -j ACCEPT";

/// Everything that is not in our table, handles and all.
fn others(space: &Namespace) -> String {
    let tables = space.sh("nft list tables");
    let tables = tables.lines().filter(|table| *table != "table inet rackpool");
    tables.map(|table| space.sh(&format!("nft -s -a list {table}"))).collect()
}

#[test]
fn tables_of_others_stay_byte_for_byte() {
    let Some(lab) = Lab::new() else { return };
    lab.node.sh(OTHERS);
    let before = others(&lab.node);
    assert!(before.contains("table inet site") && before.contains("172.17.0.0/16"), "{before}");
    let mut nft = Nft::default();
    let mut rules = lab.rules();
    assert_eq!(lab.keep(&mut nft, &rules), Outcome::Replaced);
    assert_eq!(lab.keep(&mut nft, &rules), Outcome::Unchanged);
    assert_eq!(lab.node.run(|| nft.pass_on(&rules)).unwrap(), []);
    assert_eq!(others(&lab.node), before);
    rules.pools.truncate(1);
    assert_eq!(lab.keep(&mut nft, &rules), Outcome::Replaced);
    // Another process takes over what is there.
    assert_eq!(lab.keep(&mut Nft::default(), &rules), Outcome::Replaced);
    assert_eq!(others(&lab.node), before);
    for _ in 0..2 {
        lab.node.run(|| nft.remove()).unwrap();
        assert_eq!(lab.node.sh("nft list tables").matches("inet rackpool").count(), 0);
        assert_eq!(others(&lab.node), before);
    }
    assert_eq!(lab.keep(&mut nft, &rules), Outcome::Replaced);
}

/// While the table is put there again and again, nothing is lost, running connections stay translated, and no
/// new one goes out untranslated.
#[test]
fn a_replaced_table_loses_nothing() {
    let Some(lab) = Lab::new() else { return };
    let mut nft = Nft::default();
    let mut rules = lab.rules();
    lab.keep(&mut nft, &rules);
    let chains = || {
        let listing = lab.node.sh("nft -a list table inet rackpool");
        listing.lines().filter(|line| line.contains("chain")).map(str::to_string).collect::<Vec<_>>()
    };
    let before = chains();
    lab.outside.sh("ip addr add 10.77.1.2/24 dev eth0");
    let (peer, tunnel) = (socket(&lab.outside, "10.77.1.2", 0), socket(&lab.node, NODE[0], 4789));
    let ended = AtomicBool::new(false);
    let (sent, answered) = thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                assert!(arrives(&peer, &tunnel, &vxlan(4096), true), "a node's packet is dropped");
            }
        });
        let calls = scope.spawn(|| {
            let mut calls = 0;
            while !ended.load(Ordering::Relaxed) {
                let seen = caller(&lab.pod1, &lab.outside, OUTSIDE[0]).unwrap();
                assert_eq!(seen.ip().to_string(), NODE[0]);
                calls += 1;
            }
            calls
        });
        let counts = pinged(&lab.pod1, OUTSIDE[1], || {
            for turn in 0..40 {
                let own = &mut rules.pods.values_mut().next().unwrap();
                own.truncate(2);
                own.push(cidr(&format!("10.99.{turn}.0/24")));
                assert_eq!(lab.keep(&mut nft, &rules), Outcome::Replaced);
                thread::sleep(Duration::from_millis(25));
            }
        });
        ended.store(true, Ordering::Relaxed);
        assert!(calls.join().unwrap() > 0);
        counts
    });
    assert!(sent > 20 && sent == answered, "{answered} of {sent}");
    assert_eq!(chains(), before, "the chains are the same ones, with the same handles");
}

/// Somebody's change is told by the kernel, and mended.
#[test]
fn what_others_change_is_mended() {
    let Some(lab) = Lab::new() else { return };
    let mut nft = Nft::default();
    let rules = lab.rules();
    lab.keep(&mut nft, &rules);
    let right = lab.node.run(|| nft.listing()).unwrap();
    for damage in [
        "nft delete table inet rackpool",
        "nft flush chain inet rackpool pods",
        "nft flush chain inet rackpool leaving4",
        "nft flush ruleset",
        "nft add element inet rackpool vxlan4 { 10.77.1.9 }",
        "nft delete element inet rackpool pods4 { cali1 . 10.81.1.2 }",
        "nft insert rule inet rackpool pods accept",
        "nft add set inet rackpool x '{ type ipv4_addr; }'",
    ] {
        lab.node.run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut changes = Changes::open().unwrap();
                lab.node.sh(damage);
                let told = tokio::time::timeout(Duration::from_secs(10), async {
                    while !changes.next().await.unwrap().is_ours {}
                });
                told.await.unwrap_or_else(|_| panic!("nobody tells of: {damage}"));
            });
        });
        assert_eq!(lab.keep(&mut nft, &rules), Outcome::Repaired, "{damage}");
        assert_eq!(lab.node.run(|| nft.listing()).unwrap(), right, "{damage}");
        assert_eq!(lab.keep(&mut nft, &rules), Outcome::Unchanged, "{damage}");
    }
}

/// Changes of others are told as such.
#[test]
fn changes_are_told_apart() {
    let Some(space) = Namespace::new() else { return };
    space.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut changes = Changes::open().unwrap();
            space.sh("nft 'table ip site { chain x { accept; }; set y { type ipv4_addr; elements = { 10.0.0.1 }; }; }'");
            space.sh("nft add table inet rackpool");
            let hooked = "nft 'table ip other { chain x { type filter hook forward priority 0; policy drop; }; }'";
            space.sh(hooked);
            space.sh("iptables-nft -A FORWARD -j ACCEPT");
            let mut seen = Vec::new();
            while seen.iter().filter(|touched: &&Touched| touched.is_beside).count() < 2 {
                seen.push(tokio::time::timeout(Duration::from_secs(10), changes.next()).await.unwrap().unwrap());
            }
            assert!(seen[0] == Touched { is_ours: true, is_beside: false }, "{seen:?}");
        });
    });
}

const SHOW: &str = "iptables-nft -S FORWARD; ip6tables-nft -S FORWARD";

/// Docker and others let the tables of iptables drop what no rule accepts.
#[test]
fn packets_of_pods_pass_where_iptables_drops() {
    let Some(lab) = Lab::new() else { return };
    let mut nft = Nft::default();
    let mut rules: Rules = lab.rules();
    lab.keep(&mut nft, &rules);
    lab.node.sh("for program in iptables-nft ip6tables-nft; do
             $program -P FORWARD DROP; $program -A FORWARD -i docker0 -j ACCEPT
         done");
    let passes = |at: &str| {
        lab.pod2
            .run(|| {
                std::process::Command::new("ping")
                    .args(["-c", "3", "-i", "0.3", "-W", "1", at])
                    .output()
                    .unwrap()
            })
            .status
            .success()
    };
    assert!(!passes(OUTSIDE[0]) && !passes(OUTSIDE[1]));
    let before = lab.node.sh(SHOW);
    assert_eq!(lab.node.run(|| nft.pass_on(&rules)).unwrap(), []);
    let with = others(&lab.node);
    assert!(passes(OUTSIDE[0]) && passes(OUTSIDE[1]) && passes(POD1[0]), "{with}");
    lab.outside.sh(&format!("ping -c 1 -W 5 {}", POD2[0]));
    assert_eq!(lab.node.run(|| nft.pass_on(&rules)).unwrap(), []);
    assert_eq!(others(&lab.node), with, "nothing is written twice");

    // iptables goes on to work, and shows whose rules they are, and Docker's own come first.
    let shown = lab.node.sh("iptables-nft -S FORWARD");
    let own = "-A FORWARD -i cali+ -m comment --comment \"rackpool: pods\" -j ACCEPT";
    assert!(shown.find("docker0").unwrap() < shown.find(own).unwrap(), "{shown}");
    lab.node.sh("iptables-nft-save | iptables-nft-restore");
    lab.node.run(|| nft.pass_on(&rules)).unwrap();
    assert_eq!(lab.node.sh("iptables-nft -S FORWARD"), shown);

    lab.node.sh("iptables-nft -F FORWARD");
    assert!(!passes(OUTSIDE[0]));
    lab.node.run(|| nft.pass_on(&rules)).unwrap();
    assert!(passes(OUTSIDE[0]));

    // A node that passes on what is for its rack.
    rules.is_relay = true;
    lab.node.run(|| nft.pass_on(&rules)).unwrap();
    let shown = lab.node.sh(SHOW);
    assert!(shown.contains("-A FORWARD -d 10.82.0.0/16 -m comment"), "{shown}");
    assert!(
        shown.contains("-A FORWARD -d 2001:db8:82::/48 -m comment") && !shown.contains("10.85"),
        "{shown}"
    );

    // Another process finds them, and takes them away where they are not needed any more.
    let mut other = Nft::default();
    lab.node.sh("iptables-nft -F FORWARD; iptables-nft -A FORWARD -i docker0 -j ACCEPT");
    lab.node.run(|| other.pass_on(&lab.rules())).unwrap();
    lab.node.run(|| other.remove()).unwrap();
    assert_eq!(lab.node.sh(SHOW), before);
    lab.node.run(|| nft.pass_on(&rules)).unwrap();
    lab.node.sh("iptables-nft -P FORWARD ACCEPT; ip6tables-nft -P FORWARD ACCEPT");
    lab.node.run(|| nft.pass_on(&rules)).unwrap();
    assert!(!lab.node.sh("nft list ruleset").contains("rackpool: "));
}

/// Some distributions end the chain with a rule that drops the rest.
#[test]
fn packets_of_pods_pass_where_the_last_rule_drops() {
    let Some(lab) = Lab::new() else { return };
    let mut nft = Nft::default();
    lab.node.sh(
        "iptables-nft -A FORWARD -s 10.82.1.2 -d 10.77.1.2 -j DROP
         iptables-nft -A FORWARD -j REJECT --reject-with icmp-host-prohibited; ip6tables-nft -A FORWARD -j DROP",
    );
    let before = others(&lab.node);
    lab.outside.sh("ip addr add 10.77.1.2/24 dev eth0");
    for _ in 0..2 {
        assert_eq!(lab.node.run(|| nft.pass_on(&lab.rules())).unwrap(), []);
    }
    for at in OUTSIDE {
        lab.pod2.sh(&format!("ping -c 1 -W 5 {at}"));
    }
    // What the administrator forbids stays forbidden.
    lab.pod2.sh("! ping -c 1 -W 1 10.77.1.2");
    lab.node.run(|| nft.remove()).unwrap();
    assert_eq!(others(&lab.node), before);
}

/// What an administrator made is told, and left alone.
#[test]
fn chains_of_administrators_are_told() {
    let Some(lab) = Lab::new() else { return };
    let mut nft = Nft::default();
    lab.node.sh(
        "nft 'table inet site { chain through { type filter hook forward priority 0; policy drop; }; }'
         nft 'table inet wall { chain last { type filter hook forward priority 10; ip daddr 192.0.2.1 accept; reject; }; }'
         iptables-legacy -P FORWARD DROP",
    );
    let before = others(&lab.node);
    let mut told = || -> Vec<String> {
        let told = lab.node.run(|| nft.pass_on(&lab.rules())).unwrap();
        told.iter().map(ToString::to_string).collect()
    };
    let first = told();
    assert_eq!(others(&lab.node), before);
    let begin =
        ["iptables-legacy -S FORWARD", "the chain inet site through drops", "the chain inet wall last drops"];
    assert_eq!(first.len(), begin.len(), "{first:?}");
    for (told, begin) in first.iter().zip(begin) {
        assert!(told.starts_with(begin), "{told}");
    }
    // What they say to do is enough.
    for line in &first {
        lab.node.sh(line.split('`').nth(1).unwrap());
    }
    for at in OUTSIDE {
        lab.pod2.sh(&format!("ping -c 1 -W 5 {at}"));
    }
    assert_eq!(told(), Vec::<String>::new());
}

#[test]
fn a_program_that_is_missing_or_refuses() {
    let Some(space) = Namespace::new() else { return };
    let rules = crate::world::rules_of(&[], filter::Settings::default());
    let error = space.run(|| Nft::new("/nonexistent/nft").keep(&rules)).unwrap_err();
    assert!(matches!(&error, NftError::Missing(_)) && error.to_string().contains("install"), "{error}");
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("nft");
    // Another process writes it: what this one has open for writing cannot be run.
    space.sh(&format!(
        "cat > {0} <<'END'
#!/bin/sh
[ $1 = -f ] || {{ echo 'Error: No such file or directory' >&2; exit 1; }}
echo '/dev/stdin:4:7-9: Error: Could not process rule: Operation not supported' >&2
exit 1
END
chmod 755 {0}",
        program.display()
    ));
    let error = space.run(|| Nft::new(&program).keep(&rules)).unwrap_err().to_string();
    for part in [
        "put the table inet rackpool",
        "Operation not supported",
        "`table inet rackpool {`",
        "nft list ruleset",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

/// By a program that did not put it there, and that changes nothing.
#[test]
fn the_table_is_compared_with_what_is_wanted() {
    let Some(lab) = Lab::new() else { return };
    let rules = lab.rules();
    let compare = |rules: &Rules| lab.node.run(|| Nft::default().compare(rules)).unwrap();
    assert_eq!(compare(&rules), Comparison::Missing);
    lab.keep(&mut Nft::default(), &rules);
    assert_eq!(compare(&rules), Comparison::There(Vec::new()));
    lab.node.sh("nft add chain inet rackpool own; nft add rule inet rackpool own counter");
    let before = lab.node.sh("nft -s -a list ruleset");
    assert_eq!(compare(&rules), Comparison::There(vec!["chain own".to_string()]));
    let mut fewer = rules.clone();
    fewer.pools.truncate(1);
    let Comparison::There(differs) = compare(&fewer) else { panic!("it is there") };
    assert!(
        ["chain own", "chain postrouting"].iter().all(|name| differs.iter().any(|one| one == name)),
        "{differs:?}"
    );
    assert_eq!(lab.node.sh("nft -s -a list ruleset"), before);
}
