//! Pods, attached and taken down by the plugins as a runtime calls them.

use std::io::Write;
use std::net::IpAddr;
use std::process::{Command, Stdio};

use serde_json::{Value as Json, json};

use crate::namespace::Namespace;
use crate::world::{World, path, program};

/// A pod that runs.
pub struct Pod {
    pub name: String,
    /// The number of its node.
    pub node: usize,
    pub inside: Namespace,
    pub addresses: Vec<IpAddr>,
    configuration: Json,
}

impl Pod {
    /// Attaches a pod to a node.
    pub fn attach(world: &World, node: usize, name: &str) -> Pod {
        Pod::try_attach(world, node, name, &json!({})).unwrap_or_else(|said| panic!("ADD of {name}: {said}"))
    }

    /// Attaches a pod to a node, by a network configuration with these fields besides the usual ones. Gives
    /// what the plugin said if it refused.
    pub fn try_attach(world: &World, node: usize, name: &str, more: &Json) -> Result<Pod, String> {
        let on = &world.nodes[node];
        let mut configuration = json!({
            "cniVersion": "1.0.0",
            "name": "k8s-pod-network",
            "type": "calico",
            "nodename": on.name,
            "nodename_file_optional": true,
            "datastore_type": "embedded",
            "rackpool_db": world.store_file(),
            "ipam_lock_file": world.node_folder(on).join("ipam.lock"),
            "ipam": {
                "type": "calico-ipam",
                "assign_ipv4": world.families.has_v4().to_string(),
                "assign_ipv6": world.families.has_v6().to_string(),
            },
        });
        for (field, value) in more.as_object().unwrap() {
            configuration[field] = value.clone();
        }
        let mut pod = Pod {
            name: name.to_string(),
            node,
            inside: Namespace::new().unwrap(),
            addresses: Vec::new(),
            configuration,
        };
        let result = pod.call(world, "ADD")?;
        let result: Json = serde_json::from_str(&result).unwrap();
        let ips = result["ips"].as_array().unwrap().iter();
        let address = |ip: &Json| ip["address"].as_str().unwrap().split('/').next().unwrap().parse().unwrap();
        pod.addresses = ips.map(address).collect();
        Ok(pod)
    }

    /// Takes the pod down.
    pub fn delete(self, world: &World) {
        self.call(world, "DEL").unwrap_or_else(|said| panic!("DEL of {}: {said}", self.name));
    }

    fn call(&self, world: &World, verb: &str) -> Result<String, String> {
        let plugin = program("calico");
        let folder = plugin.parent().unwrap();
        let arguments = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={}", self.name);
        let mut command = Command::new(&plugin);
        command.env_clear().current_dir(world.folder.path());
        command.env("PATH", path());
        command.env("CNI_COMMAND", verb).env("CNI_CONTAINERID", format!("{:0>16}", self.name));
        command.env("CNI_NETNS", self.inside.path()).env("CNI_IFNAME", "eth0");
        command.env("CNI_PATH", folder).env("CNI_ARGS", arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = world.nodes[self.node].host.run(|| command.spawn().unwrap());
        child.stdin.take().unwrap().write_all(self.configuration.to_string().as_bytes()).unwrap();
        let out = child.wait_with_output().unwrap();
        let said = String::from_utf8(out.stdout).unwrap();
        match out.status.success() {
            true => Ok(said),
            false => Err(format!("{said}{}", String::from_utf8_lossy(&out.stderr))),
        }
    }

    /// The pod's address of a family.
    pub fn address(&self, is_v4: bool) -> String {
        self.addresses.iter().find(|addr| addr.is_ipv4() == is_v4).unwrap().to_string()
    }
}

/// Which of these addresses the pod does not reach, each within 10 seconds.
pub fn not_reached(from: &Namespace, addresses: &[String]) -> Vec<String> {
    let script = format!(
        "for to in {}; do ping -q -n -c 1 -w 10 $to >/dev/null 2>&1 || echo $to; done",
        addresses.join(" ")
    );
    from.sh(&script).lines().map(str::to_string).collect()
}

/// Every pod reaches every address of every other one.
pub fn assert_all_reach_all(world: &World, pods: &[Pod]) {
    let failed: Vec<String> = std::thread::scope(|scope| {
        let check = |from: &Pod| {
            let others = pods.iter().filter(|to| to.name != from.name);
            let all: Vec<String> = others.flat_map(|to| &to.addresses).map(ToString::to_string).collect();
            let failed = not_reached(&from.inside, &all);
            failed.iter().map(|to| format!("{} does not reach {to}", from.name)).collect::<Vec<_>>()
        };
        let checks: Vec<_> = pods.iter().map(|from| scope.spawn(move || check(from))).collect();
        checks.into_iter().flat_map(|check| check.join().unwrap()).collect()
    });
    assert!(failed.is_empty(), "{}\n{}", failed.join("\n"), world.logs());
}
