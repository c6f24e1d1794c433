//! The fields of the plugins' configuration.

use crate::cell;

/// What each field says, in the order of the page. Fields that say where the store is are in the table of
/// settings.
const FIELDS: &[(&str, &str)] = &[
    ("cniVersion", "version of the protocol: 0.1.0 to 1.0.0"),
    ("name", "the network's name; with the container's it is the handle of its addresses"),
    ("type", "the plugin's program: `calico`, or `calico-ipam` alone beside another main plugin"),
    ("nodename", "this node's name; goes before the file"),
    (
        "nodename_file",
        "file with this node's name, which a node agent writes; by default `/var/lib/calico/nodename`",
    ),
    ("nodename_file_optional", "`true`: without that file the name is the host's"),
    ("hostname", "older name of `nodename`"),
    ("ipam.type", "the IPAM plugin: `calico-ipam`, `host-local` or any other"),
    ("ipam.assign_ipv4", "`\"false\"`: no IPv4 address"),
    ("ipam.assign_ipv6", "`\"true\"`: an IPv6 address, too"),
    ("ipam.ipv4_pools", "pools of the IPv4 address, by name or network; selectors do not count then"),
    ("ipam.ipv6_pools", "pools of the IPv6 address"),
    ("ipam.subnet", "of `host-local`; `usePodCidr` stands for the node's pod CIDR"),
    ("ipam.Name", "has no effect"),
    (
        "ipam_lock_file",
        "file whose lock one call of a host holds at a time; by default `/var/run/calico/ipam.lock`",
    ),
    ("policy.type", "`k8s`: pods' records are Kubernetes' pods, and profiles those of their namespaces"),
    ("container_settings.allow_ip_forwarding", "`true`: the container may pass packets on"),
    ("feature_control.floating_ips", "`true`: pods may ask for floating addresses"),
    ("feature_control.ip_addrs_no_ipam", "refused where it is set, as by Calico"),
    (
        "include_default_routes",
        "`true`: the container's default route is made beside the routes of `host-local`, too",
    ),
    ("mtu", "largest packet of the container; goes before the node agent's file `/var/lib/calico/mtu`"),
    ("require_mtu_file", "`true`: without that file no container starts"),
    ("num_queues", "queues of the container's interface"),
    ("device_type", "kind of the pair of interfaces: `veth` (default) or `netkit`"),
    ("readiness_gates", "URLs that must answer before a container is attached"),
    (
        "require_agent_sync",
        "`true`: no container starts before the node agent has its routes and filter in place since the host's start",
    ),
    ("agent_sync_file", "file by which the agent tells of it; by default `/run/rackpool/synced`"),
    (
        "policy_setup_timeout_seconds",
        "how long ADD waits until Felix has set up a container's policy; 0 for not at all",
    ),
    ("endpoint_status_dir", "folder where Felix tells of it"),
    ("log_level", "`debug`, `info` or `error`"),
    ("log_file_path", "file of the log"),
    ("log_file_max_size", "its size in megabytes before a new one is begun; 100"),
    ("log_file_max_age", "days that old files are kept; 30"),
    ("log_file_max_count", "number of old files; 10"),
    ("args", "labels of a Mesos task"),
    ("prevResult", "what ADD answered; DEL and CHECK are told so by the runtime"),
    ("etcd_authority", "older spelling of `etcd_endpoints`: host and port"),
    ("etcd_scheme", "goes with `etcd_authority`; `http` by default"),
    ("kubernetes.node_name", "has no effect"),
    ("dataplane_options", "refused where it is set: external dataplanes are not supported"),
    ("mode", "of Windows; has no effect"),
    ("vxlan_mac_prefix", "of Windows; has no effect"),
    ("vxlan_vni", "of Windows; has no effect"),
    ("windows_use_single_network", "of Windows: one block for all pods of a node"),
];

pub fn section() -> String {
    let known = cni::conf::fields();
    let of_store: Vec<&str> = setup::spellings().flat_map(|spelling| spelling.cni.iter().copied()).collect();
    for (path, _) in FIELDS {
        assert!(known.iter().any(|(known, _)| known == path), "{path} is no field of the configuration");
    }
    for (path, _) in &known {
        let is_told = of_store.contains(&path.as_str()) || FIELDS.iter().any(|(told, _)| told == path);
        assert!(is_told, "tests/reference/fields.rs says nothing of {path}");
    }
    let mut text = String::from(
        "\n## The plugins' configuration\n\n\
`calico` reads all of these fields; `calico-ipam` those of `ipam`, of the node's name, of the log and of the store. Fields of the store are in the table\n\
[above](#where-the-store-is). A field that neither knows is left alone; one that is nearly the name of a known one is told in the log.\n\n\
| field | type | meaning |\n|---|---|---|\n",
    );
    for (path, meaning) in FIELDS {
        let (_, type_name) = known.iter().find(|(known, _)| known == path).expect("it was found above");
        text.push_str(&format!("| `{path}` | {type_name} | {} |\n", cell(meaning)));
    }
    text
}
