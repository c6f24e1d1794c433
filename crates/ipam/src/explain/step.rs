//! A single change that may help a request: as a command, and as something that a trial can suppose.

use api::{IpamConfig, Key, Kind, Metadata, Persistence, Pool, Resource, Use, Value};
use selector::LabelChanges;
use serde_json::{Map, Value as Json, json};

use super::commands::{with_resource, word};
use super::trial::Trial;
use crate::config;

/// A change that may help.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Create the node.
    Node(String),
    /// Change labels of the node.
    LabelNode(LabelChanges),
    /// Change labels of the namespace.
    LabelNamespace(LabelChanges),
    /// Create a pool with this specification.
    CreatePool { name: String, spec: Map<String, Json> },
    /// Change a pool.
    PatchPool(PoolChange),
    /// Let nodes borrow addresses.
    Borrow,
    /// Let a node own so many blocks.
    BlockLimit(i64),
    /// Let nodes claim blocks.
    AutoAllocate(IpamConfig),
}

/// A change of a field of a pool's specification.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolChange {
    pool: String,
    field: &'static str,
    value: Json,
}

impl PoolChange {
    pub(super) fn new(pool: &Pool, field: &'static str, value: Json) -> PoolChange {
        PoolChange { pool: pool.name.clone(), field, value }
    }

    /// Enables the pool; `None` where it is not disabled.
    pub fn enabling(pool: &Pool) -> Option<PoolChange> {
        pool.disabled.then(|| PoolChange::new(pool, "disabled", Json::Bool(false)))
    }

    /// Lets the pool give addresses for a use; `None` where it does, or where the store refuses that change.
    pub fn allowing(pool: &Pool, wanted: Use) -> Option<PoolChange> {
        let is_of_services = pool.allows(Use::LoadBalancer) || wanted == Use::LoadBalancer;
        let has_namespaces = !pool.namespace_selector.as_ref().is_ok_and(selector::Selector::is_all);
        if pool.allows(wanted) || is_of_services || wanted == Use::Tunnel && has_namespaces {
            return None;
        }
        let uses: Vec<&str> = pool.allowed_uses.iter().map(String::as_str).chain([wanted.name()]).collect();
        Some(PoolChange::new(pool, "allowedUses", json!(uses)))
    }

    /// The command that makes the change.
    pub fn command(&self) -> String {
        let patch = json!({"spec": {self.field: self.value}}).to_string();
        format!("calicoctl patch ippool {} --patch {}", word(&self.pool), word(&patch))
    }

    /// The pool after the change.
    pub fn applied_to(&self, pool: &Resource) -> Resource {
        pool.with(|_, body| {
            if let Some(Json::Object(spec)) = body.get_mut("spec") {
                spec.insert(self.field.into(), self.value.clone());
            }
        })
    }
}

impl Step {
    /// The command, or several joined by `&&`.
    pub fn command(&self, trial: &Trial) -> String {
        let kubernetes = trial.question.is_on_kubernetes;
        match self {
            Step::Node(name) => with_resource("create", &manifest(Kind::Node, name, Map::new())),
            Step::LabelNode(changes) => {
                let program = if kubernetes { "kubectl label node" } else { "calicoctl label nodes" };
                let name = &trial.question.request.host;
                let before = trial.node_labels();
                let is_there = |label: &str| before.is_some_and(|labels| labels.contains_key(label));
                label(program, name, changes, kubernetes, is_there)
            }
            Step::LabelNamespace(changes) => {
                let before = trial.question.request.namespace_labels.as_ref();
                let is_there = |label: &str| before.is_some_and(|labels| labels.contains_key(label));
                let name = trial.question.namespace.as_deref().unwrap_or_default();
                label("kubectl label namespace", name, changes, true, is_there)
            }
            Step::CreatePool { name, spec } => {
                with_resource("create", &manifest(Kind::IPPool, name, spec.clone()))
            }
            Step::PatchPool(change) => change.command(),
            Step::Borrow => {
                // A limit on blocks is refused without strict affinity.
                let limited = config::of(&trial.view).max_blocks_per_host > 0;
                let more = if limited { " --max-blocks-per-host=0" } else { "" };
                format!("calicoctl ipam configure --strictaffinity=false{more}")
            }
            Step::BlockLimit(limit) => {
                // A limit other than the default needs strict affinity.
                let strict =
                    if config::of(&trial.view).strict_affinity { "" } else { " --strictaffinity=true" };
                format!("calicoctl ipam configure{strict} --max-blocks-per-host={limit}")
            }
            Step::AutoAllocate(config) => {
                let mut spec = Map::new();
                spec.insert("strictAffinity".into(), config.strict_affinity.into());
                spec.insert("autoAllocateBlocks".into(), true.into());
                spec.insert("maxBlocksPerHost".into(), config.max_blocks_per_host.into());
                spec.insert("ipCooldownSeconds".into(), config.cooldown_seconds.into());
                let persistence = match config.persistence {
                    Some(Persistence::Enabled) => Some("Enabled"),
                    Some(Persistence::Disabled) => Some("Disabled"),
                    _ => None,
                };
                if let Some(persistence) = persistence {
                    spec.insert("kubeVirtVMAddressPersistence".into(), persistence.into());
                }
                with_resource("apply", &manifest(Kind::IPAMConfiguration, "default", spec))
            }
        }
    }

