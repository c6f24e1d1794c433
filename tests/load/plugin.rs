//! The program `calico-ipam` itself: one process for each request, as a container runtime starts it.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use api::HandleId;
use serde_json::{Value as Json, json};

use crate::case::Case;
use crate::environment::{Environment, KubeGroup, Reach, hosts};
use crate::etcd_faults::needs_etcd;
use crate::kubernetes::{self, needs_kubernetes};
use crate::ledger::{Event, Ledger};
use crate::trouble::Trouble;
use crate::worker::{Allocator, Author, Nothing, Request};

/// The folder of the programs to test.
const PROGRAMS: &str = "RACKPOOL_PROGRAMS";
/// The folder of the programs of an older release.
pub const OLDER: &str = "RACKPOOL_OLDER_PROGRAMS";

/// The program, and the store that it is to use.
pub struct Plugin<'a> {
    /// The program; or that of two releases.
    programs: Vec<PathBuf>,
    /// The fields of the network configuration that say where the store is.
    datastore: Json,
    ledger: &'a Ledger,
}

impl<'a> Plugin<'a> {
    pub fn new(author: Author, reach: &Reach, ledger: &'a Ledger) -> Plugin<'a> {
        let folders = if author == Author::TwoReleases { &[PROGRAMS, OLDER][..] } else { &[PROGRAMS] };
        let program = |folder| {
            PathBuf::from(std::env::var_os(folder).expect("a folder of programs")).join("calico-ipam")
        };
        let datastore = match reach {
            Reach::Etcd { endpoints, first } => {
                let mut urls: Vec<_> = endpoints.iter().map(|address| format!("http://{address}")).collect();
                let first = first % urls.len();
                urls.rotate_left(first);
                json!({"datastore_type": "etcdv3", "etcd_endpoints": urls.join(",")})
            }
            Reach::Embedded { path } => json!({"datastore_type": "embedded", "rackpool_db": path}),
            Reach::Kubernetes { kubeconfig, group } => json!({
                "datastore_type": "kubernetes",
                "kubernetes": {"kubeconfig": kubeconfig},
                "calico_api_group": group.text(),
                "policy": {"type": "k8s"},
            }),
        };
        Plugin { programs: folders.iter().map(program).collect(), datastore, ledger }
    }

    /// The program for a call. Of two releases, one answers all calls about half of the handles but their
    /// releases, which the other does.
    fn program(&self, command: &str, handle: &HandleId) -> &Path {
        let turn = handle.as_str().bytes().map(usize::from).sum::<usize>() + usize::from(command == "DEL");
        &self.programs[turn % self.programs.len()]
    }

    /// Runs the program. Gives its output, or the error that it printed.
    fn call(&self, command: &str, handle: &HandleId, host: &str, ipam: Json) -> Result<Json, String> {
        // The program makes the handle from the network's name, a dot, and the container's name.
        let (network, container) = handle.as_str().split_once('.').unwrap();
        let mut conf =
            json!({"cniVersion": "1.0.0", "name": network, "type": "calico", "nodename": host, "ipam": ipam});
        let fields = self.datastore.as_object().unwrap().clone();
        conf.as_object_mut().unwrap().extend(fields);
        // The plugins of one host share a lock, as they would on a real node.
        let locks = std::env::temp_dir().join("rackpool-load-locks");
        conf["ipam_lock_file"] = json!(locks.join(format!("{host}.lock")));
        let mut child = Command::new(self.program(command, handle))
            .env_clear()
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", container)
            .env("CNI_NETNS", "/var/run/netns/load")
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", "/opt/cni/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The program may end before it has read its whole input.
        let _ = child.stdin.take().unwrap().write_all(conf.to_string().as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        self.ledger.write(Event::Did(format!("{command} {handle}: {} {text}", output.status)));
        if !output.status.success() {
            return Err(if text.is_empty() { output.status.to_string() } else { text });
        }
        Ok(serde_json::from_str(&text).unwrap_or(Json::Null))
    }
}

impl Allocator for Plugin<'_> {
    async fn assign(&self, request: &Request) -> Result<BTreeSet<IpAddr>, Nothing> {
        let (v4, v6) = (request.v4 > 0, request.v6 > 0);
        let ipam =
            json!({"type": "calico-ipam", "assign_ipv4": v4.to_string(), "assign_ipv6": v6.to_string()});
        let result = self.call("ADD", &request.handle, &request.host, ipam).map_err(Nothing::InDoubt)?;
        let ips = result["ips"].as_array().cloned().unwrap_or_default();
        let addresses: BTreeSet<IpAddr> =
            ips.iter().filter_map(|ip| ip["address"].as_str()?.split('/').next()?.parse().ok()).collect();
        match addresses.len() == usize::from(v4) + usize::from(v6) {
            true => Ok(addresses),
            false => panic!("the result lacks addresses: {result}"),
        }
    }

    async fn release(&self, handle: &HandleId) -> Result<(), String> {
        let ipam = json!({"type": "calico-ipam"});
        self.call("DEL", handle, &hosts()[0], ipam).map(|_| ())
    }

    /// The program has no such command: addresses are released with their container.
    async fn release_ip(&self, _handle: &HandleId, _addr: IpAddr) -> Result<(), String> {
        Err("a plugin releases all addresses of a container".to_string())
    }

    /// The program has no such command.
    async fn release_blocks(&self, _host: &str) -> Result<(), String> {
        Ok(())
    }
}

fn is_given() -> bool {
    is_named(PROGRAMS)
}

/// Whether a variable names a folder of programs; tells when it does not.
pub fn is_named(variable: &str) -> bool {
    let is_named = std::env::var_os(variable).is_some();
    if !is_named {
        println!("left out: {variable} does not name the folder of calico-ipam");
    }
    is_named
}

fn case(name: &'static str, environment: Environment) -> Case {
    Case { workers: vec![(Author::Plugin, hosts()); 20], ..Case::new(name, environment) }
}

#[test]
fn the_plugin_on_the_embedded_store() {
    if is_given() {
        case("plugin, embedded", Environment::embedded()).run();
    }
}

#[test]
fn the_plugin_on_etcd_while_replies_are_lost() {
    needs_etcd!();
    if is_given() {
        let case = case("plugin, replies lost", Environment::etcd(3)).with(Trouble::LoseReplies);
        Case { granted: 80, ..case }.run();
    }
}

#[test]
fn the_plugin_on_etcd_while_members_are_killed() {
    needs_etcd!();
    if is_given() {
        let case = case("plugin, members killed", Environment::etcd(3)).with(Trouble::KillMember);
        Case { granted: 80, ..case }.run();
    }
}

#[test]
fn the_plugin_next_to_calicos_way_of_writing() {
    needs_etcd!();
    if is_given() {
        let pair = [(Author::Calico, hosts()), (Author::Plugin, hosts())];
        let workers = pair.iter().cycle().take(20).cloned().collect();
        let case = case("plugin, side by side", Environment::etcd(1));
        Case { workers, ..case }.run();
    }
}

#[test]
fn the_plugin_on_kubernetes_while_the_api_server_is_killed() {
    needs_kubernetes!();
    if is_given() {
        kubernetes::case("plugin, API server killed", KubeGroup::V1, Author::Plugin).run();
    }
}
