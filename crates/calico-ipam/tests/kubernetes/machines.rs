//! The addresses of virtual machines.

use serde_json::json;

use crate::fixture::{GROUP, Host, PLUGIN, TRAINEE, node, pod, pool};
use crate::harness::{self, Answer, Machine, addr};
use crate::kubevirt::{Kubevirt, kubevirt};

const HANDLE: &str = "net.vmi.default.vm";

fn start() -> Option<(Kubevirt, Host, Host)> {
    let kubevirt = kubevirt()?;
    kubevirt.cluster.apply(&[node("n1"), node("n2"), pool("p", "10.0.0.0/16", json!({}))]);
    let hosts = ["n1", "n2"].map(|name| Host::new(&kubevirt.cluster, name, PLUGIN));
    let [first, second] = hosts;
    Some((kubevirt, first, second))
}

/// Calls the program for a machine's pod. The container has the same name as the pod.
fn run(host: &Host, command: &str, name: &str) -> Answer {
    host.run_with(command, &format!("c-{name}"), &pod("default", &format!("virt-launcher-{name}")))
}

fn del(host: &Host, name: &str) {
    let answer = run(host, "DEL", name);
    assert_eq!((answer.code, answer.stdout.as_str()), (Some(0), ""), "{answer:?}");
}

fn owned(handle: &str, active: &str, alternate: &str) -> Vec<(String, String, String)> {
    let launcher = |name: &str| match name {
        "" => String::new(),
        name => format!("virt-launcher-{name}"),
    };
    vec![(handle.to_string(), launcher(active), launcher(alternate))]
}

fn nothing_is_left(kubevirt: &Kubevirt) {
    assert_eq!((kubevirt.owners(), kubevirt.cluster.objects("ipamhandles").len()), (vec![], 0));
}

#[test]
fn a_machine_keeps_its_address_from_pod_to_pod() {
    let Some((kubevirt, first, second)) = start() else { return };
    let (machine, instance) = kubevirt.running("vm", "virt-launcher-a");
    let answer = run(&first, "ADD", "a");
    let address = answer.addresses().remove(0);
    // As with the first address of any pod, the prefix length is that of the block.
    assert!(address.ends_with("/28"), "{address}");
    assert_eq!(answer.json()["routes"], json!([{"dst": address}]));
    let attribute = &kubevirt.cluster.objects("ipamblocks")[0]["spec"]["attributes"][0];
    let owner = &attribute["secondary"];
    assert_eq!(attribute["handle_id"], HANDLE);
    assert_eq!(
        (&owner["vmi-name"], &owner["vmi-uid"], &owner["vm-uid"]),
        (&json!("vm"), &instance, &machine)
    );
    assert_eq!((&owner["pod"], &owner["node"]), (&json!("virt-launcher-a"), &json!("n1")));

    // The runtime repeats the ADD.
    let host_address = format!("{}/32", addr(&address));
    assert_eq!(run(&first, "ADD", "a").addresses(), [host_address.as_str()]);
    del(&first, "a");
    del(&first, "a");
    assert_eq!(kubevirt.owners(), owned(HANDLE, "", ""));
    kubevirt.delete_pod("virt-launcher-a");

    // The machine is restarted on another node.
    kubevirt.end("virtualmachineinstances", "vm");
    let instance = kubevirt.instance("vm", Some(&machine));
    kubevirt.launcher("virt-launcher-b", ("vm", &instance), None);
    let answer = run(&second, "ADD", "b");
    assert_eq!(answer.addresses(), [host_address.as_str()]);
    assert_eq!(answer.json()["routes"], json!([{"dst": host_address}]));
    let block = &kubevirt.cluster.objects("ipamblocks")[0]["spec"];
    let owner = &block["attributes"][0]["secondary"];
    assert_eq!((&owner["node"], &owner["vmi-uid"]), (&json!("n2"), &instance));
    assert_eq!(kubevirt.owners(), owned(HANDLE, "b", ""));
    // The DEL of the former pod does not affect the machine.
    del(&first, "a");
    assert_eq!(kubevirt.owners(), owned(HANDLE, "b", ""));

    // Another machine gets another address. For a pod that runs no machine, KubeVirt is not asked.
    kubevirt.running("other", "virt-launcher-other");
    assert_ne!(addr(&run(&first, "ADD", "other").addresses()[0]), addr(&host_address));
    let (answer, requests) = kubevirt.cluster.counted(|| first.run_with("ADD", "c1", &pod("default", "web")));
    assert_eq!(answer.addresses().len(), 1);
    assert!(!requests.iter().any(|request| request.uri.contains("/pods/")), "{requests:?}");
}

