//! The pods of all nodes, from the call of the plugin to the last report.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value as Json, json};

use super::super::plugin::{NO_NETNS, Plugin, Sandbox};
use super::api::Api;
use super::{Shared, ended, locked, nodes, now};

/// The pods that are bound to a node.
const BOUND: &str = "/api/v1/pods?fieldSelector=spec.nodeName!%3D";
/// How long to wait before the pods are looked at again.
const PAUSE: Duration = Duration::from_millis(100);
/// The nodes tell that they are alive whenever they have looked so often: every ten seconds. A silence of fifty has pods evicted.
const LOOKS_PER_RENEWAL: u32 = 100;

/// What the nodes know of their pods. They compare again and again what is wanted with what there is; each task leads from one to the other.
pub(super) struct Pods {
    site: Site,
    /// By the UIDs of the pods.
    known: BTreeMap<String, State>,
}

enum State {
    /// A task sets it up, or tears it down and leaves nothing.
    Busy(JoinHandle<Result<Option<Sandbox>>>),
    Running(Sandbox),
}

/// What each task needs.
#[derive(Clone)]
pub(super) struct Site {
    pub(super) api: Api,
    pub(super) plugin: Arc<Plugin>,
    pub(super) shared: Arc<Shared>,
}

impl Pods {
    pub(super) fn new(site: Site) -> Pods {
        Pods { site, known: BTreeMap::new() }
    }

    /// Serves them until the end; ends early when something fails, where a kubelet would try again.
    pub(super) fn serve(mut self, nodes: &[&str]) -> Result<()> {
        let served = self.serve_until_over(nodes);
        let tasks = self.known.into_values().filter_map(|state| match state {
            State::Busy(task) => Some(ended(task)),
            State::Running(_) => None,
        });
        // All are waited for, as they use what goes with the caller.
        let tasks: Vec<_> = tasks.collect();
        served.and(tasks.into_iter().try_for_each(|task| task.map(drop)))
    }

