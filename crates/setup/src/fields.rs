//! The settings that exist, and the spelling of each in a file, in the environment and in a CNI
//! configuration.

use golang::strconv::{parse_bool, quote};

use crate::environment::Environment;

/// The type of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Text,
    Bool,
    Int,
    Float,
}

impl Type {
    /// The type's name in Go.
    pub(crate) fn go(self) -> &'static str {
        match self {
            Type::Text => "string",
            Type::Bool => "bool",
            Type::Int => "int",
            Type::Float => "float32",
        }
    }

    /// Why a text is not of this type, in Go's words; `None` where it is.
    pub(crate) fn complaint(self, text: &str) -> Option<String> {
        let (call, good) = match self {
            Type::Text => return None,
            Type::Bool => ("ParseBool", parse_bool(text).is_some()),
            Type::Int => ("ParseInt", text.parse::<i64>().is_ok()),
            Type::Float => ("ParseFloat", text.parse::<f32>().is_ok()),
        };
        (!good).then(|| format!("strconv.{call}: parsing {}: invalid syntax", quote(text)))
    }
}

/// A setting (`libcalico-go/lib/apis/...`: `CalicoAPIConfigSpec`); the last is rackpool's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the table below says what each is")]
pub enum Field {
    DatastoreType,
    EtcdEndpoints,
    EtcdDiscoverySrv,
    EtcdUsername,
    EtcdPassword,
    EtcdKeyFile,
    EtcdCertFile,
    EtcdCaCertFile,
    EtcdKey,
    EtcdCert,
    EtcdCaCert,
    Kubeconfig,
    KubeconfigInline,
    K8sApiEndpoint,
    K8sKeyFile,
    K8sCertFile,
    K8sCaFile,
    K8sApiToken,
    K8sInsecureSkipTlsVerify,
    K8sDisableNodePoll,
    UsePodCidr,
    K8sClientQps,
    K8sClientBurst,
    K8sCurrentContext,
    CalicoApiGroup,
    RackpoolDb,
}

/// The spellings of a setting.
pub(crate) struct Row {
    pub(crate) field: Field,
    /// The field of a configuration file; "" where a file cannot say it.
    pub(crate) file: &'static str,
    /// Calico's name of the setting in its messages.
    pub(crate) go: &'static str,
    /// The environment variable without the prefix `CALICO_`; "" where there is none.
    pub(crate) variable: &'static str,
    /// The fields of a CNI configuration; the first one that is not empty counts.
    pub(crate) cni: &'static [&'static str],
    pub(crate) kind: Type,
}

const fn row(
    field: Field,
    file: &'static str,
    go: &'static str,
    variable: &'static str,
    cni: &'static [&'static str],
    kind: Type,
) -> Row {
    Row { field, file, go, variable, cni, kind }
}

