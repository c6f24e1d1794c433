//! The conformance suite, in both API groups.

use api::Key;
use api::crd::Group;
use serde_json::json;
use store::kubernetes::{Deletion, KubeOptions, KubeStore};
use store::testing::{Backend, Promises, conformance};

use super::fixture::{Cluster, cluster, collection};

struct Group1<'c> {
    cluster: &'c Cluster,
    group: Group,
    deletion: Deletion,
}

impl Backend for Group1<'_> {
    type Store = KubeStore;

    async fn fresh(&self) -> KubeStore {
        self.cluster.clear().await;
        KubeStore::open(KubeOptions { deletion: self.deletion, ..self.cluster.options(self.group) }).unwrap()
    }

    /// The schemas refuse a handle that is no object, but accept one that counts addresses in something that
    /// is no block.
    async fn put_text(&self, _store: &KubeStore, path: &str, _text: &str) -> bool {
        let found = Key::from_etcd_path(path);
        let is_kept = matches!(found, Some(Key::Handle(_)));
        if let Some(Key::Handle(id)) = found {
            let object = json!({"apiVersion": self.group.api_version(), "kind": "IPAMHandle", "metadata": {"name": id.as_str()},
                "spec": {"handleID": id.as_str(), "block": {"nonsense": 1}}});
            let at = collection(self.group, &Key::Handle(id));
            let (code, answer) = self.cluster.ask("POST", &at, Some(&object)).await;
            assert_eq!(code, 201, "{answer}");
        }
        is_kept
    }

    fn promises(&self) -> Promises {
        Promises { guards: false, transactions: false, touch: false, workload_endpoints: false, names: false }
    }
}

async fn passes(group: Group, deletion: Deletion) {
    let Some(cluster) = cluster().await else { return };
    conformance::suite(&Group1 { cluster: &cluster, group, deletion }).await;
}

#[tokio::test]
async fn the_first_group_passes() {
    passes(Group::V1, Deletion::TwoPhase).await;
}

#[tokio::test]
async fn the_second_group_passes() {
    passes(Group::V3, Deletion::TwoPhase).await;
}

#[tokio::test]
async fn deletion_in_one_request_passes() {
    passes(Group::V3, Deletion::Atomic).await;
}
