//! The network's configuration, which a container runtime reads.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use outside::{Limits, Program};
use serde_json::{Value as Json, json};
use setup::{Datastore, Environment};

use super::template::{TemplateError, filled_in};
use super::{Finding, InstallError, Notes, Places, Template, Written, place, put_text};

/// The version of the CNI protocol in which the configuration is written.
const VERSION: &str = "1.0.0";
/// What a plugin may take to say which versions it speaks.
const LIMITS: Limits = Limits { time: Duration::from_secs(5), stdout: 64 << 10, stderr: 1 << 10 };

/// What the network's configuration is made of.
#[derive(Debug)]
pub struct Network<'a> {
    /// The node's name.
    pub node: &'a str,
    /// The store that the plugins use: the agent's own.
    pub datastore: &'a Datastore,
    /// Whether the plugins have a kubeconfig, by which they ask Kubernetes for pods.
    pub has_kubeconfig: bool,
    /// The template.
    pub template: &'a Template,
    /// The environment, which has further values for a template.
    pub environment: &'a Environment,
}

/// Why there is no configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoConflist {
    /// The template is at fault.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The template makes no list of plugins with the plugin `calico` in it.
    #[error(
        "the network's configuration has no field \"plugins\" with a plugin of \"type\": \"calico\": mend CNI_NETWORK_CONFIG or CNI_NETWORK_CONFIG_FILE"
    )]
    NotOurs,
    /// The agent reaches its store by settings that a network's configuration cannot hold.
    #[error(
        "the plugins cannot be told how to reach etcd: a network's configuration has no place for {0}. Give certificates as files (ETCD_CA_CERT_FILE, ETCD_CERT_FILE, ETCD_KEY_FILE), or give the \
         whole configuration by CNI_NETWORK_CONFIG_FILE"
    )]
    NoPlaceFor(&'static str),
}

/// Writes the network's configuration, and then removes the one that it replaces. The agent calls this last,
/// when containers may come. It asks `portmap` which versions it speaks, and may wait for that for seconds.
///
/// # Errors
/// When the configuration cannot be made or written.
pub fn conflist(
    places: &Places,
    notes: &mut Notes,
    network: &Network<'_>,
) -> Result<(Written, Vec<Finding>), InstallError> {
    let mut document = match network.template {
        Template::BuiltIn => built_in(places, network)?,
        Template::Given { text, by } => {
            filled_in(text, by, &words(places, network)).map_err(NoConflist::from)?
        }
    };
    let mut findings = judge(places, &mut document)?;
    let file = places.conflist();
    let written = put_text(notes, &file, 0o600, &format!("{document:#}\n"))?;
    if let Some(former) = &places.former_network {
        let former = places.networks.join(former);
        if place::remove(&former)? {
            tracing::info!(file = %former.display(), "removed the network's former configuration");
            notes.forget(&former)?;
        }
    }
    findings.extend(
        first_network(&places.networks).filter(|first| *first != file).map(|by| Finding::Hidden { by }),
    );
    Ok((written, findings))
}

/// Leaves `portmap` out where it cannot be used. Gives what is missing.
fn judge(places: &Places, document: &mut Json) -> Result<Vec<Finding>, NoConflist> {
    let version = document["cniVersion"].as_str().unwrap_or(VERSION).to_string();
    let plugins = document.get_mut("plugins").and_then(Json::as_array_mut).ok_or(NoConflist::NotOurs)?;
    let ours = plugins.iter().find(|plugin| plugin["type"] == "calico").ok_or(NoConflist::NotOurs)?;
    let mut findings = Vec::new();
    if ours["require_agent_sync"] != true {
        findings.push(Finding::NoAgentSync);
    }
    if find(places, "loopback").is_none() {
        findings.push(Finding::NoLoopback { folders: places.programs.clone() });
    }
    if plugins.iter().any(|plugin| plugin["type"] == "portmap")
        && let Err(reason) = speaks(places, "portmap", &version)
    {
        plugins.retain(|plugin| plugin["type"] != "portmap");
        findings.push(Finding::NoPortmap { reason });
    }
    Ok(findings)
}

fn built_in(places: &Places, network: &Network<'_>) -> Result<Json, NoConflist> {
    let mut calico = json!({
        "type": "calico",
        "datastore_type": network.datastore.type_name(),
        "nodename_file": places.node_name,
        "require_agent_sync": true,
        "ipam": {"type": "calico-ipam"},
    });
    if places.mark != Path::new(setup::DEFAULT_AGENT_SYNC_FILE) {
        calico["agent_sync_file"] = json!(places.mark);
    }
    match network.datastore {
        Datastore::Kubernetes(_) => {}
        Datastore::Embedded { path, .. } => calico["rackpool_db"] = json!(path),
        Datastore::Etcd(settings) => {
            if settings.tls.inline {
                return Err(NoConflist::NoPlaceFor("the text of a key or certificate"));
            }
            if settings.username.is_some() || settings.password.is_some() {
                return Err(NoConflist::NoPlaceFor("a user and a password"));
            }
            let fields = [
                ("etcd_endpoints", Some(settings.endpoints.join(",")).filter(|all| !all.is_empty())),
                ("etcd_discovery_srv", settings.discovery_srv.clone()),
                ("etcd_ca_cert_file", settings.tls.ca.clone()),
                ("etcd_cert_file", settings.tls.cert.clone()),
                ("etcd_key_file", settings.tls.key.clone()),
            ];
            for (field, value) in fields {
                if let Some(value) = value {
                    calico[field] = value.into();
                }
            }
        }
    }
    if network.has_kubeconfig {
        calico["kubernetes"] = json!({"kubeconfig": places.kubeconfig_outside()});
        calico["policy"] = json!({"type": "k8s"});
    }
    let portmap = json!({"type": "portmap", "snat": true, "capabilities": {"portMappings": true}});
    Ok(json!({"name": "k8s-pod-network", "cniVersion": VERSION, "plugins": [calico, portmap]}))
}

