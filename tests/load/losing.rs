//! A store that loses one commit on its way.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use servers::proxy::{Passage, Proxy};
use store::testing::etcd_client;
use store::{Batch, Outcome, ReadSet, Report, Scope, Store, StoreError, View};
use tokio::time::sleep;

use crate::environment::LONG;

/// What happens to the lost commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The commit is applied, but no reply comes, and the connection breaks.
    Reply,
    /// The commit does not arrive, and the connection breaks.
    Request,
    /// The commit is applied, but no reply comes, and the connection stays until the caller gives up.
    Silence,
    /// The commit takes so long that the caller gives up. It arrives just before the caller's next commit.
    Late,
    /// The commit takes so long that the caller gives up. It arrives after the caller has finished.
    VeryLate,
}

/// A store that loses its `nth` commit, counted from 0.
pub struct Losing<'a, S> {
    pub inner: S,
    pub loss: Loss,
    pub nth: usize,
    pub count: &'a AtomicUsize,
    pub proxies: &'a [Proxy],
    /// A client of etcd that does not use the proxies.
    pub direct: etcd_client::Client,
    /// The commit that has not arrived yet.
    pub on_its_way: Mutex<Option<Batch>>,
}

impl<S: Store> Losing<'_, S> {
    fn pass(&self, passage: Passage) {
        self.proxies.iter().for_each(|proxy| proxy.set(passage));
    }

    /// Passes the request on or not, and breaks the connection before a reply comes.
    async fn lose(&self, before: i64) {
        match self.loss {
            Loss::Request | Loss::Late | Loss::VeryLate => sleep(Duration::from_millis(60)).await,
            Loss::Reply | Loss::Silence => {
                for _ in 0..1000 {
                    if revision(&self.direct).await > before {
                        break;
                    }
                    sleep(Duration::from_millis(2)).await;
                }
            }
        }
        if self.loss != Loss::Silence {
            self.mend();
        }
    }

    /// Lets the delayed commit arrive.
    pub async fn arrive(&self) {
        let batch = self.on_its_way.lock().unwrap().take();
        if let Some(batch) = batch {
            self.inner.commit(&batch, LONG).await.unwrap();
        }
    }

    fn mend(&self) {
        self.proxies.iter().for_each(Proxy::cut);
        self.pass(Passage::Open);
    }
}

/// The present revision of the members.
pub async fn revision(direct: &etcd_client::Client) -> i64 {
    direct.kv_client().get("/", None).await.unwrap().header().unwrap().revision()
}

impl<S: Store> Store for Losing<'_, S> {
    type Watch = S::Watch;

    async fn read(&self, set: &ReadSet, within: Duration) -> Result<View, StoreError> {
        self.inner.read(set, within).await
    }

    async fn commit(&self, batch: &Batch, within: Duration) -> Result<Report, StoreError> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        if number != self.nth {
            if self.loss == Loss::Late {
                self.arrive().await;
            }
            return self.inner.commit(batch, within).await;
        }
        if [Loss::Late, Loss::VeryLate].contains(&self.loss) {
            *self.on_its_way.lock().unwrap() = Some(batch.clone());
            let unknown = Outcome::Unknown("no answer (planned)".to_string());
            return Ok(Report { outcomes: vec![unknown; batch.writes.len()], broken_guard: None });
        }
        let before = revision(&self.direct).await;
        self.pass(if self.loss == Loss::Request { Passage::Stuck } else { Passage::LoseReplies });
        let (report, ()) = tokio::join!(self.inner.commit(batch, within), self.lose(before));
        self.mend();
        let landed = revision(&self.direct).await > before;
        assert_eq!(landed, self.loss != Loss::Request, "the test loses what it means to lose");
        report
    }

    async fn watch(&self, scope: Scope) -> Result<S::Watch, StoreError> {
        self.inner.watch(scope).await
    }
}