#[test]
fn a_machine_moves_while_it_runs() {
    let Some((kubevirt, first, second)) = start() else { return };
    let (_, instance) = kubevirt.running("vm", "virt-launcher-a");
    // The instance migrates to another pod.
    kubevirt.launcher("virt-launcher-b", ("vm", &instance), Some("m1"));
    let nothing = format!("migration target pod but no IP allocated to VM handle {HANDLE}");
    assert_eq!(run(&second, "ADD", "b").error(), (999, nothing));
    nothing_is_left(&kubevirt);

    let address = format!("{}/32", addr(&run(&first, "ADD", "a").addresses()[0]));
    let answer = run(&second, "ADD", "b");
    assert_eq!(answer.json(), json!({"cniVersion": "1.0.0", "ips": [{"address": address}]}));
    assert_eq!(kubevirt.owners(), owned(HANDLE, "a", "b"));
    let attribute = &kubevirt.cluster.objects("ipamblocks")[0]["spec"]["attributes"][0];
    assert_eq!(attribute["alternateOwnerAttrs"]["vmim-uid"], "m1");
    assert_eq!(attribute["alternateOwnerAttrs"]["node"], "n2");
    // The migration fails: its target pod is removed, and another migration begins.
    del(&second, "b");
    assert_eq!(kubevirt.owners(), owned(HANDLE, "a", ""));
    kubevirt.launcher("virt-launcher-c", ("vm", &instance), Some("m2"));
    assert_eq!(run(&second, "ADD", "c").addresses(), [address.as_str()]);

    // The migration ends, and then the source pod is removed.
    kubevirt.promote();
    assert_eq!(kubevirt.owners(), owned(HANDLE, "c", "a"));
    del(&first, "a");
    assert_eq!(kubevirt.owners(), owned(HANDLE, "c", ""));
    // The machine moves back. This time the source pod is removed before Felix has seen the end of the
    // migration.
    kubevirt.launcher("virt-launcher-d", ("vm", &instance), Some("m3"));
    assert_eq!(run(&first, "ADD", "d").addresses(), [address.as_str()]);
    del(&second, "c");
    assert_eq!(kubevirt.owners(), owned(HANDLE, "", "d"));
    kubevirt.promote();
    assert_eq!(kubevirt.owners(), owned(HANDLE, "d", ""));
    assert_eq!(kubevirt.cluster.objects("ipamhandles").len(), 1);

    // An older version of the protocol has other forms of the answer.
    let old = Host::new(&kubevirt.cluster, "n1", PLUGIN).with("cniVersion", json!("0.2.0"));
    let answer = run(&old, "ADD", "d");
    assert_eq!(answer.json(), json!({"cniVersion": "0.2.0", "ip4": {"ip": address}, "dns": {}}));
}

#[test]
fn the_last_pod_of_a_machine_that_is_deleted_gives_its_addresses_back() {
    let Some((kubevirt, _, _)) = start() else { return };
    kubevirt.cluster.apply(&[pool("six", "fd00::/64", json!({}))]);
    let dual = json!({"type": "calico-ipam", "assign_ipv6": "true"});
    let [first, second] =
        ["n1", "n2"].map(|name| Host::new(&kubevirt.cluster, name, PLUGIN).with("ipam", dual.clone()));
    let (_, instance) = kubevirt.running("vm", "virt-launcher-a");
    kubevirt.launcher("virt-launcher-b", ("vm", &instance), Some("m1"));
    let addresses = run(&first, "ADD", "a").addresses();
    let hosts = [format!("{}/32", addr(&addresses[0])), format!("{}/128", addr(&addresses[1]))];
    assert_eq!(run(&second, "ADD", "b").addresses(), hosts);
    kubevirt.delete("virtualmachines", "vm");
    // The target pod still has the addresses.
    del(&first, "a");
    let one = owned(HANDLE, "", "b").remove(0);
    assert_eq!(kubevirt.owners(), [one.clone(), one]);
    del(&second, "b");
    nothing_is_left(&kubevirt);

    // An instance that belongs to no machine.
    let instance = kubevirt.instance("alone", None);
    kubevirt.launcher("virt-launcher-alone", ("alone", &instance), None);
    assert_eq!(run(&first, "ADD", "alone").addresses().len(), 2);
    del(&first, "alone");
    assert_eq!(kubevirt.owners().len(), 2);
    kubevirt.delete("virtualmachineinstances", "alone");
    del(&first, "alone");
    nothing_is_left(&kubevirt);
}

