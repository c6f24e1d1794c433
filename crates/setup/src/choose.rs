//! Chooses the store, and where it is.

use std::path::{Path, PathBuf};

use golang::strconv::parse_bool;

use crate::choice::{Choice, Doubt};
use crate::datastore::{Datastore, EtcdSettings, KubernetesSettings, ProxySettings, TlsSettings};
use crate::embedded::{self, Circumstances};
use crate::environment::Environment;
use crate::error::SetupError;
use crate::fields::Field;
use crate::settings::{Setting, Settings};

impl Datastore {
    /// Chooses the store: the one that the settings name; else etcd where the settings hold its address; else
    /// Kubernetes where they hold a kubeconfig, an API endpoint or `policy.type: k8s`, or the process runs in
    /// a cluster; else the embedded store where they hold its file. Where they hold none of this: the
    /// embedded store if its file exists; else Kubernetes if `$HOME/.kube/config` exists and this build has
    /// it; else the embedded store again. [`Choice`] says in which of these cases the user has to decide.
    ///
    /// Of `environment` it reads only `HOME`, `XDG_STATE_HOME`, `KUBERNETES_SERVICE_HOST`,
    /// `KUBERNETES_SERVICE_PORT` and the variables that name proxies.
    ///
    /// # Errors
    /// For an unknown type, for settings of etcd that contradict each other, and where the embedded store
    /// would have no place.
    pub fn choose(settings: &Settings, environment: &Environment) -> Result<Datastore, SetupError> {
        Choice::make(settings, environment).map(|choice| choice.datastore)
    }
}

impl Choice {
    /// Chooses the store as [`Datastore::choose`] does.
    ///
    /// # Errors
    /// As [`Datastore::choose`].
    pub fn make(settings: &Settings, environment: &Environment) -> Result<Choice, SetupError> {
        choose(settings, environment, Circumstances::of_process)
    }
}

fn choose<'c>(
    settings: &Settings,
    environment: &Environment,
    circumstances: impl Fn() -> Circumstances<'c>,
) -> Result<Choice, SetupError> {
    match named(settings, environment, &circumstances)? {
        Some(datastore) => {
            let doubt = match &datastore {
                Datastore::Embedded { path, chosen_by } => misspelt(path, chosen_by, &circumstances()),
                _ => None,
            };
            Ok(Choice { datastore, doubt })
        }
        None => what_is_there(settings, environment, &circumstances()),
    }
}

/// Whether the name of a store's file may be misspelt.
fn misspelt(file: &Path, by: &str, circumstances: &Circumstances<'_>) -> Option<Doubt> {
    let meant = (!circumstances.holds_store(file)).then(|| circumstances.meant(file))??;
    Some(Doubt::Misspelt { file: file.to_path_buf(), by: by.to_string(), meant })
}

/// The store that the settings name.
fn named<'c>(
    settings: &Settings,
    environment: &Environment,
    circumstances: impl Fn() -> Circumstances<'c>,
) -> Result<Option<Datastore>, SetupError> {
    let file = settings
        .get(Field::RackpoolDb)
        .map(|said| Datastore::Embedded { path: PathBuf::from(&said.value), chosen_by: said.quoted() });
    if let Some(named) = settings.get(Field::DatastoreType) {
        return match (named.value.as_str(), file) {
            ("embedded", Some(file)) => Ok(Some(file)),
            ("embedded", None) => {
                let (path, chosen_by) = embedded::default_path(environment, &circumstances())?;
                Ok(Some(Datastore::Embedded { path, chosen_by }))
            }
            ("etcdv3", _) => etcd(settings, named.quoted()).map(Some),
            ("kubernetes", _) => {
                Ok(Some(Datastore::Kubernetes(kubernetes(settings, environment, named.quoted()))))
            }
            (unknown, _) => Err(SetupError::UnknownType(outside::shown_word(unknown))),
        };
    }
    let first_of =
        |fields: &[Field]| fields.iter().find_map(|field| settings.get(*field)).map(Setting::quoted);
    if let Some(by) = first_of(&[Field::EtcdEndpoints, Field::EtcdDiscoverySrv]) {
        return etcd(settings, by).map(Some);
    }
    let inline = settings.get(Field::KubeconfigInline).map(|setting| setting.origin.to_string());
    let policy =
        settings.kubernetes_policy.then(|| "policy.type in the CNI configuration = \"k8s\"".to_string());
    let host = environment.get("KUBERNETES_SERVICE_HOST");
    let in_cluster = host.map(|host| format!("KUBERNETES_SERVICE_HOST = {host:?}"));
    match first_of(&[Field::Kubeconfig, Field::K8sApiEndpoint]).or(inline).or(policy).or(in_cluster) {
        Some(by) => Ok(Some(Datastore::Kubernetes(kubernetes(settings, environment, by)))),
        None => Ok(file),
    }
}

