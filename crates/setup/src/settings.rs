//! The settings of the connection, each with its origin.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value as Json;

use crate::environment::Environment;
use crate::error::SetupError;
use crate::fields::{Field, TABLE};

/// Where a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A configuration file.
    File {
        /// The field of the file's `spec`.
        field: &'static str,
        /// The path of the file.
        path: String,
    },
    /// An environment variable, by its name.
    Variable(String),
    /// A field of a CNI configuration, as a path with dots.
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

/// A setting's value, never empty, and its origin.
#[derive(Clone, PartialEq, Eq)]
pub struct Setting {
    /// The value as text.
    pub value: String,
    /// Where the value comes from.
    pub origin: Origin,
}

/// Shows the origin and not the value, which may be a secret.
impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<from {}>", self.origin)
    }
}

impl Setting {
    /// Origin and value, for messages; of URLs only scheme, host and port. Not for fields that are secrets
    /// themselves.
    pub fn quoted(&self) -> String {
        let looks_like_urls =
            !self.value.starts_with('/') && (self.value.contains("://") || self.value.contains('@'));
        let value = if looks_like_urls { shown_urls(&self.value).join(",") } else { self.value.clone() };
        format!("{} = {value:?}", self.origin)
    }
}

/// A list of URLs with commas between them, as messages may show it: scheme, host and port of each. Users,
/// passwords and paths are left out. A piece that may be part of a password with a comma in it is left out as
/// a whole.
pub fn shown_urls(urls: &str) -> Vec<String> {
    let pieces: Vec<&str> = urls.split(',').map(str::trim).collect();
    let goes_on = |next: Option<&&str>| next.is_some_and(|next| next.contains('@') && !next.contains("://"));
    let shown = pieces.iter().enumerate().map(|(at, piece)| match goes_on(pieces.get(at + 1)) {
        true => None,
        false => shown_url(piece),
    });
    shown.map(|url| url.unwrap_or_else(|| "<no URL>".to_string())).collect()
}

fn shown_url(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    // A user and a password may contain characters that otherwise end a host, so the host is what follows the
    // last `@`.
    let host = rest.rsplit('@').next().unwrap_or_default();
    let host = host.split(['/', '?', '#']).next().unwrap_or_default();
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port),
        _ => (host, ""),
    };
    let is_word =
        |text: &str, more: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
    let inner = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let is_host = inner.map_or_else(|| is_word(name, "-._"), |inner| is_word(inner, ":.%"));
    let is_good = is_word(scheme, "+-.") && is_host && port.chars().all(|c| c.is_ascii_digit());
    let scheme = if scheme.is_empty() { String::new() } else { format!("{scheme}://") };
    is_good.then(|| format!("{scheme}{host}"))
}

/// All settings of the connection that were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    said: BTreeMap<Field, Setting>,
    /// Whether a CNI configuration says `policy.type: k8s`, which is a hint for the choice of the store, and
    /// no setting.
    pub(crate) kubernetes_policy: bool,
}

impl Settings {
    /// Reads the environment. A variable with the prefix `CALICO_` goes before the one without, even when it
    /// is empty. An empty text counts as not set.
    ///
    /// # Errors
    /// When a number or a truth value cannot be parsed; an empty one cannot, either.
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

    /// Adds a CNI configuration, whose fields go before what was set so far. The types of the configuration
    /// have been checked before. Values that are no text, number or truth value count as not set, and so does
    /// 0, which stands for the default.
    pub fn with_cni(mut self, configuration: &Json) -> Settings {
        for row in TABLE {
            let said = row.cni.iter().find_map(|path| Some((*path, cni_text(configuration, path)?)));
            if let Some((path, value)) = said {
                self.set(row.field, &value, Origin::Cni(path.to_string()));
            }
        }
        // `etcd_authority` is deprecated; it is from a time when there was only one endpoint.
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

    /// A setting, where it was given.
    pub fn get(&self, field: Field) -> Option<&Setting> {
        self.said.get(&field)
    }

    /// The value of a setting, where it was given.
    pub fn value(&self, field: Field) -> Option<&str> {
        self.get(field).map(|setting| setting.value.as_str())
    }

    /// Sets a field to a value from the command line (`--context`). An empty value changes nothing.
    pub fn set(&mut self, field: Field, value: &str, origin: Origin) {
        if !value.is_empty() {
            self.said.insert(field, Setting { value: value.to_string(), origin });
        }
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
            "failed to load config from env vars: envconfig.Process: assigning CALICO_K8S_INSECURE_SKIP_TLS_VERIFY to K8sInsecureSkipTLSVerify: \
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
        assert_eq!(quoted, "ETCD_ENDPOINTS = \"http://a:1,https://y\"");
        assert!(!format!("{settings:?}").contains("p@"), "{settings:?}");
        for (value, shown) in [
            ("u:p@a:2379", "a:2379"),
            ("u:p@a:2379,b:2379", "a:2379,b:2379"),
            ("http://u:p/w@a:1", "http://a:1"),
            ("http://u:1,p@a:1", "<no URL>,a:1"),
            ("http://u:pa:1", "<no URL>"),
            ("http://u:p,https://b:1", "<no URL>,https://b:1"),
            ("https://[fd00::1]:2379/?token=p", "https://[fd00::1]:2379"),
            ("https://a.example", "https://a.example"),
        ] {
            assert_eq!(shown_urls(value).join(","), shown);
        }
        let path = from(&[("RACKPOOL_DB", "/a,b/c.db")]).unwrap();
        assert_eq!(path.get(Field::RackpoolDb).unwrap().quoted(), "RACKPOOL_DB = \"/a,b/c.db\"");
    }
}
