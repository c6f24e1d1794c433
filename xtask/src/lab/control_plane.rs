//! The control plane, and the registry that the nodes pull images from.

use std::fs::File;
use std::net::{SocketAddrV4, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;
use servers::kube_server::{KubeServer, KubeServerOptions};

use super::image;
use super::proxy;
use super::said::progress;
use super::site::{BRIDGE, Node, Site, tail};

/// The port of the API server.
const PORT: u16 = 6443;
/// The address of the registry that stands for docker.io on the nodes.
pub const REGISTRY: &str = "172.30.0.1:5000";
/// How often the registry is asked whether it is ready, and how long to wait in between. The machine may be
/// busy with a build.
const QUESTIONS: u32 = 1200;
const PAUSE: Duration = Duration::from_millis(100);

/// A running control plane and its registry. They end with the cluster's namespace.
pub struct ControlPlane<'a> {
    site: &'a Site,
    server: KubeServer,
    registry: Child,
}

impl<'a> ControlPlane<'a> {
    /// Starts the control plane and the registry, and waits until both are ready.
    pub fn start(site: &'a Site) -> Result<ControlPlane<'a>> {
        progress("starting the control plane");
        let registry = start_registry(site)?;
        let mut options = KubeServerOptions::new()
            .whole()
            .at(SocketAddrV4::new(BRIDGE, PORT))
            .in_folder(&site.folder)
            .argument("--enable-admission-plugins=NodeRestriction")
            // Pods reach the API server by its service.
            .argument("--endpoint-reconciler-type=lease")
            .argument("--kubelet-preferred-address-types=InternalIP")
            .user(proxy::USER, &[]);
        for node in site.nodes() {
            options = options.user(&user(node), &["system:nodes"]);
        }
        if !site.options.is_audited {
            options = options.without_audit();
        }
        let server = KubeServer::try_start(options)?;
        progress("the API server is ready");
        let mut plane = ControlPlane { site, server, registry };
        plane.wait_for_registry()?;
        image::write(&site.path("images"))?;
        image::push(&site.path("images"))?;
        Ok(plane)
    }

    /// The kubeconfig for a node's kubelet.
    pub fn kubeconfig_of(&self, node: Node<'_>) -> Result<String> {
        self.kubeconfig_for(&user(node))
    }

    /// The kubeconfig for every node's kube-proxy.
    pub fn kubeconfig_of_proxies(&self) -> Result<String> {
        self.kubeconfig_for(proxy::USER)
    }

    fn kubeconfig_for(&self, user: &str) -> Result<String> {
        Ok(self.server.kubeconfig_with(user, self.server.token(user))?)
    }

    /// Checks that all servers still run.
    pub fn check(&mut self) -> Result<()> {
        self.server.check()?;
        if let Some(status) = self.registry.try_wait()? {
            bail!("docker-registry has ended ({status}):\n{}", self.registry_log());
        }
        Ok(())
    }

    fn wait_for_registry(&mut self) -> Result<()> {
        for _ in 0..QUESTIONS {
            if TcpStream::connect(REGISTRY).is_ok() {
                return Ok(());
            }
            self.check()?;
            std::thread::sleep(PAUSE);
        }
        bail!(
            "docker-registry is not ready after {} s:\n{}",
            (PAUSE * QUESTIONS).as_secs(),
            self.registry_log()
        )
    }

    fn registry_log(&self) -> String {
        tail(&self.site.path("docker-registry.log"))
    }
}

/// The user name of a node's kubelet.
fn user(node: Node<'_>) -> String {
    format!("system:node:{}", node.name)
}

fn start_registry(site: &Site) -> Result<Child> {
    let configuration = json!({
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": site.path("registry")}},
        "http": {"addr": REGISTRY},
    });
    // The registry reads YAML, and JSON is YAML.
    site.put("registry.yaml", &configuration.to_string())?;
    let log = File::create(site.path("docker-registry.log"))?;
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(site.path("registry.yaml"));
    command.current_dir(&site.folder).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().context("cannot start docker-registry")
}
