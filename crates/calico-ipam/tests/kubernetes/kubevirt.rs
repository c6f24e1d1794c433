//! Virtual machines as objects of KubeVirt's kinds, without KubeVirt itself.

use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::fixture::{Cluster, GROUP, cluster};

const KINDS: [(&str, &str); 2] =
    [("virtualmachines", "VirtualMachine"), ("virtualmachineinstances", "VirtualMachineInstance")];
/// A finalizer that keeps a deleted object, with its time of deletion.
const FINALIZER: &str = "kubevirt.io/test";

static IS_INSTALLED: OnceLock<()> = OnceLock::new();

/// A cluster in which tests make virtual machines, in the namespace `default`. Each test finds it without
/// machines.
pub struct Kubevirt {
    pub cluster: Cluster,
}

/// The cluster; `None` where tests with Kubernetes are left out.
pub fn kubevirt() -> Option<Kubevirt> {
    let kubevirt = Kubevirt { cluster: cluster()? };
    IS_INSTALLED.get_or_init(|| kubevirt.install());
    for (plural, _) in KINDS {
        for name in kubevirt.names(plural) {
            kubevirt.end(plural, &name);
        }
    }
    kubevirt.cluster.kubectl(&["delete", "--raw", "/api/v1/namespaces/default/pods"]);
    Some(kubevirt)
}

impl Kubevirt {
    fn install(&self) {
        let definitions = KINDS.map(|(plural, kind)| {
            let names = json!({"plural": plural, "singular": kind.to_lowercase(), "kind": kind});
            let schema =
                json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
            json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": format!("{plural}.kubevirt.io")},
                "spec": {"group": "kubevirt.io", "scope": "Namespaced", "names": names,
                    "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}]}})
        });
        self.cluster.apply(&definitions);
        let is_served = |plural: &str| {
            let list = format!("/apis/kubevirt.io/v1/{plural}");
            self.cluster.server.kubectl(&["get", "--raw", &list]).output().unwrap().status.success()
        };
        // The API server serves new kinds only some time after they were defined.
        while !KINDS.iter().all(|(plural, _)| is_served(plural)) {
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn names(&self, plural: &str) -> Vec<String> {
        let path = format!("/apis/kubevirt.io/v1/{plural}");
        let list: Json = serde_json::from_str(&self.cluster.kubectl(&["get", "--raw", &path])).unwrap();
        let items = list["items"].as_array().unwrap();
        items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_string()).collect()
    }

    fn make(&self, kind: &str, metadata: Json) -> Json {
        let object = json!({"apiVersion": "kubevirt.io/v1", "kind": kind, "metadata": metadata});
        self.cluster.create(&[object]);
        let name = metadata["name"].as_str().unwrap();
        let made = self.cluster.kubectl(&["get", &format!("{kind}.kubevirt.io"), name, "-o", "json"]);
        serde_json::from_str::<Json>(&made).unwrap()["metadata"]["uid"].clone()
    }

    /// Creates a machine. Gives its UID.
    pub fn machine(&self, name: &str) -> Json {
        self.make("VirtualMachine", json!({"name": name, "finalizers": [FINALIZER]}))
    }

    /// Creates an instance of a machine, or of none. Gives its UID.
    pub fn instance(&self, name: &str, machine: Option<&Json>) -> Json {
        let owner = |uid: &Json| json!({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "name": name, "uid": uid, "controller": true});
        let owners: Vec<Json> = machine.map(owner).into_iter().collect();
        let metadata = json!({"name": name, "finalizers": [FINALIZER], "ownerReferences": owners});
        self.make("VirtualMachineInstance", metadata)
    }

    /// Creates a pod that runs an instance, or that is the target of an instance's migration.
    pub fn launcher(&self, pod: &str, instance: (&str, &Json), migration: Option<&str>) {
        let (name, uid) = instance;
        let owner = json!({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "name": name, "uid": uid, "controller": true});
        let labels = migration.map_or(json!({}), |uid| json!({"kubevirt.io/migrationJobUID": uid}));
        self.pod(json!({"name": pod, "labels": labels, "ownerReferences": [owner]}));
    }

    /// Creates a pod with that metadata.
    pub fn pod(&self, metadata: Json) {
        let spec = json!({"containers": [{"name": "c", "image": "none"}]});
        self.cluster
            .create(&[json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})]);
    }

    /// Creates a machine that runs in that pod. Gives the UIDs of machine and instance.
    pub fn running(&self, name: &str, pod: &str) -> (Json, Json) {
        let machine = self.machine(name);
        let instance = self.instance(name, Some(&machine));
        self.launcher(pod, (name, &instance), None);
        (machine, instance)
    }

    /// Deletes an object that has a finalizer: it stays, with a time of deletion.
    pub fn delete(&self, plural: &str, name: &str) {
        self.cluster.kubectl(&["delete", &format!("{plural}.kubevirt.io"), name, "--wait=false"]);
    }

    /// Removes an object for good.
    pub fn end(&self, plural: &str, name: &str) {
        let kind = format!("{plural}.kubevirt.io");
        self.delete(plural, name);
        let patch = r#"{"metadata": {"finalizers": null}}"#;
        self.cluster.kubectl(&["patch", &kind, name, "--type=merge", "-p", patch]);
    }

    pub fn delete_pod(&self, name: &str) {
        self.cluster.kubectl(&["delete", "pod", name, "--grace-period=0", "--force"]);
    }

    /// The handle of every address in use, with the pods of its active and its alternate owner.
    pub fn owners(&self) -> Vec<(String, String, String)> {
        let blocks = self.cluster.objects("ipamblocks");
        let mut owners = Vec::new();
        for spec in blocks.iter().map(|block| &block["spec"]) {
            for index in spec["allocations"].as_array().unwrap().iter().filter_map(Json::as_u64) {
                let attribute = &spec["attributes"][index as usize];
                let text = |value: &Json| value.as_str().unwrap_or_default().to_string();
                let owner = |slot: &str| text(&attribute[slot]["pod"]);
                owners.push((
                    text(&attribute["handle_id"]),
                    owner("secondary"),
                    owner("alternateOwnerAttrs"),
                ));
            }
        }
        owners
    }

    /// Does what Felix does at the end of a migration: exchanges the active and the alternate owner.
    pub fn promote(&self) {
        for mut block in self.cluster.objects("ipamblocks") {
            for attribute in block["spec"]["attributes"].as_array_mut().unwrap() {
                let (old, new) = (attribute["secondary"].clone(), attribute["alternateOwnerAttrs"].clone());
                if new.is_object() {
                    attribute["secondary"] = new;
                    attribute["alternateOwnerAttrs"] = if old.is_object() { old } else { json!({}) };
                }
            }
            let change =
                json!([{"op": "replace", "path": "/spec/attributes", "value": block["spec"]["attributes"]}]);
            let name = block["metadata"]["name"].as_str().unwrap();
            let kind = format!("ipamblocks.{GROUP}");
            self.cluster.kubectl(&["patch", &kind, name, "--type=json", "-p", &change.to_string()]);
        }
    }
}
