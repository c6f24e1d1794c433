//! The plugins' kubeconfig, by the token that an API server gives.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rackpoold::install::kubeconfig::{self, RenewError};
use rackpoold::install::{Notes, Places};
use servers::kube_server::{self, KubeServer, KubeServerOptions};
use setup::{Clock, Environment};
use store::kubernetes::{KubeOptions, KubeStore, Kubeconfig, ObjectName, ServiceAccount};
use store::{ReadSet, Store};

use super::{AGENT, WITHIN};

fn open(kubeconfig: &Path) -> KubeStore {
    let kubeconfig = Some(Kubeconfig::Files(vec![kubeconfig.to_path_buf()]));
    KubeStore::open(KubeOptions { kubeconfig, ..KubeOptions::default() }).unwrap()
}

#[tokio::test]
async fn the_plugins_have_an_account_of_their_own() {
    if kube_server::is_left_out() {
        return;
    }
    let server = KubeServer::start(KubeServerOptions::new().user("stranger", &[]).user(AGENT, &[]));
    let deploy = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy"));
    server.apply(&[&deploy.join("crds/v1"), &deploy.join("rbac")]);
    let dir = tempfile::tempdir().unwrap();
    let places =
        Places { networks: dir.path().join("net.d"), notes: dir.path().join("notes"), ..Places::default() };
    let mut notes = Notes::read(&places.notes).unwrap();
    let (agent, administrator) = (open(&server.kubeconfig_of(AGENT)), open(&server.kubeconfig()));
    let (now, account) = (Clock::start().now(), kubeconfig::account(&Environment::default()));

    let life = kubeconfig::renew(&places, &mut notes, &agent, &account, now, WITHIN).await.unwrap();
    assert!(life.as_secs() > 3000, "{life:?}");
    let file = places.kubeconfig();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let first = fs::read_to_string(&file).unwrap();

    // The plugins do with it what they may, and nothing else.
    let plugins = open(&file);
    let key = api::Key::global(api::Kind::ClusterInformation, "default");
    let view = plugins.read(&ReadSet::new().key(key.clone()), WITHIN).await.unwrap();
    assert!(view.resource(&key).is_some_and(|found| found.is_none()));
    let secrets = ObjectName { api: "/api/v1", plural: "secrets", namespace: Some("default"), name: "x" };
    let error = plugins.object(secrets, WITHIN).await.unwrap_err().to_string();
    assert!(error.contains("system:serviceaccount:kube-system:calico"), "{error}");

    kubeconfig::renew(&places, &mut notes, &agent, &account, now, WITHIN).await.unwrap();
    assert_ne!(fs::read_to_string(&file).unwrap(), first, "each token is another");

    // What fails leaves the kubeconfig as it is.
    let second = fs::read_to_string(&file).unwrap();
    let nobody = ServiceAccount { name: "nobody".to_string(), ..account.clone() };
    let error =
        kubeconfig::renew(&places, &mut notes, &administrator, &nobody, now, WITHIN).await.unwrap_err();
    assert!(
        matches!(&error, RenewError::NoAccount(_)) && error.to_string().contains("kube-system/nobody"),
        "{error}"
    );
    let stranger = open(&server.kubeconfig_of("stranger"));
    let error = kubeconfig::renew(&places, &mut notes, &stranger, &account, now, WITHIN).await.unwrap_err();
    for part in ["kube-system/calico", "serviceaccounts/token", "verbs: [\"create\"]"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), second);
}
