//! What the controllers are to do: from the environment and from the KubeControllersConfiguration `default`.
//! The environment goes before the resource, as with Calico's (`kube-controllers/pkg/config/runconfig.go`).
//! Pure.

mod read;
mod status;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value as Json, json};
use setup::Environment;

use read::Reader;

/// The name of the only KubeControllersConfiguration that counts.
pub const NAME: &str = "default";

/// A controller of Calico's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Controller {
    /// Gives back addresses, blocks and what else is left of nodes and pods that are gone.
    Node,
    /// Gives addresses to Services.
    LoadBalancer,
    /// Copies NetworkPolicies into etcd.
    Policy,
    /// Copies Namespaces into etcd.
    Namespace,
    /// Copies ServiceAccounts into etcd.
    ServiceAccount,
    /// Copies labels of pods into etcd.
    WorkloadEndpoint,
}

impl Controller {
    const ALL: [(Controller, &'static str, &'static str); 6] = [
        (Controller::Node, "node", "node"),
        (Controller::LoadBalancer, "loadbalancer", "loadBalancer"),
        (Controller::Policy, "policy", "policy"),
        (Controller::Namespace, "namespace", "namespace"),
        (Controller::ServiceAccount, "serviceaccount", "serviceAccount"),
        (Controller::WorkloadEndpoint, "workloadendpoint", "workloadEndpoint"),
    ];

    /// The word in `ENABLED_CONTROLLERS`.
    pub fn word(self) -> &'static str {
        Controller::ALL.iter().find(|(one, ..)| *one == self).map_or("", |(_, word, _)| word)
    }

    fn of_word(word: &str) -> Option<Controller> {
        // The old name of the controller of namespaces.
        let word = if word == "profile" { "namespace" } else { word };
        Controller::ALL.iter().find(|(_, known, _)| *known == word).map(|(one, ..)| *one)
    }
}

/// What the controllers are to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether addresses and blocks are given back. (Pools are looked after in any case, as by Calico's.)
    pub collects: bool,
    /// How long an address of a living node must have had no owner; `None` where such addresses stay.
    pub leak_grace: Option<Duration>,
    /// How often everything is looked at, whatever the store tells.
    pub reconciler_period: Duration,
    /// The port of the figures; `None` for no figures.
    pub metrics_port: Option<u16>,
    /// Whether questions about health are answered.
    pub health_checks: bool,
    /// The least severe line of the log, as `tracing` calls it.
    pub log_level: &'static str,
    /// Calico's `FV_TEST`: its collector then does not wait for a DaemonSet calico-node. Ours never waits.
    pub is_test: bool,
}

/// Settings, and what there is to be said about them.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled {
    /// The settings.
    pub settings: Settings,
    /// The `status` of the KubeControllersConfiguration: what is in force, and which variables say so.
    pub status: Json,
    /// What was asked for and is not done, or could not be read.
    pub notes: Vec<String>,
}

/// Why the controllers do not start: a variable of the environment that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// No controller has that name.
    #[error(
        "ENABLED_CONTROLLERS={list}: there is no controller {word:?}; the controllers are node, policy, namespace, serviceaccount, workloadendpoint and loadbalancer. Correct the variable, or remove it: then `calicoctl get kubecontrollersconfiguration default -o yaml` shows what counts"
    )]
    Unknown {
        /// The variable.
        list: String,
        /// The word.
        word: String,
    },
    /// The migration from flannel is asked for.
    #[error(
        "ENABLED_CONTROLLERS={0}: rackpool does not migrate from flannel. Run the migration with Calico's kube-controllers, and then start this program with ENABLED_CONTROLLERS=node"
    )]
    FlannelMigration(String),
    /// The value of a variable makes no sense.
    #[error("{name}={value}: {reason}. Correct the variable, or remove it")]
    Variable {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is wrong, and what is right.
        reason: String,
    },
}

const DEFAULT_GRACE: Duration = Duration::from_secs(15 * 60);
const DEFAULT_PERIOD: Duration = Duration::from_secs(5 * 60);
const DEFAULT_COMPACTION: Duration = Duration::from_secs(10 * 60);
const DEFAULT_METRICS_PORT: u16 = 9094;

/// Settles what is to be done. `spec` is that of the KubeControllersConfiguration; `None` where there is
/// none.
///
/// # Errors
/// For a variable that makes no sense. A field of the resource that makes no sense has its default instead,
/// and a note.
pub fn settle(
    environment: &Environment,
    is_kubernetes: bool,
    spec: Option<&Json>,
) -> Result<Settled, SettingsError> {
    let fallback = default_spec();
    let mut reader = Reader::new(environment, spec.unwrap_or(&fallback));
    let log_level = reader.log_level()?;
    let enabled = reader.enabled()?;
    let is_asked = enabled.contains(&Controller::Node);
    let settings = Settings {
        collects: is_asked,
        leak_grace: Some(reader.duration(&["controllers", "node", "leakGracePeriod"], DEFAULT_GRACE))
            .filter(|grace| !grace.is_zero()),
        reconciler_period: reader.reconciler_period()?,
        metrics_port: reader.metrics_port(),
        health_checks: reader.health_checks()?,
        log_level: log_level.tracing,
        is_test: environment.get("FV_TEST").is_some_and(|value| value.eq_ignore_ascii_case("true")),
    };
    let status = status::status(&mut reader, &settings, log_level, is_kubernetes)?;
    not_done(&mut reader, &enabled);
    Ok(Settled { settings, status, notes: reader.notes })
}

/// Notes what is asked for and not done.
fn not_done(reader: &mut Reader<'_>, enabled: &BTreeSet<Controller>) {
    let others: Vec<&str> =
        enabled.iter().filter(|one| **one != Controller::Node).map(|one| one.word()).collect();
    // On Kubernetes three of them have nothing to do, and Calico's default names all of them.
    if !others.is_empty() && reader.is_in_environment("ENABLED_CONTROLLERS") {
        reader.notes.push(format!(
            "ENABLED_CONTROLLERS names {}, which rackpool does not have: their work is not done",
            others.join(", ")
        ));
    }
    if reader.makes_host_endpoints() {
        reader.notes.push(
            "automatic host endpoints are asked for (controllers.node.hostEndpoint.autoCreate), which rackpool does not make"
                .to_string(),
        );
    }
}

/// The spec with which Calico's kube-controllers create the resource where it is missing.
pub fn default_spec() -> Json {
    json!({
        "logSeverityScreen": "Info",
        "healthChecks": "Enabled",
        "etcdV3CompactionPeriod": "10m0s",
        "controllers": {
            "node": {
                "reconcilerPeriod": "5m0s",
                "syncLabels": "Enabled",
                "hostEndpoint": {"autoCreate": "Disabled", "createDefaultHostEndpoint": "Enabled"},
                "leakGracePeriod": "15m0s",
            },
            "policy": {"reconcilerPeriod": "5m0s"},
            "workloadEndpoint": {"reconcilerPeriod": "5m0s"},
            "serviceAccount": {"reconcilerPeriod": "5m0s"},
            "namespace": {"reconcilerPeriod": "5m0s"},
            "loadBalancer": {"assignIPs": "AllServices"},
        },
    })
}
