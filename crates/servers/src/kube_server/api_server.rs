//! Starts, kills and restarts the API server.

use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use super::{API_SERVER, KubeServer, READY_WITHIN};
use crate::ServerError;
use crate::etcd_server::free_ports;
use crate::process::{Process, Wait, now};

impl KubeServer {
    /// Kills the API server, as a power cut would. Its etcd goes on.
    pub fn kill(&mut self) {
        self.api_server = None;
    }

    /// Starts the API server again after [`KubeServer::kill`], with the same port and users, and waits until
    /// it is ready.
    ///
    /// # Panics
    /// When the API server is not ready in time, or another process keeps its port.
    pub fn restart(&mut self) {
        let start = now();
        self.kill();
        while self.launch_api_server().unwrap_or_else(|error| panic!("{error}")) == Wait::PortTaken {
            // The other process, perhaps a client's connection in a test, will release the port soon.
            assert!(start.elapsed() < READY_WITHIN, "port {} was taken meanwhile", self.port);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Starts the API server on the address of the options, else on a free port.
    pub(super) fn launch_api_server_somewhere(&mut self) -> Result<(), ServerError> {
        // Another process may take the free port before the server does.
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
                flag("audit-log-path", &self.audit_log.display()),
                // With this mode a request is in the log before its client has the answer, so tests can count
                // requests.
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