    /// Supposes that the command was run.
    pub fn suppose(&self, trial: &mut Trial) {
        match self {
            Step::Node(_) => trial.suppose_node(),
            Step::LabelNode(changes) => {
                let key = Key::global(Kind::Node, trial.question.request.host.as_str());
                let Some(Some((node, _))) = trial.view.resource(&key) else { return };
                let changed = node.with(|metadata, _| change(&mut metadata.labels, changes));
                trial.suppose(key, Value::Resource(changed));
            }
            Step::LabelNamespace(changes) => {
                change(trial.question.request.namespace_labels.get_or_insert_default(), changes);
            }
            Step::CreatePool { name, spec } => {
                let metadata = Metadata { name: name.clone(), ..Metadata::default() };
                let mut body = Map::new();
                body.insert("spec".into(), Json::Object(spec.clone()));
                let pool = Resource::new(Kind::IPPool, metadata, body);
                trial.suppose(Key::global(Kind::IPPool, name.as_str()), Value::Resource(pool));
            }
            Step::PatchPool(change) => {
                let key = Key::global(Kind::IPPool, change.pool.as_str());
                let Some(Some((pool, _))) = trial.view.resource(&key) else { return };
                trial.suppose(key, Value::Resource(change.applied_to(pool)));
            }
            Step::Borrow => configure(trial, |config| {
                config.strict_affinity = false;
                config.max_blocks_per_host = config.max_blocks_per_host.min(0);
            }),
            Step::BlockLimit(limit) => configure(trial, |config| {
                config.strict_affinity = true;
                config.max_blocks_per_host = *limit;
            }),
            Step::AutoAllocate(_) => configure(trial, |config| config.auto_allocate_blocks = true),
        }
    }
}

fn configure(trial: &mut Trial, change: impl FnOnce(&mut IpamConfig)) {
    let mut config = config::of(&trial.view);
    change(&mut config);
    trial.suppose(Key::IpamConfig, Value::IpamConfig(config));
}

fn change(labels: &mut std::collections::BTreeMap<String, String>, changes: &LabelChanges) {
    for (label, value) in changes {
        match value {
            Some(value) => labels.insert(label.clone(), value.clone()),
            None => labels.remove(label),
        };
    }
}

fn manifest(kind: Kind, name: &str, spec: Map<String, Json>) -> Json {
    json!({
        "apiVersion": api::resource::API_VERSION, "kind": kind.name(), "metadata": {"name": name},
        "spec": spec,
    })
}

/// The commands that change labels of an object, one for each label.
fn label(
    program: &str,
    name: &str,
    changes: &LabelChanges,
    is_kubectl: bool,
    is_there: impl Fn(&str) -> bool,
) -> String {
    let each = changes.iter().map(|(label, value)| match value {
        Some(value) => {
            let replaces = if is_there(label) { " --overwrite" } else { "" };
            format!("{program} {} {}{replaces}", word(name), word(&format!("{label}={value}")))
        }
        None if is_kubectl => format!("{program} {} {}", word(name), word(&format!("{label}-"))),
        None => format!("{program} {} {} --remove", word(name), word(label)),
    });
    each.collect::<Vec<_>>().join(" && ")
}
