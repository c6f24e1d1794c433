//! The API server itself: started, killed, started again.

use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use super::process::Process;
use super::{API_SERVER, KubeServer, READY_WITHIN, now};
use crate::testing::etcd_server::free_ports;

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
        while !self.launch_api_server() {
            // Whoever has the port, a connection of a test perhaps, will not keep it.
            assert!(start.elapsed() < READY_WITHIN, "port {} was taken meanwhile", self.port);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Starts the API server on a free port.
    pub(super) fn launch_api_server_somewhere(&mut self) {
        // A free port may be taken by another before the server takes it.
        for _ in 0..4 {
            [self.port] = free_ports();
            self.endpoint = format!("https://127.0.0.1:{}", self.port);
            self.write_kubeconfigs();
            if self.launch_api_server() {
                return;
            }
        }
        panic!("the API server does not start; its port was taken again and again");
    }

    /// Starts the API server and waits until it is ready; `false` when its port was taken.
    fn launch_api_server(&mut self) -> bool {
        let flag = |name: &str, value: &dyn std::fmt::Display| format!("--{name}={value}");
        let file = |name: &str, file: &str| format!("--{name}={}", self.path(file).display());
        let mut command = Command::new(self.programs.join(API_SERVER));
        command.args([
            flag("etcd-servers", &self.etcd.endpoint()),
            flag("bind-address", &"127.0.0.1"),
            flag("advertise-address", &"127.0.0.1"),
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
            file("audit-policy-file", "audit-policy.json"),
            file("audit-log-path", "audit.log"),
            // Requests can be counted as soon as they are answered.
            flag("audit-log-mode", &"blocking-strict"),
        ]);
        command.args(&self.options.arguments);
        if !self.options.controllers {
            command.arg("--disable-admission-plugins=ServiceAccount");
        }
        let mut process = self.start_process(&mut command, API_SERVER);
        let is_ready = self.wait_until_ready(&mut process);
        self.api_server = is_ready.then_some(process);
        is_ready
    }

    /// Waits until the API server is ready; `false` when its port was taken.
    fn wait_until_ready(&self, process: &mut Process) -> bool {
        let start = now();
        loop {
            if process.has_ended() {
                let log = self.log(API_SERVER);
                assert!(log.contains("address already in use"), "{API_SERVER} has ended:\n{log}");
                return false;
            }
            let readyz = || self.kubectl(&["get", "--raw", "/readyz"]).output();
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok()
                && readyz().is_ok_and(|out| out.stdout == b"ok")
            {
                return true;
            }
            assert!(start.elapsed() < READY_WITHIN, "{API_SERVER} is not ready:\n{}", self.log(API_SERVER));
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