/// The store where nothing names one.
fn what_is_there(
    settings: &Settings,
    environment: &Environment,
    circumstances: &Circumstances<'_>,
) -> Result<Choice, SetupError> {
    let (path, chosen_by) = embedded::default_path(environment, circumstances)?;
    let kubeconfig = own_kubeconfig(environment)
        .filter(|path| cfg!(feature = "kubernetes") && (circumstances.is_there)(path));
    let embedded = Datastore::Embedded { path: path.clone(), chosen_by };
    Ok(match (circumstances.holds_store(&path), kubeconfig) {
        (true, None) => Choice { datastore: embedded, doubt: None },
        (true, Some(kubeconfig)) => {
            Choice { datastore: embedded, doubt: Some(Doubt::TwoStores { file: path, kubeconfig }) }
        }
        (false, Some(kubeconfig)) => {
            let by = format!("the kubeconfig {}, as nothing names a store", kubeconfig.display());
            let settings = kubernetes(settings, environment, by);
            let kubeconfig = Some(kubeconfig.display().to_string());
            Choice {
                datastore: Datastore::Kubernetes(KubernetesSettings { kubeconfig, ..settings }),
                doubt: None,
            }
        }
        (false, None) => Choice { datastore: embedded, doubt: Some(Doubt::NoStoreYet(path)) },
    })
}

/// The proxies that the environment names, in upper or in lower case.
fn proxies(environment: &Environment) -> ProxySettings {
    let of = |upper: &str, lower: &str| environment.get(upper).or(environment.get(lower)).map(str::to_string);
    ProxySettings {
        https: of("HTTPS_PROXY", "https_proxy"),
        http: of("HTTP_PROXY", "http_proxy"),
        no: of("NO_PROXY", "no_proxy"),
    }
}

/// Where a user's own kubeconfig is, if there is one.
fn own_kubeconfig(environment: &Environment) -> Option<PathBuf> {
    environment.get("HOME").map(|home| PathBuf::from(home).join(".kube/config"))
}

/// Checks etcd's settings, in the order of `libcalico-go/lib/backend/etcdv3/etcdv3.go`.
fn etcd(settings: &Settings, chosen_by: String) -> Result<Datastore, SetupError> {
    let text = |field| settings.value(field).map(str::to_string);
    let endpoints: Vec<String> = settings
        .value(Field::EtcdEndpoints)
        .into_iter()
        .flat_map(|all| all.split(','))
        .map(str::to_string)
        .collect();
    let discovery_srv = text(Field::EtcdDiscoverySrv);
    if !endpoints.is_empty() && discovery_srv.is_some() {
        return Err(SetupError::EndpointsAndDiscovery);
    }
    if endpoints.is_empty() && discovery_srv.is_none() {
        return Err(SetupError::NoEndpoints);
    }
    let files = [Field::EtcdKeyFile, Field::EtcdCertFile, Field::EtcdCaCertFile].map(text);
    let texts = [Field::EtcdKey, Field::EtcdCert, Field::EtcdCaCert].map(text);
    let inline = texts.iter().any(Option::is_some);
    if inline && files.iter().any(Option::is_some) {
        return Err(SetupError::MixedCertificates);
    }
    let [key, cert, ca] = if inline { texts } else { files };
    Ok(Datastore::Etcd(EtcdSettings {
        endpoints,
        discovery_srv,
        username: text(Field::EtcdUsername),
        password: text(Field::EtcdPassword),
        tls: TlsSettings { key, cert, ca, inline },
        chosen_by,
    }))
}

