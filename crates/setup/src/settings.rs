//! All settings of the connection, each with where it was said.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value as Json;

use crate::environment::Environment;
use crate::error::SetupError;

/// Where a setting was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In a configuration file.
    File {
        /// The field of its spec.
        field: &'static str,
        /// The file.
        path: String,
    },
    /// In a variable.
    Variable(String),
    /// In a field of a CNI configuration, with dots between its steps.
    Cni(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { field, path } => write!(f, "{field} in {path}"),
            Origin::Variable(name) => f.write_str(name),
            Origin::Cni(field) => write!(f, "{field} in the CNI configuration"),
        }
    }
}

/// A setting: never empty.
#[derive(Clone, PartialEq, Eq)]
pub struct Setting {
    /// What was said.
    pub value: String,
    /// Where.
    pub origin: Origin,
}

/// Shows where it was said, not what: it may be a secret.
impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<from {}>", self.origin)
    }
}

impl Setting {
    /// Where it was said, and what, for messages. User names and passwords in URLs are left out; not for fields that are secrets themselves.
    pub fn quoted(&self) -> String {
        let endpoints: Vec<_> = self.value.split(',').map(without_user).collect();
        format!("{} = {:?}", self.origin, endpoints.join(","))
    }
}

fn without_user(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let host = rest.split('/').next().unwrap_or_default();
            let user = host.rfind('@').map_or(0, |at| at + 1);
            format!("{scheme}://{}", &rest[user..])
        }
        None => url.to_string(),
    }
}

/// What a field holds.
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

    /// Why a text is none of these, as Go says it.
    fn complaint(self, text: &str) -> Option<String> {
        let (call, good) = match self {
            Type::Text => return None,
            Type::Bool => ("ParseBool", parse_bool(text).is_some()),
            Type::Int => ("ParseInt", text.parse::<i64>().is_ok()),
            Type::Float => ("ParseFloat", text.parse::<f32>().is_ok()),
        };
        (!good).then(|| format!("strconv.{call}: parsing {text:?}: invalid syntax"))
    }
}

/// Go's `strconv.ParseBool`.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// What can be set (`libcalico-go/lib/apis/...`: `CalicoAPIConfigSpec`; the last is rackpool's own).
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

/// How a field is spelled in each place.
pub(crate) struct Row {
    pub(crate) field: Field,
    /// In a configuration file; "" where it cannot be said there.
    pub(crate) file: &'static str,
    /// Calico's name of the field, in messages.
    go: &'static str,
    /// Without the prefix `CALICO_`; "" where there is none.
    variable: &'static str,
    /// In a CNI configuration, the first that is not empty counts.
    cni: &'static [&'static str],
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
    // Calico's tag has a typing error, so that only the prefixed spelling of the field's own name is read.
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

/// All that was said of the connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    said: BTreeMap<Field, Setting>,
    /// `policy.type: k8s` of a CNI configuration: a hint, no setting.
    pub(crate) kubernetes_policy: bool,
}

impl Settings {
    /// What the environment says. A variable with the prefix `CALICO_` wins, even an empty one; an empty text is as good as none.
    ///
    /// # Errors
    /// When a number or a truth value is none; there an empty one is wrong too.
    pub fn from_environment(environment: &Environment) -> Result<Settings, SetupError> {
        let mut settings = Settings::default();
        for row in TABLE.iter().filter(|row| !row.variable.is_empty()) {
            let Some((name, value)) = row.lookup(environment) else { continue };
            if let Some(details) = row.kind.complaint(value) {
                return Err(SetupError::Variable {
                    variable: row.prefixed(),
                    field: row.go,
                    value: value.to_string(),
                    wanted: row.kind.go(),
                    details,
                });
            }
            settings.set(row.field, value, Origin::Variable(name));
        }
        Ok(settings)
    }

    /// The same with a CNI configuration on top: its fields win. Takes the configuration's types as checked; what is no text, number or truth value there is as
    /// good as not said, as are zeros (which stand for "the default").
    pub fn with_cni(mut self, configuration: &Json) -> Settings {
        for row in TABLE {
            let said = row.cni.iter().find_map(|path| Some((*path, cni_text(configuration, path)?)));
            if let Some((path, value)) = said {
                self.set(row.field, &value, Origin::Cni(path.to_string()));
            }
        }
        // Deprecated, from the time before there were several endpoints.
        if let (Some(authority), None) =
            (cni_text(configuration, "etcd_authority"), cni_text(configuration, "etcd_endpoints"))
        {
            let scheme = cni_text(configuration, "etcd_scheme").unwrap_or_else(|| "http".to_string());
            let endpoint = format!("{scheme}://{authority}");
            self.set(Field::EtcdEndpoints, &endpoint, Origin::Cni("etcd_authority".to_string()));
        }
        self.kubernetes_policy = cni_text(configuration, "policy.type").as_deref() == Some("k8s");
        self
    }

    /// A setting that was said.
    pub fn get(&self, field: Field) -> Option<&Setting> {
        self.said.get(&field)
    }