/// The words of a template, with their values. Calico's word for a token has none: the token is in the
/// kubeconfig.
fn words(places: &Places, network: &Network<'_>) -> Vec<(&'static str, String)> {
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let said =
        |variable: &str, otherwise: &str| network.environment.get(variable).unwrap_or(otherwise).to_string();
    let (mut endpoints, mut srv, mut tls) = (String::new(), String::new(), setup::TlsSettings::default());
    if let Datastore::Etcd(settings) = network.datastore {
        endpoints = settings.endpoints.join(",");
        srv = settings.discovery_srv.clone().unwrap_or_default();
        tls = settings.tls.clone();
    }
    let file = |file: Option<String>| file.filter(|_| !tls.inline).unwrap_or_default();
    let db = match network.datastore {
        Datastore::Embedded { path: db, .. } => path(db),
        _ => String::new(),
    };
    vec![
        ("KUBERNETES_NODE_NAME", network.node.to_string()),
        ("KUBECONFIG_FILEPATH", path(&places.kubeconfig_outside())),
        ("KUBERNETES_SERVICE_HOST", said("KUBERNETES_SERVICE_HOST", "")),
        ("KUBERNETES_SERVICE_PORT", said("KUBERNETES_SERVICE_PORT", "")),
        ("DATASTORE_TYPE", network.datastore.type_name().to_string()),
        ("ETCD_ENDPOINTS", endpoints),
        ("ETCD_DISCOVERY_SRV", srv),
        ("ETCD_KEY_FILE", file(tls.key.clone())),
        ("ETCD_CERT_FILE", file(tls.cert.clone())),
        ("ETCD_CA_CERT_FILE", file(tls.ca.clone())),
        ("RACKPOOL_DB", db),
        ("NODENAME_FILE", path(&places.node_name)),
        ("AGENT_SYNC_FILE", path(&places.mark)),
        // 0 leaves it to the file that the agent writes.
        ("CNI_MTU", said("CNI_MTU", "0")),
        ("LOG_LEVEL", said("LOG_LEVEL", "info")),
        ("LOG_FILE_PATH", said("LOG_FILE_PATH", "/var/log/calico/cni/cni.log")),
        ("LOG_FILE_MAX_SIZE", said("LOG_FILE_MAX_SIZE", "100")),
        ("LOG_FILE_MAX_AGE", said("LOG_FILE_MAX_AGE", "30")),
        ("LOG_FILE_MAX_COUNT", said("LOG_FILE_MAX_COUNT", "10")),
    ]
}

fn find(places: &Places, plugin: &str) -> Option<PathBuf> {
    places.programs.iter().map(|folder| folder.join(plugin)).find(|file| file.is_file())
}

/// Checks that a plugin can be run and speaks a version of the protocol.
fn speaks(places: &Places, plugin: &str, version: &str) -> Result<(), String> {
    let program = find(places, plugin).ok_or_else(|| format!("{plugin} is not there"))?;
    let wrong = |why: &dyn std::fmt::Display| format!("{} was called with VERSION: {why}", program.display());
    let mut command = Command::new(&program);
    command.env_clear().env("CNI_COMMAND", "VERSION");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let started = Program::start(&mut command).map_err(|error| wrong(&error))?;
    let question = json!({"cniVersion": version}).to_string().into_bytes();
    let heard = started.hear(question, LIMITS).map_err(|error| wrong(&error))?;
    if !heard.status.success() {
        return Err(wrong(&heard.status));
    }
    let answer: Json = serde_json::from_slice(&heard.stdout).unwrap_or_default();
    let versions = answer["supportedVersions"].as_array().ok_or_else(|| wrong(&"it names no versions"))?;
    match versions.iter().any(|known| known == version) {
        true => Ok(()),
        false => Err(wrong(&format_args!("it does not speak version {version} of the protocol"))),
    }
}

/// The network that a container runtime takes from a folder: the first in the order of names.
fn first_network(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_network = |file: &PathBuf| {
        let known = ["conf", "conflist", "json"].map(OsStr::new);
        file.extension().is_some_and(|extension| known.contains(&extension)) && file.is_file()
    };
    files.filter(is_network).min()
}
