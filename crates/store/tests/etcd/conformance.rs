//! The conformance suite: each case on a server of its own, and all cases on a cluster.

use servers::etcd_server::{EtcdCluster, EtcdServer, is_left_out};
use store::etcd::EtcdStore;
use store::testing::etcd_client::{Client, DeleteOptions};
use store::testing::{Backend, conformance};
use store::{Batch, Expect, Outcome, Store};

use super::fixture::{WITHIN, counted, find, handle, needs_etcd, open, raw, set};

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

/// A delete and a create of one key are two transactions. A guarded record that is to be looked at before the
/// create is compared in the second, too.
#[tokio::test]
async fn a_guarded_record_is_compared_in_a_later_transaction() {
    needs_etcd!();
    let server = EtcdServer::start();
    let store = open(&[server.endpoint()]);
    for is_looked_at in [false, true] {
        let guarded = set(&store, &handle("guarded"), counted(1)).await;
        let claimed = set(&store, &handle("a"), counted(1)).await;
        let mut batch = Batch::new();
        batch.guard(handle("guarded"), Some(guarded.clone()));
        batch.put(handle("guarded"), Expect::at(&guarded), counted(2));
        batch.delete(handle("a"), Expect::at(&claimed));
        let create = batch.put(handle("a"), Expect::Absent, counted(2));
        if is_looked_at {
            batch.look_again(&handle("guarded"), create);
        }
        let report = store.commit(&batch, WITHIN).await.unwrap();
        assert_eq!(report.is_applied(), !is_looked_at, "{report:?}");
        assert_eq!(report.broken_guard, is_looked_at.then_some(0));
        assert!(
            matches!(report.outcomes[..create], [Outcome::Applied(_), Outcome::Applied(_)]),
            "{report:?}"
        );
        assert_eq!(find(&store, &handle("a")).await.is_none(), is_looked_at);
    }
}