    /// The value of a setting that was said.
    pub fn value(&self, field: Field) -> Option<&str> {
        self.get(field).map(|setting| setting.value.as_str())
    }

    /// Sets a field, for what a command line says (`--context`). An empty value changes nothing.
    pub fn set(&mut self, field: Field, value: &str, origin: Origin) {
        if !value.is_empty() {
            self.said.insert(field, Setting { value: value.to_string(), origin });
        }
    }
}

impl Row {
    fn prefixed(&self) -> String {
        match self.field {
            Field::RackpoolDb => self.variable.to_string(),
            _ => format!("CALICO_{}", self.variable),
        }
    }

    /// The variable that counts, and its value.
    fn lookup<'e>(&self, environment: &'e Environment) -> Option<(String, &'e str)> {
        let plain = (self.field != Field::K8sApiToken).then(|| self.variable.to_string());
        let names = [Some(self.prefixed()), plain];
        names.into_iter().flatten().find_map(|name| environment.lookup(&name).map(|value| (name, value)))
    }
}

fn cni_text(configuration: &Json, path: &str) -> Option<String> {
    let value = path.split('.').try_fold(configuration, |at, step| at.get(step))?;
    match value {
        Json::String(text) if !text.is_empty() => Some(text.clone()),
        Json::Number(number) if number.as_f64() != Some(0.0) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Result<Settings, SetupError> {
        Settings::from_environment(&variables.iter().copied().collect())
    }

    #[test]
    fn the_prefixed_variable_wins_even_when_empty() {
        let both = from(&[("DATASTORE_TYPE", "etcdv3"), ("CALICO_DATASTORE_TYPE", "kubernetes")]).unwrap();
        assert_eq!(
            both.get(Field::DatastoreType).unwrap().quoted(),
            "CALICO_DATASTORE_TYPE = \"kubernetes\""
        );
        let empty = from(&[("DATASTORE_TYPE", "etcdv3"), ("CALICO_DATASTORE_TYPE", "")]).unwrap();
        assert_eq!(empty.get(Field::DatastoreType), None);
        let token =
            from(&[("K8S_API_TOKEN", "a"), ("K8SAPITOKEN", "b"), ("CALICO_K8SAPITOKEN", "c")]).unwrap();
        assert_eq!(token.value(Field::K8sApiToken), Some("c"));
    }

    #[test]
    fn an_empty_truth_value_is_an_error() {
        let error = from(&[("K8S_INSECURE_SKIP_TLS_VERIFY", "")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "envconfig.Process: assigning CALICO_K8S_INSECURE_SKIP_TLS_VERIFY to K8sInsecureSkipTLSVerify: \
             converting '' to type bool. details: strconv.ParseBool: parsing \"\": invalid syntax"
        );
        assert!(from(&[("K8S_CLIENT_QPS", "fast")]).is_err());
        assert_eq!(from(&[("K8S_CLIENT_BURST", "7")]).unwrap().value(Field::K8sClientBurst), Some("7"));
    }

    #[test]
    fn a_cni_configuration_goes_before_the_environment() {
        let environment = from(&[("ETCD_ENDPOINTS", "http://e:1"), ("KUBECONFIG", "/k")]).unwrap();
        let cni = serde_json::json!({
            "etcd_endpoints": "http://c:1", "qps": 0, "burst": 3, "datastore_type": "",
            "kubernetes": {"kubeconfig": "/c"}, "policy": {"type": "k8s", "k8s_auth_token": "t"}
        });
        let settings = environment.with_cni(&cni);
        let value = |field| settings.value(field);
        assert_eq!(value(Field::EtcdEndpoints), Some("http://c:1"));
        assert_eq!(value(Field::Kubeconfig), Some("/c"));
        assert_eq!((value(Field::K8sClientQps), value(Field::K8sClientBurst)), (None, Some("3")));
        assert_eq!((value(Field::DatastoreType), value(Field::K8sApiToken)), (None, Some("t")));
        assert!(settings.kubernetes_policy);
        let old = Settings::default()
            .with_cni(&serde_json::json!({"etcd_authority": "h:1", "etcd_scheme": "https"}));
        assert_eq!(old.value(Field::EtcdEndpoints), Some("https://h:1"));
    }

    #[test]
    fn messages_hold_no_secrets() {
        let settings =
            from(&[("ETCD_ENDPOINTS", "http://u:p@a:1,https://b:2/x@y"), ("ETCD_PASSWORD", "p")]).unwrap();
        let quoted = settings.get(Field::EtcdEndpoints).unwrap().quoted();
        assert_eq!(quoted, "ETCD_ENDPOINTS = \"http://a:1,https://b:2/x@y\"");
        assert!(!format!("{settings:?}").contains("p@"), "{settings:?}");
    }

    #[test]
    fn every_field_has_one_row() {
        let mut fields: Vec<_> = TABLE.iter().map(|row| row.field).collect();
        fields.sort_unstable();
        fields.dedup();
        assert_eq!(fields.len(), TABLE.len());
        assert_eq!(fields.len(), Field::RackpoolDb as usize + 1);
    }
}
