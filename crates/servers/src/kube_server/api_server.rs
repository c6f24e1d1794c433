//! The API server itself: started, killed, started again.

use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use super::{API_SERVER, KubeServer, READY_WITHIN};
use crate::ServerError;
use crate::etcd_server::free_ports;
use crate::process::{Process, Wait, now};

impl KubeServer {
    /// Ends the API server at once, as a power cut would. The etcd below it goes on.
    pub fn kill(&mut self) {
        self.api_server = None;
    }

    /// Starts the API server again after [`KubeServer::kill`], on the same port and with the same users, and waits until it is ready.
    ///
    /// # Panics
    /// When it is not ready in time; so, too, when its port is taken and stays so.
    pub fn restart(&mut self) {
        let start = now();
        self.kill();
        while self.launch_api_server().unwrap_or_else(|error| panic!("{error}")) == Wait::PortTaken {
            // Whoever has the port, a connection of a test perhaps, will not keep it.
            assert!(start.elapsed() < READY_WITHIN, "port {} was taken meanwhile", self.port);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Starts the API server where it is wanted, else on a free port.
    pub(super) fn launch_api_server_somewhere(&mut self) -> Result<(), ServerError> {
        // A free port may be taken by another before the server takes it.
        for _ in 0..4 {
            let [free] = free_ports();
            self.port = self.options.address.map_or(free, |address| address.port());
            self.endpoint = format!("https://{}:{}", self.address(), self.port);
            self.write_kubeconfigs()?;
            if self.launch_api_server()? == Wait::Ready {
                return Ok(());
            }
        }
        Err(ServerError::PortTaken { name: API_SERVER.to_string() })
    }

    /// Starts the API server and waits until it is ready.
    fn launch_api_server(&mut self) -> Result<Wait, ServerError> {
        let flag = |name: &str, value: &dyn std::fmt::Display| format!("--{name}={value}");
        let file = |name: &str, file: &str| format!("--{name}={}", self.path(file).display());
        let mut command = Command::new(self.programs.join(API_SERVER));
        command.args([
            flag("etcd-servers", &self.etcd.endpoint()),
            flag("bind-address", &self.address()),
            flag("advertise-address", &self.address()),
            flag("secure-port", &self.port),
            file("tls-cert-file", "server.crt"),
            file("tls-private-key-file", "server.key"),
            file("token-auth-file", "tokens.csv"),
            flag("anonymous-auth", &false),
            flag("authorization-mode", &"Node,RBAC"),
            flag("allow-privileged", &true),
            flag("service-account-issuer", &"https://kubernetes.default.svc"),
            file("service-account-key-file", "service-accounts.pub"),
            file("service-account-signing-key-file", "service-accounts.key"),
            flag("service-cluster-ip-range", &"10.96.0.0/16"),
            flag("endpoint-reconciler-type", &"none"),
        ]);
        if !self.options.is_not_audited {
            command.args([
                file("audit-policy-file", "audit-policy.json"),
                file("audit-log-path", "audit.log"),
                // Requests can be counted as soon as they are answered.
                flag("audit-log-mode", &"blocking-strict"),
            ]);
        }
        command.args(&self.options.arguments);
        if !self.options.controllers {
            command.arg("--disable-admission-plugins=ServiceAccount");
        }
        let mut process = Process::start(&mut command, &self.folder, API_SERVER)?;
        let is_ready = || {
            TcpStream::connect((self.address(), self.port)).is_ok()
                && self.kubectl(&["get", "--raw", "/readyz"]).output().is_ok_and(|out| out.stdout == b"ok")
        };
        let wait = process.wait(&self.folder, READY_WITHIN, is_ready)?;
        self.api_server = (wait == Wait::Ready).then_some(process);
        Ok(wait)
    }
}
