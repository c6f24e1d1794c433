//! Writes the files by which the API server and its users recognise each other.

use std::fs;
use std::net::Ipv4Addr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::KubeServer;
use super::certificates::Certificates;
use crate::ServerError;

impl KubeServer {
    /// The text of a kubeconfig for a user's token. The authority's certificate is part of the text, so that
    /// a process anywhere can use it.
    ///
    /// # Errors
    /// When the authority's file cannot be read.
    pub fn kubeconfig_with(&self, user: &str, token: &str) -> Result<String, ServerError> {
        let ca = fs::read(self.ca()).map_err(ServerError::at(&self.ca()))?;
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{
                "name": "rackpool",
                "cluster": {"server": self.endpoint, "certificate-authority-data": STANDARD.encode(ca)},
            }],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": "rackpool", "context": {"cluster": "rackpool", "user": user}}],
            "current-context": "rackpool",
        });
        Ok(config.to_string())
    }

    /// Writes certificates, tokens and the audit policy.
    pub(super) fn write_secrets(&self) -> Result<(), ServerError> {
        let certificates = Certificates::generate(self.address())?;
        self.write("ca.crt", &certificates.ca)?;
        self.write("server.crt", &certificates.cert)?;
        self.write("server.key", &certificates.key)?;
        self.write("service-accounts.key", &certificates.service_accounts)?;
        self.write("service-accounts.pub", &certificates.service_accounts_public)?;
        let users = self.options.users();
        let tokens = users.map(|(name, groups)| format!("{},{name},{name},\"{groups}\"\n", self.token(name)));
        self.write("tokens.csv", &tokens.collect::<String>())?;
        let policy = json!({
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": [{"level": "Metadata"}],
        });
        self.write("audit-policy.json", &policy.to_string())?;
        fs::write(&self.audit_log, "").map_err(ServerError::at(&self.audit_log))
    }

    pub(super) fn write_kubeconfigs(&self) -> Result<(), ServerError> {
        for (user, token) in &self.tokens {
            let path = self.kubeconfig_of(user);
            fs::write(&path, self.kubeconfig_with(user, token)?).map_err(ServerError::at(&path))?;
        }
        Ok(())
    }

    fn write(&self, name: &str, text: &str) -> Result<(), ServerError> {
        let path = self.path(name);
        fs::write(&path, text).map_err(ServerError::at(&path))
    }

    /// The address on which the API server listens.
    pub(super) fn address(&self) -> Ipv4Addr {
        self.options.address.map_or(Ipv4Addr::LOCALHOST, |address| *address.ip())
    }
}
