//! What objects say of a cluster of Calico's.

use api::crd::Group;
use serde_json::Value as Json;

use super::{Code, Pool, Program, Survey};

/// The fields of Felix's settings that rackpool's node agent reads, or of which there is a finding of its
/// own.
pub(super) const FELIX_FIELDS: [&str; 12] = [
    "vxlanPort",
    "vxlanVNI",
    "natOutgoingExclusions",
    "natOutgoingAddress",
    "natPortRange",
    "iptablesNATOutgoingInterfaceFilter",
    "externalNodesList",
    "allowVXLANPacketsFromWorkloads",
    "allowIPIPPacketsFromWorkloads",
    "wireguardEnabled",
    "wireguardEnabledV6",
    "bpfEnabled",
];

/// The fields of a node that only BGP uses.
const NODES_BGP: [&str; 2] = ["asNumber", "routeReflectorClusterID"];

/// Calico's programs: what each is, its kind's plural, its name, and what nobody knows who may not see it.
pub(super) const WORKLOADS: [(Code, &str, &str, &str); 3] = [
    (Code::NodeAgents, DAEMON_SETS, "calico-node", "which version of Calico's node agent runs"),
    (Code::Controllers, DEPLOYMENTS, "calico-kube-controllers", "whether Calico's kube-controllers run"),
    (Code::Typha, DEPLOYMENTS, "calico-typha", "whether Typha runs"),
];
const DAEMON_SETS: &str = "daemonsets";
const DEPLOYMENTS: &str = "deployments";

pub(super) fn name(object: &Json) -> String {
    object["metadata"]["name"].as_str().unwrap_or("without a name").to_string()
}

/// What the ClusterInformation says. `ours` is the version whose behaviour this program has.
pub(super) fn cluster(survey: &mut Survey, objects: &[Json], ours: &str) {
    let Some(cluster) = objects.iter().find(|object| name(object) == "default") else { return };
    let spec = &cluster["spec"];
    survey.version = spec["calicoVersion"].as_str().filter(|text| !text.is_empty()).map(str::to_string);
    let other = survey.version.iter().filter(|version| *version != ours);
    let other = other.map(|version| format!("{version} in the ClusterInformation, {ours} here")).collect();
    survey.note(Code::Version, other);
    if spec["datastoreReady"] == false {
        survey.note(Code::Locked, vec!["ClusterInformation default (datastoreReady)".to_string()]);
    }
}

/// The workloads of one of Calico's programs.
pub(super) fn programs(survey: &mut Survey, code: Code, plural: &str, objects: &[Json]) {
    let kind = if plural == DAEMON_SETS { "DaemonSet" } else { "Deployment" };
    let mut running = Vec::new();
    for object in objects {
        let own = name(object);
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default().to_string();
        let containers = object["spec"]["template"]["spec"]["containers"].as_array();
        let image = containers.and_then(|all| all.first()).and_then(|one| one["image"].as_str());
        let shown = format!("{kind} {namespace}/{own}");
        survey.programs.push(Program {
            object: shown.clone(),
            namespace,
            name: own,
            image: image.unwrap_or("without an image").to_string(),
        });
        let is_off = plural == DEPLOYMENTS && object["spec"]["replicas"] == 0;
        running.extend((!is_off).then_some(shown));
    }
    survey.note(code, running);
}

/// The pools, and what they need of nodes.
pub(super) fn pools(survey: &mut Survey, objects: &[Json]) {
    let mut pools: Vec<Pool> = objects.iter().map(pool).collect();
    pools.sort_by(|one, other| one.name.cmp(&other.name));
    let of_services = objects.iter().filter(|pool| {
        pool["spec"]["allowedUses"].as_array().is_some_and(|uses| uses.contains(&"LoadBalancer".into()))
    });
    let mut of_services: Vec<String> = of_services.map(|pool| format!("IPPool {}", name(pool))).collect();
    of_services.sort();
    survey.note(Code::LoadBalancer, of_services);
    let with_ipip = pools.iter().filter(|pool| pool.encapsulation.starts_with("IPIP"));
    survey.note(Code::Ipip, with_ipip.map(|pool| format!("IPPool {}", pool.name)).collect());
    survey.note(Code::Pools, pools.iter().map(|pool| format!("{} {}", pool.name, pool.cidr)).collect());
    survey.pools = pools;
}

fn pool(object: &Json) -> Pool {
    let text = |field: &str| object["spec"][field].as_str().unwrap_or_default();
    let is_on = |mode: &&str| !mode.is_empty() && *mode != "Never";
    let vxlan = Some(text("vxlanMode")).filter(is_on).map(|mode| format!("VXLAN {mode}"));
    let ipip = Some(text("ipipMode")).filter(is_on).map(|mode| format!("IPIP {mode}"));
    let selector = Some(text("nodeSelector")).filter(|text| !text.is_empty());
    Pool {
        name: name(object),
        cidr: text("cidr").to_string(),
        encapsulation: vxlan.or(ipip).unwrap_or_else(|| "none".to_string()),
        node_selector: selector.unwrap_or("all()").to_string(),
    }
}

/// The fields of settings, but for these, each with its object.
fn fields(kind: &str, objects: &[Json], but: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for object in objects {
        let all = object["spec"].as_object().into_iter().flatten().map(|(field, _)| field);
        let others = all.filter(|field| !but.contains(&field.as_str()));
        found.extend(others.map(|field| format!("{kind} {} ({field})", name(object))));
    }
    found
}

/// The fields of Felix's settings that are not read.
pub(super) fn felix(survey: &mut Survey, objects: &[Json]) {
    let mut found = fields("FelixConfiguration", objects, &FELIX_FIELDS);
    found.sort();
    survey.note(Code::FelixSettings, found);
}

/// The settings of BGP, of the cluster and of single nodes. Whether BGP is in use is another finding.
pub(super) fn bgp(survey: &mut Survey, settings: &[Json], nodes: &[Json]) {
    let mut found = fields("BGPConfiguration", settings, &["nodeToNodeMeshEnabled"]);
    for node in nodes {
        let fields = NODES_BGP.iter().filter(|field| !node["spec"]["bgp"][**field].is_null());
        found.extend(fields.map(|field| format!("Node {} ({field})", name(node))));
    }
    found.sort();
    survey.note(Code::BgpSettings, found);
}

/// Custom resources in another group than the one that the chart takes where nobody says anything.
pub(super) fn group(survey: &mut Survey) {
    let other = survey.api_version.iter().filter(|version| *version != Group::V1.api_version());
    let other = other.cloned().collect();
    survey.note(Code::ApiGroup, other);
}

/// How leaked addresses come back.
pub(super) fn controllers(survey: &mut Survey, objects: &[Json]) {
    let Some(settings) = objects.iter().find(|object| name(object) == "default") else { return };
    let grace = settings["spec"]["controllers"]["node"]["leakGracePeriod"].as_str().unwrap_or("15m");
    survey.note(
        Code::LeakCollection,
        vec![format!("KubeControllersConfiguration default (leakGracePeriod {grace})")],
    );
}