    fn serve_until_over(&mut self, nodes: &[&str]) -> Result<()> {
        for look in 1.. {
            if self.site.shared.is_over.load(Ordering::Relaxed) {
                break;
            }
            if look % LOOKS_PER_RENEWAL == 0 {
                nodes::renew(&self.site.api, nodes)?;
            }
            self.note_what_is_done()?;
            self.look()?;
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn note_what_is_done(&mut self) -> Result<()> {
        let is_done = |state: &State| matches!(state, State::Busy(task) if task.is_finished());
        let done = self.known.iter().filter(|(_, state)| is_done(state)).map(|(uid, _)| uid.clone());
        for uid in done.collect::<Vec<_>>() {
            if let Some(State::Busy(task)) = self.known.remove(&uid)
                && let Some(sandbox) = ended(task)?
            {
                self.known.insert(uid, State::Running(sandbox));
            }
        }
        Ok(())
    }

    fn look(&mut self) -> Result<()> {
        let list = self.site.api.get(BOUND)?;
        let mut listed = BTreeSet::new();
        for pod in list["items"].as_array().context("a list of pods")? {
            let uid = pod["metadata"]["uid"].as_str().context("a pod without a UID")?;
            let is_leaving = !pod["metadata"]["deletionTimestamp"].is_null();
            match self.known.get(uid) {
                None if !is_leaving => self.begin(uid, sandbox(uid, pod)?, Site::set_up),
                None => self.begin(uid, sandbox(uid, pod)?, Site::tear_down),
                Some(State::Running(sandbox)) if is_leaving => {
                    self.begin(uid, sandbox.clone(), Site::tear_down);
                }
                Some(_) => {}
            }
            listed.insert(uid);
        }
        // Pods also go without a word to their nodes.
        let gone = self.known.iter().filter_map(|(uid, state)| match state {
            State::Running(sandbox) if !listed.contains(uid.as_str()) => Some((uid.clone(), sandbox.clone())),
            _ => None,
        });
        for (uid, sandbox) in gone.collect::<Vec<_>>() {
            self.begin(&uid, sandbox, Site::tear_down);
        }
        Ok(())
    }

    fn begin(
        &mut self,
        uid: &str,
        sandbox: Sandbox,
        task: fn(Site, String, Sandbox) -> Result<Option<Sandbox>>,
    ) {
        let (site, own) = (self.site.clone(), uid.to_string());
        let task = std::thread::spawn(move || task(site, own, sandbox));
        self.known.insert(uid.to_string(), State::Busy(task));
    }
}

impl Site {
    fn set_up(self, uid: String, sandbox: Sandbox) -> Result<Option<Sandbox>> {
        let address = self.plugin.add(&sandbox)?;
        self.tell(format!("{}: calico-ipam ADD {}: {address}", sandbox.node, sandbox.pod));
        locked(&self.shared.running).push((sandbox.clone(), address.clone()));
        let ip = address.split('/').next().unwrap_or(&address);
        self.report(&uid, &sandbox, plumbed(ip, &sandbox.container))?;
        self.report(&uid, &sandbox, running(ip))?;
        Ok(Some(sandbox))
    }

    fn tear_down(self, uid: String, sandbox: Sandbox) -> Result<Option<Sandbox>> {
        self.report(&uid, &sandbox, unplumbed())?;
        self.plugin.del(&sandbox)?;
        self.tell(format!("{}: calico-ipam DEL {}", sandbox.node, sandbox.pod));
        locked(&self.shared.running).retain(|(other, _)| other.container != sandbox.container);
        let at_once = json!({ "gracePeriodSeconds": 0, "preconditions": { "uid": uid } });
        self.api.delete(&path(&sandbox), &at_once)?;
        Ok(None)
    }

    fn tell(&self, news: String) {
        locked(&self.shared.news).push(news);
    }

    /// Changes the pod's status subresource, of this very pod.
    fn report(&self, uid: &str, sandbox: &Sandbox, mut change: Json) -> Result<()> {
        change["metadata"]["uid"] = uid.into();
        self.api.patch(&format!("{}/status", path(sandbox)), &change)
    }
}

fn path(sandbox: &Sandbox) -> String {
    format!("/api/v1/namespaces/{}/pods/{}", sandbox.namespace, sandbox.pod)
}

fn sandbox(uid: &str, pod: &Json) -> Result<Sandbox> {
    let text = |value: &Json| value.as_str().map(str::to_string).with_context(|| format!("a pod: {pod}"));
    Ok(Sandbox {
        namespace: text(&pod["metadata"]["namespace"])?,
        pod: text(&pod["metadata"]["name"])?,
        node: text(&pod["spec"]["nodeName"])?,
        // 64 digits, as runtimes make them; a pod has but one sandbox here.
        container: uid.replace('-', "").repeat(2),
        netns: NO_NETNS.to_string(),
    })
}

/// What the main plugin writes when it is through with ADD.
fn plumbed(ip: &str, container: &str) -> Json {
    let network = format!("{ip}/32");
    json!({ "metadata": { "annotations": {
        "cni.projectcalico.org/podIP": network,
        "cni.projectcalico.org/podIPs": network,
        "cni.projectcalico.org/containerID": container,
    }}})
}

/// What it writes first in DEL.
fn unplumbed() -> Json {
    json!({ "metadata": { "annotations": {
        "cni.projectcalico.org/podIP": "",
        "cni.projectcalico.org/podIPs": "",
    }}})
}

/// What a kubelet writes when all containers run.
fn running(ip: &str) -> Json {
    let now = now();
    let condition = |kind| json!({ "type": kind, "status": "True", "lastTransitionTime": now });
    let conditions = ["PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready"].map(condition);
    json!({ "status": {
        "phase": "Running",
        "podIP": ip,
        "podIPs": [{ "ip": ip }],
        "startTime": now,
        "conditions": conditions,
    }})
}