/// The settings for Kubernetes, whichever store they choose.
pub(crate) fn kubernetes(
    settings: &Settings,
    environment: &Environment,
    chosen_by: String,
) -> KubernetesSettings {
    let text = |field| settings.value(field).map(str::to_string);
    let truth = |field| settings.value(field).and_then(parse_bool).unwrap_or(false);
    let [key, cert, ca] = [Field::K8sKeyFile, Field::K8sCertFile, Field::K8sCaFile].map(text);
    let service = |name: &str| environment.get(&format!("KUBERNETES_SERVICE_{name}")).map(str::to_string);
    KubernetesSettings {
        kubeconfig: text(Field::Kubeconfig),
        kubeconfig_inline: text(Field::KubeconfigInline),
        default_kubeconfig: own_kubeconfig(environment),
        in_cluster: service("HOST").map(|host| (host, service("PORT").unwrap_or_else(|| "443".to_string()))),
        context: text(Field::K8sCurrentContext),
        endpoint: text(Field::K8sApiEndpoint),
        tls: TlsSettings { key, cert, ca, inline: false },
        token: text(Field::K8sApiToken),
        insecure_skip_tls_verify: truth(Field::K8sInsecureSkipTlsVerify),
        qps: settings.value(Field::K8sClientQps).and_then(|text| text.parse().ok()),
        burst: settings.value(Field::K8sClientBurst).and_then(|text| text.parse().ok()),
        api_group: text(Field::CalicoApiGroup),
        proxies: Box::new(proxies(environment)),
        interface_prefix: environment.interface_prefix(),
        disable_node_poll: truth(Field::K8sDisableNodePoll),
        use_pod_cidr: truth(Field::UsePodCidr),
        chosen_by,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn user() -> Circumstances<'static> {
        Circumstances { root: false, is_there: &|_| false, names_in: &|_| Vec::new() }
    }

    fn datastore_of(variables: &[(&str, &str)], cni: serde_json::Value) -> Result<Datastore, SetupError> {
        let environment: Environment = variables.iter().copied().chain([("HOME", "/h")]).collect();
        let settings = Settings::from_environment(&environment)?.with_cni(&cni);
        Ok(choose(&settings, &environment, user)?.datastore)
    }

    /// The type, and what chose it.
    fn type_and_reason(variables: &[(&str, &str)], cni: serde_json::Value) -> (&'static str, String) {
        let datastore = datastore_of(variables, cni).unwrap();
        (datastore.type_name(), datastore.chosen_by().to_string())
    }

    #[test]
    fn the_order_of_what_chooses() {
        let everything = [
            ("ETCD_ENDPOINTS", "http://e"),
            ("KUBECONFIG", "/k"),
            ("KUBERNETES_SERVICE_HOST", "10.0.0.1"),
            ("RACKPOOL_DB", "/r.db"),
        ];
        let named = |name: &str| json!({"datastore_type": name, "policy": {"type": "k8s"}});
        let cni = |by: &str, value: &str| format!("{by} in the CNI configuration = {value:?}");
        let rows = [
            (&everything[..], named("embedded"), ("embedded", "RACKPOOL_DB = \"/r.db\"".to_string())),
            (&everything[..], named("kubernetes"), ("kubernetes", cni("datastore_type", "kubernetes"))),
            (&everything[..], named("etcdv3"), ("etcdv3", cni("datastore_type", "etcdv3"))),
            (&everything[..], json!({}), ("etcdv3", "ETCD_ENDPOINTS = \"http://e\"".to_string())),
            (&everything[1..], json!({}), ("kubernetes", "KUBECONFIG = \"/k\"".to_string())),
            (&everything[2..], named(""), ("kubernetes", cni("policy.type", "k8s"))),
            (
                &everything[2..],
                json!({}),
                ("kubernetes", "KUBERNETES_SERVICE_HOST = \"10.0.0.1\"".to_string()),
            ),
            (&everything[3..], json!({}), ("embedded", "RACKPOOL_DB = \"/r.db\"".to_string())),
            (&everything[3..], json!({"rackpool_db": "/c.db"}), ("embedded", cni("rackpool_db", "/c.db"))),
            (&[], json!(null), ("embedded", "the default for a user, from HOME".to_string())),
        ];
        for (variables, cni, wanted) in rows {
            assert_eq!(type_and_reason(variables, cni.clone()), wanted, "{variables:?} {cni}");
        }
    }

    #[cfg(feature = "kubernetes")]
    #[test]
    fn where_nothing_names_a_store_it_is_the_one_that_is_there() {
        let (file, wal) =
            ("/h/.local/state/rackpool/rackpool.db", "/h/.local/state/rackpool/rackpool.db-wal");
        let config = "/h/.kube/config";
        let two = Doubt::TwoStores { file: file.into(), kubeconfig: config.into() };
        let not_yet = Doubt::NoStoreYet(file.into());
        let rows: [(&[&str], &str, Option<Doubt>); 6] = [
            (&[], "embedded", Some(not_yet)),
            (&[file], "embedded", None),
            (&[wal], "embedded", None),
            (&[config], "kubernetes", None),
            (&[file, config], "embedded", Some(two.clone())),
            (&[wal, config], "embedded", Some(two)),
        ];
        for (there, datastore, doubt) in rows {
            let is_there = |path: &Path| there.contains(&path.to_str().unwrap());
            let at = |variables: &[(&str, &str)]| {
                let environment = variables.iter().copied().chain([("HOME", "/h")]).collect();
                let settings = Settings::from_environment(&environment).unwrap();
                choose(&settings, &environment, || Circumstances {
                    root: false,
                    is_there: &is_there,
                    names_in: &|_| Vec::new(),
                })
                .unwrap()
            };
            let choice = at(&[]);
            assert_eq!((choice.datastore.type_name(), choice.doubt), (datastore, doubt), "{there:?}");
            for named in [("RACKPOOL_DB", file), ("DATASTORE_TYPE", "embedded"), ("KUBECONFIG", config)] {
                assert_eq!(at(&[named]).doubt, None, "{there:?} {named:?}");
            }
        }
        let is_there = |path: &Path| path == Path::new(config);
        let environment = [("HOME", "/h")].into_iter().collect();
        let circumstances = || Circumstances { root: true, is_there: &is_there, names_in: &|_| Vec::new() };
        let choice = choose(&Settings::default(), &environment, circumstances).unwrap();
        assert_eq!(choice.datastore.place(), "Kubernetes, by the kubeconfig /h/.kube/config");
    }

    #[test]
    fn a_misspelt_name_of_a_file_is_noticed() {
        let names_in = |folder: &Path| match folder.to_str() {
            Some("/d") => vec!["rackpool.db".to_string(), "rackpool.db-wal".to_string()],
            _ => Vec::new(),
        };
        let is_there = |path: &Path| path == Path::new("/d/rackpool.db");
        let doubt = |file: &str| {
            let environment = [("RACKPOOL_DB", file)].into_iter().collect();
            let settings = Settings::from_environment(&environment).unwrap();
            let circumstances = || Circumstances { root: false, is_there: &is_there, names_in: &names_in };
            choose(&settings, &environment, circumstances).unwrap().doubt
        };
        let Some(Doubt::Misspelt { meant, .. }) = doubt("/d/rackpol.db") else { panic!("it is not noticed") };
        assert_eq!(meant, Path::new("/d/rackpool.db"));
        for file in ["/d/rackpool.db", "/d/other.db", "/e/rackpol.db"] {
            assert_eq!(doubt(file), None, "{file}");
        }
    }

    #[test]
    fn contradictions_are_errors() {
        let error = |variables: &[(&str, &str)]| datastore_of(variables, json!({})).unwrap_err().to_string();
        assert_eq!(error(&[("DATASTORE_TYPE", "mongodb")]), "unknown datastore type: mongodb");
        assert_eq!(error(&[("DATASTORE_TYPE", "etcdv3")]), "no etcd endpoints specified");
        assert_eq!(
            error(&[("ETCD_ENDPOINTS", "http://e"), ("ETCD_DISCOVERY_SRV", "d")]),
            SetupError::EndpointsAndDiscovery.to_string()
        );
        let mixed = json!({"apiVersion": "projectcalico.org/v3", "kind": "CalicoAPIConfig",
            "spec": {"etcdEndpoints": "a", "etcdKey": "k", "etcdCertFile": "c"}});
        let settings = Settings::from_file("f", &mixed).unwrap();
        let error = choose(&settings, &Environment::default(), user).unwrap_err();
        assert_eq!(error, SetupError::MixedCertificates);
    }

    #[test]
    fn all_settings_are_carried() {
        let found = datastore_of(
            &[
                ("ETCD_ENDPOINTS", "https://a:1,https://b:1"),
                ("ETCD_USERNAME", "u"),
                ("ETCD_PASSWORD", "secret"),
                ("ETCD_CA_CERT_FILE", "/ca"),
            ],
            json!({}),
        );
        let Ok(Datastore::Etcd(etcd)) = found else { panic!("{found:?}") };
        assert_eq!(etcd.endpoints, ["https://a:1", "https://b:1"]);
        assert_eq!((etcd.username.as_deref(), etcd.password.as_deref()), (Some("u"), Some("secret")));
        assert_eq!((etcd.tls.ca.as_deref(), etcd.tls.inline), (Some("/ca"), false));
        assert!(!format!("{etcd:?}").contains("secret"));
        let named =
            datastore_of(&[("ETCD_ENDPOINTS", "http://u:secret@a:1, http://b:1")], json!({})).unwrap();
        assert_eq!(named.place(), "etcd at http://a:1, http://b:1");

        let found = datastore_of(
            &[
                ("KUBERNETES_SERVICE_HOST", "h"),
                ("K8S_CLIENT_QPS", "2.5"),
                ("K8S_INSECURE_SKIP_TLS_VERIFY", "T"),
            ],
            json!({"burst": 9, "calico_api_group": "g", "policy": {"k8s_auth_token": "secret"}}),
        );
        let Ok(Datastore::Kubernetes(k)) = found else { panic!("{found:?}") };
        assert_eq!((k.qps, k.burst, k.insecure_skip_tls_verify), (Some(2.5), Some(9), true));
        assert_eq!(k.in_cluster, Some(("h".to_string(), "443".to_string())));
        assert_eq!(k.default_kubeconfig, Some(PathBuf::from("/h/.kube/config")));
        assert_eq!((k.api_group.as_deref(), k.token.as_deref()), (Some("g"), Some("secret")));
        assert!(!format!("{k:?}").contains("secret"));
    }
}
