//! Opens the Kubernetes API server as the settings say.

use std::path::PathBuf;
use std::time::Duration;

use api::crd::Group;
use store::AnyStore;
use store::kubernetes::{Deletion, InCluster, KubeOptions, KubeStore, Kubeconfig, Pem, Proxies};

use crate::choose;
use crate::datastore::{KubernetesSettings, ProxySettings};
use crate::environment::Environment;
use crate::error::SetupError;
use crate::settings::Settings;

/// Requests a second, where the settings limit only the requests at once (client-go's default).
const QPS: f32 = 5.0;
/// Requests at once, where the settings limit only the requests a second
/// (`libcalico-go/lib/backend/k8s/k8s.go`).
const BURST: u32 = 100;

/// Opens the store. Nothing is sent before the first call.
pub(crate) fn open(
    settings: &KubernetesSettings,
    silence: Option<Duration>,
    deletes_at_once: bool,
) -> Result<AnyStore, SetupError> {
    let options = options(settings);
    let connect_within = silence.unwrap_or(options.connect_within);
    let deletion = if deletes_at_once { Deletion::Atomic } else { Deletion::TwoPhase };
    Ok(AnyStore::Kubernetes(KubeStore::open(KubeOptions { silence, connect_within, deletion, ..options })?))
}

/// Opens the Kubernetes API server that the settings describe, whichever store they choose. Callers need it
/// for what only Kubernetes knows, such as the labels of a namespace. Nothing is sent before the first call.
///
/// # Errors
/// Where the settings name no server, and where they cannot be used.
pub fn connect_kubernetes(settings: &Settings, environment: &Environment) -> Result<KubeStore, SetupError> {
    let settings = choose::kubernetes(settings, environment, String::new());
    Ok(KubeStore::open(options(&settings))?)
}

/// Opens the API server of the cluster whose data is in another store, where the settings or the pod's own
/// service account name one. The user's own kubeconfig names none: it may be of any cluster.
///
/// # Errors
/// Where the settings cannot be used.
pub fn kubernetes_beside(
    settings: &Settings,
    environment: &Environment,
) -> Result<Option<KubeStore>, SetupError> {
    let settings = choose::kubernetes(settings, environment, String::new());
    let settings = KubernetesSettings { default_kubeconfig: None, ..settings };
    let is_named = settings.kubeconfig.is_some()
        || settings.kubeconfig_inline.is_some()
        || settings.endpoint.is_some()
        || settings.in_cluster.is_some();
    Ok(if is_named { Some(KubeStore::open(options(&settings))?) } else { None })
}

fn options(settings: &KubernetesSettings) -> KubeOptions {
    let file = |path: &Option<String>| path.clone().map(|path| Pem::File(path.into()));
    let in_cluster = settings.in_cluster.clone();
    KubeOptions {
        kubeconfig: kubeconfig(settings),
        context: settings.context.clone(),
        in_cluster: in_cluster.map(|(host, port)| InCluster::new(host, port)),
        endpoint: settings.endpoint.clone(),
        token: settings.token.clone(),
        ca: file(&settings.tls.ca),
        cert: file(&settings.tls.cert),
        key: file(&settings.tls.key),
        insecure: settings.insecure_skip_tls_verify,
        proxies: proxies(&settings.proxies),
        group: settings.api_group.as_deref().map(Group::from_setting),
        pace: pace(settings.qps, settings.burst),
        interface_prefix: settings.interface_prefix.clone(),
        ..KubeOptions::default()
    }
}

fn proxies(settings: &ProxySettings) -> Proxies {
    let ProxySettings { https, http, no } = settings.clone();
    Proxies { https, http, no }
}

/// The kubeconfig: its text goes before its files, as in Calico. The user's own file is the last resort, and
/// is not used where the settings name an endpoint.
fn kubeconfig(settings: &KubernetesSettings) -> Option<Kubeconfig> {
    if let Some(text) = &settings.kubeconfig_inline {
        return Some(Kubeconfig::Inline(text.clone()));
    }
    if let Some(paths) = &settings.kubeconfig {
        let paths = paths.split(':').filter(|path| !path.is_empty()).map(PathBuf::from);
        return Some(Kubeconfig::Files(paths.collect()));
    }
    let own =
        settings.default_kubeconfig.as_ref().filter(|path| settings.endpoint.is_none() && path.exists());
    own.map(|path| Kubeconfig::Files(vec![path.clone()]))
}