#[rustfmt::skip]
pub(crate) const TABLE: &[Row] = &[
    row(Field::DatastoreType, "datastoreType", "DatastoreType", "DATASTORE_TYPE", &["datastore_type"], Type::Text),
    row(Field::EtcdEndpoints, "etcdEndpoints", "EtcdEndpoints", "ETCD_ENDPOINTS", &["etcd_endpoints"], Type::Text),
    row(Field::EtcdDiscoverySrv, "etcdDiscoverySrv", "EtcdDiscoverySrv", "ETCD_DISCOVERY_SRV", &["etcd_discovery_srv"], Type::Text),
    row(Field::EtcdUsername, "etcdUsername", "EtcdUsername", "ETCD_USERNAME", &[], Type::Text),
    row(Field::EtcdPassword, "etcdPassword", "EtcdPassword", "ETCD_PASSWORD", &[], Type::Text),
    row(Field::EtcdKeyFile, "etcdKeyFile", "EtcdKeyFile", "ETCD_KEY_FILE", &["etcd_key_file"], Type::Text),
    row(Field::EtcdCertFile, "etcdCertFile", "EtcdCertFile", "ETCD_CERT_FILE", &["etcd_cert_file"], Type::Text),
    row(Field::EtcdCaCertFile, "etcdCACertFile", "EtcdCACertFile", "ETCD_CA_CERT_FILE", &["etcd_ca_cert_file"], Type::Text),
    row(Field::EtcdKey, "etcdKey", "EtcdKey", "", &[], Type::Text),
    row(Field::EtcdCert, "etcdCert", "EtcdCert", "", &[], Type::Text),
    row(Field::EtcdCaCert, "etcdCACert", "EtcdCACert", "", &[], Type::Text),
    row(Field::Kubeconfig, "kubeconfig", "Kubeconfig", "KUBECONFIG", &["kubernetes.kubeconfig"], Type::Text),
    row(Field::KubeconfigInline, "kubeconfigInline", "KubeconfigInline", "", &[], Type::Text),
    row(Field::K8sApiEndpoint, "k8sAPIEndpoint", "K8sAPIEndpoint", "K8S_API_ENDPOINT", &["kubernetes.k8s_api_root", "policy.k8s_api_root"], Type::Text),
    row(Field::K8sKeyFile, "k8sKeyFile", "K8sKeyFile", "K8S_KEY_FILE", &["policy.k8s_client_key"], Type::Text),
    row(Field::K8sCertFile, "k8sCertFile", "K8sCertFile", "K8S_CERT_FILE", &["policy.k8s_client_certificate"], Type::Text),
    row(Field::K8sCaFile, "k8sCAFile", "K8sCAFile", "K8S_CA_FILE", &["policy.k8s_certificate_authority"], Type::Text),
    // Calico's tag for this field has a typing error. As a result, only one variable is read: the field's own
    // name with the prefix.
    row(Field::K8sApiToken, "k8sAPIToken", "K8sAPIToken", "K8SAPITOKEN", &["policy.k8s_auth_token"], Type::Text),
    row(Field::K8sInsecureSkipTlsVerify, "k8sInsecureSkipTLSVerify", "K8sInsecureSkipTLSVerify", "K8S_INSECURE_SKIP_TLS_VERIFY", &[], Type::Bool),
    row(Field::K8sDisableNodePoll, "k8sDisableNodePoll", "K8sDisableNodePoll", "K8S_DISABLE_NODE_POLL", &[], Type::Bool),
    row(Field::UsePodCidr, "usePodCIDR", "K8sUsePodCIDR", "USE_POD_CIDR", &[], Type::Bool),
    row(Field::K8sClientQps, "k8sClientQPS", "K8sClientQPS", "K8S_CLIENT_QPS", &["qps"], Type::Float),
    row(Field::K8sClientBurst, "k8sClientBurst", "K8sClientBurst", "K8S_CLIENT_BURST", &["burst"], Type::Int),
    row(Field::K8sCurrentContext, "k8sCurrentContext", "K8sCurrentContext", "K8S_CURRENT_CONTEXT", &[], Type::Text),
    row(Field::CalicoApiGroup, "calicoAPIGroup", "CalicoAPIGroup", "CALICO_API_GROUP", &["calico_api_group"], Type::Text),
    row(Field::RackpoolDb, "rackpoolDB", "RackpoolDB", "RACKPOOL_DB", &["rackpool_db"], Type::Text),
];

/// The names of a setting; an empty text where a place has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spelling {
    /// The setting.
    pub field: Field,
    /// The environment variable, without the prefix `CALICO_`.
    pub variable: &'static str,
    /// The field of a configuration file.
    pub file: &'static str,
    /// The fields of a CNI configuration.
    pub cni: &'static [&'static str],
}

/// The names of all settings.
pub fn spellings() -> impl Iterator<Item = Spelling> {
    TABLE.iter().map(|row| Spelling {
        field: row.field,
        variable: if row.variable.is_empty() { "" } else { row.spelling() },
        file: row.file,
        cni: row.cni,
    })
}

impl Row {
    /// The variable with the prefix `CALICO_`.
    pub(crate) fn prefixed(&self) -> String {
        match self.field {
            Field::RackpoolDb => self.variable.to_string(),
            _ => format!("CALICO_{}", self.variable),
        }
    }

    /// The variable that messages name.
    pub(crate) fn spelling(&self) -> &'static str {
        match self.field {
            // The only spelling that is read: see the table.
            Field::K8sApiToken => "CALICO_K8SAPITOKEN",
            _ => self.variable,
        }
    }

    /// Whether the setting is read from that variable.
    pub(crate) fn is_named(&self, variable: &str) -> bool {
        !self.variable.is_empty() && (variable == self.spelling() || variable == self.prefixed())
    }

    /// The variable that is set, and its value. The prefixed spelling goes before the other.
    pub(crate) fn lookup<'e>(&self, environment: &'e Environment) -> Option<(String, &'e str)> {
        let plain = (self.field != Field::K8sApiToken).then(|| self.variable.to_string());
        let names = [Some(self.prefixed()), plain];
        names.into_iter().flatten().find_map(|name| environment.lookup(&name).map(|value| (name, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_one_row() {
        let mut fields: Vec<_> = TABLE.iter().map(|row| row.field).collect();
        fields.sort_unstable();
        fields.dedup();
        assert_eq!(fields.len(), TABLE.len());
        assert_eq!(fields.len(), Field::RackpoolDb as usize + 1);
    }
}