/// With Calico, such a DEL fails for ever.
#[test]
fn what_is_gone_already_keeps_no_pod() {
    let Some((kubevirt, first, _)) = start() else { return };
    let (machine, _) = kubevirt.running("vm", "virt-launcher-a");
    assert_eq!(run(&first, "ADD", "a").addresses().len(), 1);
    kubevirt.end("virtualmachineinstances", "vm");
    let missing = r#"failed to get VMI info: failed to query VMI resource default/vm: virtualmachineinstances.kubevirt.io "vm" not found"#;
    assert_eq!(run(&first, "ADD", "a").error(), (999, missing.to_string()));
    // The machine itself exists.
    del(&first, "a");
    assert_eq!(kubevirt.owners(), owned(HANDLE, "", ""));
    // The machine runs as another instance, to which the pod does not belong.
    let instance = kubevirt.instance("vm", Some(&machine));
    let answer = run(&first, "ADD", "a");
    answer.says(&[
        "failed to get VMI info: VMI UID mismatch: pod ownerReference has ",
        " but VMI resource has ",
    ]);
    answer.says(&[instance.as_str().unwrap()]);
    del(&first, "a");
    assert_eq!(kubevirt.owners(), owned(HANDLE, "", ""));
    kubevirt.end("virtualmachineinstances", "vm");
    kubevirt.end("virtualmachines", "vm");
    del(&first, "a");
    nothing_is_left(&kubevirt);

    // Nothing is known about a pod that is gone, so only the addresses of its container are released.
    kubevirt.pod(json!({"name": "virt-launcher-like"}));
    assert_eq!(run(&first, "ADD", "like").addresses().len(), 1);
    assert_eq!(kubevirt.owners(), owned("net.c-like", "like", ""));
    kubevirt.delete_pod("virt-launcher-like");
    let gone = (999, "failed to get VMI info: pod not found".to_string());
    assert_eq!(run(&first, "ADD", "like").error(), gone);
    del(&first, "like");
    nothing_is_left(&kubevirt);
}

#[test]
fn machines_that_keep_nothing() {
    let Some((kubevirt, first, second)) = start() else { return };
    let config = |persistence: &str| {
        let spec = json!({"strictAffinity": false, "autoAllocateBlocks": true, "kubeVirtVMAddressPersistence": persistence});
        json!({"apiVersion": format!("{GROUP}/v1"), "kind": "IPAMConfig", "metadata": {"name": "default"}, "spec": spec})
    };
    kubevirt.cluster.apply(&[config("Disabled")]);
    let (_, instance) = kubevirt.running("vm", "virt-launcher-a");
    kubevirt.launcher("virt-launcher-b", ("vm", &instance), Some("m1"));
    assert!(run(&first, "ADD", "a").addresses()[0].ends_with("/28"));
    assert_eq!(kubevirt.owners(), owned("net.c-a", "a", ""));
    let refused = "live migration target pod is not allowed when KubeVirtVMAddressPersistence is disabled";
    assert_eq!(run(&second, "ADD", "b").error(), (999, refused.to_string()));
    // An address that was assigned then is released, whatever the configuration says now.
    kubevirt.cluster.apply(&[config("Enabled")]);
    del(&first, "a");
    nothing_is_left(&kubevirt);
    assert_eq!(run(&first, "ADD", "a").addresses().len(), 1);
    kubevirt.cluster.apply(&[config("Disabled")]);
    del(&first, "a");
    assert_eq!(kubevirt.owners(), owned(HANDLE, "", ""));
}