/// The limit on requests. Without settings we set none: the server has its own limit, and answers 429 to
/// requests beyond it. A negative rate means no limit, too.
fn pace(qps: Option<f32>, burst: Option<u32>) -> Option<(f32, u32)> {
    if qps.is_none() && burst.is_none() {
        return None;
    }
    let qps = qps.unwrap_or(QPS);
    (qps > 0.0).then(|| (qps, burst.unwrap_or(BURST).max(1)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Datastore, Environment, Settings};

    fn from(variables: &[(&str, &str)], cni: serde_json::Value) -> KubeOptions {
        let environment: Environment = variables.iter().copied().collect();
        let settings = Settings::from_environment(&environment).unwrap().with_cni(&cni);
        match Datastore::choose(&settings, &environment).unwrap() {
            Datastore::Kubernetes(settings) => options(&settings),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn everything_arrives() {
        let found = from(
            &[
                ("KUBECONFIG", "/a:/b"),
                ("K8S_CURRENT_CONTEXT", "c"),
                ("K8S_API_ENDPOINT", "https://h:1"),
                ("K8S_CA_FILE", "/ca"),
                ("K8S_CERT_FILE", "/cert"),
                ("K8S_KEY_FILE", "/key"),
                ("CALICO_K8SAPITOKEN", "t"),
                ("K8S_INSECURE_SKIP_TLS_VERIFY", "true"),
                ("K8S_CLIENT_QPS", "20"),
                ("CALICO_API_GROUP", "ProjectCalico.org/v3"),
                ("FELIX_INTERFACEPREFIX", "eni, cali"),
            ],
            json!({}),
        );
        let file = |path: &str| Some(Pem::File(path.into()));
        assert_eq!(found.kubeconfig, Some(Kubeconfig::Files(vec!["/a".into(), "/b".into()])));
        assert_eq!((found.context.as_deref(), found.endpoint.as_deref()), (Some("c"), Some("https://h:1")));
        assert_eq!((found.ca, found.cert, found.key), (file("/ca"), file("/cert"), file("/key")));
        assert_eq!((found.token.as_deref(), found.insecure), (Some("t"), true));
        assert_eq!((found.pace, found.group), (Some((20.0, BURST)), Some(Group::V3)));
        assert_eq!(found.interface_prefix, "eni");
    }

    #[test]
    fn a_cni_configuration_says_it_too() {
        let cni = json!({"datastore_type": "kubernetes", "kubernetes": {"kubeconfig": "/c", "k8s_api_root": "https://h:2"},
            "policy": {"k8s_auth_token": "t"}, "burst": 3});
        let found = from(&[], cni);
        assert_eq!(found.kubeconfig, Some(Kubeconfig::Files(vec!["/c".into()])));
        assert_eq!(found.endpoint.as_deref(), Some("https://h:2"));
        assert_eq!((found.token.as_deref(), found.pace), (Some("t"), Some((QPS, 3))));
        assert_eq!((found.group, found.interface_prefix.as_str()), (None, "cali"));
    }

    #[test]
    fn the_users_own_file_is_the_last_resort() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(".kube/config");
        let base = [("DATASTORE_TYPE", "kubernetes"), ("HOME", home.path().to_str().unwrap())];
        let service = [("KUBERNETES_SERVICE_HOST", "10.96.0.1"), ("KUBERNETES_SERVICE_PORT", "443")];
        let in_pod: Vec<_> = base.iter().chain(&service).copied().collect();
        assert_eq!(from(&in_pod, json!({})).kubeconfig, None);
        assert_eq!(from(&in_pod, json!({})).in_cluster, Some(InCluster::new("10.96.0.1", "443")));
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "").unwrap();
        assert_eq!(from(&base, json!({})).kubeconfig, Some(Kubeconfig::Files(vec![path])));
        let endpoint: Vec<_> = base.iter().copied().chain([("K8S_API_ENDPOINT", "https://h:1")]).collect();
        assert_eq!(from(&endpoint, json!({})).kubeconfig, None);
    }

    #[test]
    fn beside_another_store_a_server_must_be_named() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".kube")).unwrap();
        std::fs::write(home.path().join(".kube/config"), "").unwrap();
        let beside = |more: &[(&str, &str)]| {
            let base = [("ETCD_ENDPOINTS", "http://h:2379"), ("HOME", home.path().to_str().unwrap())];
            let environment: Environment = base.iter().chain(more).copied().collect();
            let settings = Settings::from_environment(&environment).unwrap();
            kubernetes_beside(&settings, &environment).map(|server| server.is_some())
        };
        assert!(!beside(&[]).unwrap());
        assert!(beside(&[("K8S_API_ENDPOINT", "https://h:1")]).unwrap());
        assert!(beside(&[("KUBECONFIG", "/nowhere")]).is_err(), "a file that is named has to be there");
    }

    /// Calico limits itself to 5 requests a second unless it is told otherwise, so that a burst of pods
    /// waits.
    #[test]
    fn a_pace_is_kept_only_when_asked_for() {
        assert_eq!(pace(None, None), None);
        assert_eq!(pace(Some(-1.0), Some(7)), None);
        assert_eq!(pace(Some(2.5), None), Some((2.5, 100)));
    }
}
