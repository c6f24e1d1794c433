//! etcd, the API server, the scheduler, the controllers, and the registry that the nodes pull images from.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::image;
use super::said::progress;
use super::site::{BRIDGE, Node, Site, tail};

const ETCD: &str = "http://127.0.0.1:2379";
/// The user that may do everything.
const ADMIN: &str = "admin";
/// Where the nodes find what they know as docker.io.
pub const REGISTRY: &str = "172.30.0.1:5000";
/// How often it is asked whether a server is ready, and how long to wait in between. The machine may be busy with a build.
const QUESTIONS: u32 = 1200;
const PAUSE: Duration = Duration::from_millis(100);

/// A control plane. It ends with its namespace.
pub struct ControlPlane<'a> {
    site: &'a Site,
    servers: Vec<Server>,
    /// By user.
    tokens: BTreeMap<String, String>,
}

struct Server {
    name: &'static str,
    process: Child,
}

impl<'a> ControlPlane<'a> {
    /// Starts it and waits until it is ready.
    pub fn start(site: &'a Site) -> Result<ControlPlane<'a>> {
        let mut plane = ControlPlane { site, servers: Vec::new(), tokens: BTreeMap::new() };
        progress("starting the control plane");
        plane.write_secrets()?;
        plane.start_etcd()?;
        plane.start_api_server()?;
        plane.start_registry()?;
        image::write(&site.path("images"))?;
        let certificate = site.path("certificates/apiserver.crt");
        plane.wait_for("kube-apiserver", || certificate.exists())?;
        site.put("admin.kubeconfig", &site.kubeconfig_with(&plane.tokens[ADMIN])?)?;
        let is_ready =
            || site.kubectl(&["get", "--raw", "/readyz"]).output().is_ok_and(|out| out.stdout == b"ok");
        plane.wait_for("kube-apiserver", is_ready)?;
        progress("the API server is ready");
        plane.start_clients()?;
        plane.wait_for("docker-registry", || std::net::TcpStream::connect(REGISTRY).is_ok())?;
        image::push(&site.path("images"))?;
        Ok(plane)
    }

    /// The kubelet's way to the API server.
    pub fn kubeconfig_of(&self, node: Node<'_>) -> Result<String> {
        self.site.kubeconfig_with(&self.tokens[node.name])
    }

    /// Whether all of it still runs.
    pub fn check(&mut self) -> Result<()> {
        for server in &mut self.servers {
            if let Some(status) = server.process.try_wait()? {
                let log = self.site.path(&format!("{}.log", server.name));
                bail!("{} has ended ({status}):\n{}", server.name, tail(&log));
            }
        }
        Ok(())
    }

    /// A token for each user, and the key of the service accounts.
    fn write_secrets(&mut self) -> Result<()> {
        let key = rcgen::KeyPair::generate().context("a key for the service accounts")?;
        self.site.put("service-accounts.key", &key.serialize_pem())?;
        self.site.put("service-accounts.pub", &key.public_key_pem())?;
        let mut lines = String::new();
        let nodes = self.site.options.nodes.iter();
        let users = nodes.map(|name| (name.as_str(), format!("system:node:{name}"), "system:nodes"));
        for (name, user, group) in users.chain([(ADMIN, ADMIN.to_string(), "system:masters")]) {
            let token = random_token()?;
            lines.push_str(&format!("{token},{user},{user},\"{group}\"\n"));
            self.tokens.insert(name.to_string(), token);
        }
        self.site.put("tokens.csv", &lines)
    }

    fn start_etcd(&mut self) -> Result<()> {
        let mut command = Command::new("etcd");
        command.arg("--data-dir").arg(self.site.path("etcd"));
        command.args(["--listen-client-urls", ETCD, "--advertise-client-urls", ETCD]);
        // Nothing here outlives the machine.
        command.args(["--listen-peer-urls", "http://127.0.0.1:2380", "--unsafe-no-fsync=true"]);
        self.start_server("etcd", command)
    }

    fn start_api_server(&mut self) -> Result<()> {
        let file = |flag: &str, name: &str| format!("--{flag}={}", self.site.path(name).display());
        let mut command = self.of_kubernetes("kube-apiserver");
        command.args([
            format!("--etcd-servers={ETCD}"),
            format!("--bind-address={BRIDGE}"),
            format!("--advertise-address={BRIDGE}"),
            "--secure-port=6443".to_string(),
            file("cert-dir", "certificates"),
            file("token-auth-file", "tokens.csv"),
            "--authorization-mode=Node,RBAC".to_string(),
            "--enable-admission-plugins=NodeRestriction".to_string(),
            "--allow-privileged=true".to_string(),
            "--kubelet-preferred-address-types=InternalIP".to_string(),
            "--service-account-issuer=https://kubernetes.default.svc".to_string(),
            file("service-account-key-file", "service-accounts.pub"),
            file("service-account-signing-key-file", "service-accounts.key"),
            "--service-cluster-ip-range=10.96.0.0/16".to_string(),
            "--endpoint-reconciler-type=none".to_string(),
        ]);
        self.start_server("kube-apiserver", command)
    }

    fn start_registry(&mut self) -> Result<()> {
        let configuration = json!({
            "version": 0.1,
            "storage": {"filesystem": {"rootdirectory": self.site.path("registry")}},
            "http": {"addr": REGISTRY},
        });
        // It reads YAML, which JSON is.
        self.site.put("registry.yaml", &configuration.to_string())?;
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(self.site.path("registry.yaml"));
        self.start_server("docker-registry", command)
    }

    fn start_clients(&mut self) -> Result<()> {
        let scheduler = self.client("kube-scheduler");
        self.start_server("kube-scheduler", scheduler)?;
        let mut controllers = self.client("kube-controller-manager");
        let file = |flag: &str, name: &str| format!("--{flag}={}", self.site.path(name).display());
        controllers.args([
            file("service-account-private-key-file", "service-accounts.key"),
            file("root-ca-file", "certificates/apiserver.crt"),
        ]);
        self.start_server("kube-controller-manager", controllers)
    }

    fn client(&self, name: &str) -> Command {
        let mut command = self.of_kubernetes(name);
        command.arg("--kubeconfig").arg(self.site.kubeconfig());
        // It serves nothing, not even its health.
        command.args(["--leader-elect=false", "--secure-port=0"]);
        command
    }

    fn of_kubernetes(&self, name: &str) -> Command {
        Command::new(self.site.kubernetes.join(name))
    }

    fn start_server(&mut self, name: &'static str, mut command: Command) -> Result<()> {
        let log = File::create(self.site.path(&format!("{name}.log")))?;
        command.current_dir(&self.site.folder).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = command.spawn().with_context(|| format!("cannot start {name}"))?;
        self.servers.push(Server { name, process });
        Ok(())
    }

    fn wait_for(&mut self, name: &str, is_ready: impl Fn() -> bool) -> Result<()> {
        for _ in 0..QUESTIONS {
            if is_ready() {
                return Ok(());
            }
            self.check()?;
            std::thread::sleep(PAUSE);
        }
        let log = tail(&self.site.path(&format!("{name}.log")));
        bail!("{name} is not ready after {} s:\n{log}", (PAUSE * QUESTIONS).as_secs())
    }
}

/// 128 random bits.
fn random_token() -> Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
