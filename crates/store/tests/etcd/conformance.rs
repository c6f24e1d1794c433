//! The conformance suite: each case on a server of its own, and all cases on a cluster.

use servers::etcd_server::{EtcdCluster, EtcdServer, is_left_out};
use store::etcd::EtcdStore;
use store::testing::etcd_client::{Client, DeleteOptions};
use store::testing::{Backend, conformance};

use super::fixture::{needs_etcd, open, raw};

async fn put_text(mut client: Client, path: &str, text: &str) -> bool {
    client.put(path, text, None).await.unwrap();
    true
}

struct One(EtcdServer);

impl Backend for One {
    type Store = EtcdStore;

    async fn fresh(&self) -> EtcdStore {
        open(&[self.0.endpoint()])
    }

    async fn put_text(&self, _store: &EtcdStore, path: &str, text: &str) -> bool {
        put_text(raw(&self.0.endpoint()).await, path, text).await
    }
}

mod one {
    use super::*;

    store::conformance!({
        if is_left_out() {
            return;
        }
        One(EtcdServer::start())
    });
}

struct Three(EtcdCluster);

impl Backend for Three {
    type Store = EtcdStore;

    async fn fresh(&self) -> EtcdStore {
        let mut client = raw(&self.0.members[0].endpoint()).await;
        client.delete("", Some(DeleteOptions::new().with_all_keys())).await.unwrap();
        open(&self.0.endpoints())
    }

    async fn put_text(&self, _store: &EtcdStore, path: &str, text: &str) -> bool {
        put_text(raw(&self.0.members[1].endpoint()).await, path, text).await
    }
}

#[tokio::test]
async fn a_cluster_passes() {
    needs_etcd!();
    conformance::suite(&Three(EtcdCluster::start())).await;
}
