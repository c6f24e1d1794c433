//! The plain YAML is what the chart gives, and the chart is one that helm takes.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::path::Path;
use std::process::Command;

use servers::kube_server::{self, programs};

#[test]
fn plain_yaml_is_the_charts() {
    if kube_server::is_left_out() {
        return;
    }
    let out =
        Command::new(env!("CARGO_BIN_EXE_xtask-whole")).args(["manifests", "--check"]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

/// What helm makes of the chart with these values, or its error.
fn template(values: &[&str]) -> Result<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut helm = Command::new(programs::helm().unwrap());
    helm.args(["template", "rackpool", "deploy/chart", "--kube-version", programs::version()])
        .current_dir(root);
    let out = helm.args(values.iter().flat_map(|value| ["--set", value])).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if out.status.success() { Ok(text(out.stdout)) } else { Err(text(out.stderr)) }
}

#[test]
fn values_that_mean_nothing_are_refused() {
    if kube_server::is_left_out() {
        return;
    }
    for (value, named) in [
        ("nodes.logLevel=info", "nodes"),
        ("racks[0].name=0", "cidr"),
        ("platform=kubeadm", "platform"),
        ("apiGroup=projectcalico.org/v2", "apiGroup"),
        ("node.acceptLoss={everything}", "acceptLoss"),
        ("purge=used", "purge"),
    ] {
        let error = template(&[value]).expect_err(value);
        assert!(error.contains(named), "{value}: {error}");
    }
}

#[test]
fn what_values_change() {
    if kube_server::is_left_out() {
        return;
    }
    let group = template(&["apiGroup=projectcalico.org/v3", "namespace.name=net", "platform=k3s"]).unwrap();
    for part in [
        "\"system:serviceaccount:net:rackpoold-node\"",
        "path: /var/lib/rancher/k3s/agent/etc/cni/net.d",
        "name: ipamconfigurations.projectcalico.org",
        "value: projectcalico.org/v3",
    ] {
        assert!(group.contains(part), "{part} is missing");
    }
    for part in ["crd.projectcalico.org", "kube-system", "path: /etc/cni/net.d"] {
        assert!(!group.contains(part), "{part} is there");
    }
    let racks = ["racks[0].name=0", "racks[0].cidr=192.168.0.0/18", "rackLabel=example.org/rack"];
    let racks = template(&racks).unwrap();
    for part in ["name: rack-0-ippool", "nodeSelector: example.org/rack == \"0\"", "--ipv4-cidr=none"] {
        assert!(racks.contains(part), "{part} is missing");
    }
    assert!(
        !racks.contains("kind: IPPool\n") || racks.contains("    kind: IPPool\n"),
        "no template makes a pool"
    );
    let none = template(&["defaultPool.enabled=false"]).unwrap();
    assert!(!none.contains("kind: Job"), "there is nothing to make");
    let mirror = template(&["image.registry=mirror.example/hub/", "image.pullSecrets={one}"]).unwrap();
    assert!(mirror.contains("image: mirror.example/hub/rackpool/calicoctl:"));
    assert_eq!(mirror.matches("imagePullSecrets:").count(), 3);
}

/// Without `purge` nothing of it is there, rights included; with it, the hook removes what the values say.
#[test]
fn a_purge_is_there_only_where_it_is_asked_for() {
    if kube_server::is_left_out() {
        return;
    }
    let kept = template(&[]).unwrap();
    assert!(!kept.contains("calicoctl-purge") && !kept.contains("rackpool-purge"), "{kept}");
    for (values, given, not_given) in [
        (&["purge=true"][..], &["--confirm", "--stop", "--definitions"][..], &["--in-use"][..]),
        (&["purge=in-use"], &["--confirm", "--stop", "--definitions", "--in-use"], &[]),
        (&["purge=true", "crds.install=false", "roles.calicoctl=false"], &["--confirm"], &["--definitions"]),
    ] {
        let text = template(values).unwrap();
        let hook = text.split("\n---\n").find(|one| one.contains("helm.sh/hook: pre-delete")).unwrap();
        for flag in given {
            assert!(hook.contains(&format!("- {flag}\n")), "{values:?} lacks {flag}");
        }
        for flag in not_given {
            assert!(!hook.contains(flag), "{values:?} has {flag}");
        }
        assert!(hook.contains("serviceAccountName: rackpool-purge"));
        assert!(text.contains("kind: ClusterRole\nmetadata:\n  name: calicoctl-purge"), "{values:?}");
        assert_eq!(text.matches("  name: rackpool-purge\n").count(), 4, "account, binding, subject, Job");
    }
}

/// Helm waits for the agents, and an upgrade for each, by this.
#[test]
fn the_agent_says_when_it_is_ready() {
    if kube_server::is_left_out() {
        return;
    }
    let text = template(&[]).unwrap();
    let agent = text.split("\n---\n").find(|one| one.contains("kind: DaemonSet")).unwrap();
    assert!(
        agent.contains("readinessProbe:\n          exec:\n            command: [rackpoold, node, ready]")
    );
}