/// A request that was interrupted between its writes has counted an address that it did not get. With Calico,
/// no pod of the machine could ever get an address again.
#[test]
fn a_count_that_is_too_high_keeps_nobody_from_a_first_address() {
    let Some((kubevirt, first, _)) = start() else { return };
    kubevirt.running("vm", "virt-launcher-a");
    kubevirt.cluster.apply(&[
        json!({"apiVersion": format!("{GROUP}/v1"), "kind": "IPAMHandle", "metadata": {"name": HANDLE},
        "spec": {"handleID": HANDLE, "block": {"10.0.0.0/28": 1}, "deleted": false}}),
    ]);
    assert_eq!(run(&first, "ADD", "a").addresses().len(), 1);
    assert_eq!(kubevirt.owners(), owned(HANDLE, "a", ""));
    let counted = &kubevirt.cluster.objects("ipamhandles")[0]["spec"]["block"];
    let counts: Vec<_> = counted.as_object().unwrap().values().collect();
    assert_eq!(counts, [&json!(1)]);
}

#[test]
fn an_address_by_name_is_a_machines_first_one_only() {
    let Some((kubevirt, first, _)) = start() else { return };
    kubevirt.running("vm", "virt-launcher-a");
    let named = |ip: &str| {
        let args = format!("{};IP={ip}", pod("default", "virt-launcher-a"));
        first.run_with("ADD", "c-a", &args).addresses()
    };
    assert_eq!(named("10.0.0.7"), ["10.0.0.7/32"]);
    assert_eq!(named("10.0.0.8"), ["10.0.0.7/32"]);
    assert_eq!(kubevirt.owners(), owned(HANDLE, "a", ""));
}

#[test]
fn what_kubernetes_does_not_tell() {
    let Some((kubevirt, first, _)) = start() else { return };
    kubevirt.running("vm", "virt-launcher-a");
    kubevirt.cluster.give_trainee("virtualmachineinstances", &["list"]);
    let trainee = Host::new(&kubevirt.cluster, "n1", TRAINEE);
    for command in ["ADD", "DEL"] {
        let message = run(&trainee, command, "a").says(&[
            r#"Give trainee a role with the rule {apiGroups: ["kubevirt.io"], resources: ["virtualmachineinstances"], verbs: ["get"]}"#,
        ]);
        assert!(message.starts_with("failed to get VMI info: "), "{message}");
    }
    nothing_is_left(&kubevirt);
    // A handle that cannot be the name of an object.
    let long = "x".repeat(120);
    kubevirt.running(&long, "virt-launcher-long");
    run(&first, "ADD", "long").says(&["cannot keep its addresses", "an IPAMHandle called", "shorter name"]);
    del(&first, "long");
    nothing_is_left(&kubevirt);
}

/// Kubernetes has the objects of the machines; all other records are in another store.
#[test]
fn machines_beside_other_stores() {
    let Some((kubevirt, _, _)) = start() else { return };
    let machine =
        Machine::new(&[harness::node("n1", json!({})), harness::pool("p", "10.9.0.0/16", json!({}))]);
    let kubernetes = json!({"kubeconfig": kubevirt.cluster.server.kubeconfig_of(PLUGIN)});
    let conf = machine.conf(json!({"kubernetes": kubernetes, "policy": {"type": "k8s"}}));
    let (_, instance) = kubevirt.running("vm", "virt-launcher-a");
    kubevirt.launcher("virt-launcher-b", ("vm", &instance), Some("m1"));
    let run = |command: &str, name: &str| {
        machine.run_with(command, name, &pod("default", &format!("virt-launcher-{name}")), &conf)
    };
    let address = addr(&run("ADD", "a").addresses()[0]);
    assert_eq!(run("ADD", "b").addresses(), [format!("{address}/32")]);
    assert_eq!(run("DEL", "a").code, Some(0));
    assert_eq!(machine.taken(), [(address, HANDLE.to_string())].into());
    kubevirt.delete("virtualmachines", "vm");
    assert_eq!(run("DEL", "b").code, Some(0));
    assert!(machine.taken().is_empty() && machine.counted().is_empty());
    // If the configuration names no Kubernetes, the machine's pod is treated like any other.
    let args = pod("default", "virt-launcher-a");
    assert_eq!(machine.run("ADD", "a", &args).addresses().len(), 1);
    assert_eq!(machine.taken().into_values().collect::<Vec<_>>(), ["net.a"]);
}
