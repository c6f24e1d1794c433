//! Many writers at the same time.

use std::sync::Arc;

use tokio::task::{JoinSet, yield_now};

use super::Backend;
use super::fixture::*;
use crate::batch::{Batch, Expect, Outcome};
use crate::port::Store;
use crate::read::Scope;

const WRITERS: u32 = 8;
const ROUNDS: u32 = 10;

async fn all<F: Future<Output = T> + Send + 'static, T: Send + 'static>(
    tasks: impl Iterator<Item = F>,
) -> Vec<T> {
    tasks.collect::<JoinSet<T>>().join_all().await
}

/// Reads the count and writes it one higher, again and again until the write is applied.
async fn increment<S: Store>(store: &S, name: &str) {
    loop {
        let record = find(store, &handle(name)).await;
        yield_now().await;
        let (expect, count) = match &record {
            Some(record) => {
                let count = record.handle().unwrap().blocks[&cidr("10.0.0.0/26")];
                (Expect::Revision(record.revision.clone()), count)
            }
            None => (Expect::Absent, 0),
        };
        match put(store, &handle(name), expect, counted(count + 1)).await {
            Outcome::Applied(_) => return,
            Outcome::Refused(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// When several writers increase one count by compare-and-swap, no increase is lost.
pub async fn increments_lose_nothing<B: Backend>(backend: &B) {
    let store = Arc::new(backend.fresh().await);
    all((0..WRITERS).map(|_| {
        let store = store.clone();
        async move {
            for _ in 0..ROUNDS {
                increment(&*store, "count").await;
            }
        }
    }))
    .await;
    assert_eq!(find(&*store, &handle("count")).await.unwrap().value, counted(WRITERS * ROUNDS));
}

/// When several writers create one record, exactly one succeeds.
pub async fn one_creator_wins<B: Backend>(backend: &B) {
    let store = Arc::new(backend.fresh().await);
    let outcomes = all((0..WRITERS).map(|writer| {
        let store = store.clone();
        async move {
            yield_now().await;
            (writer, put(&*store, &handle("a"), Expect::Absent, counted(writer)).await)
        }
    }))
    .await;
    let winners: Vec<_> = outcomes.iter().filter(|(_, o)| matches!(o, Outcome::Applied(_))).collect();
    let [(winner, outcome)] = winners[..] else { panic!("{outcomes:?}") };
    let record = find(&*store, &handle("a")).await.unwrap();
    assert_eq!((&record.value, &record.revision), (&counted(*winner), &applied(outcome)));
}

/// When several batches write the same records, the reports say truly what is stored; with transactions, all
/// of it is of one batch.
pub async fn batches_do_not_mix<B: Backend>(backend: &B) {
    let store = Arc::new(backend.fresh().await);
    let reports = all((0..WRITERS).map(|writer| {
        let store = store.clone();
        async move {
            let mut batch = Batch::new();
            for index in 0..5 {
                batch.put(handle(&format!("h{index}")), Expect::Absent, counted(writer));
            }
            yield_now().await;
            (writer, commit(&*store, &batch).await)
        }
    }))
    .await;
    for index in 0..5 {
        let applied: Vec<u32> = reports
            .iter()
            .filter(|(_, report)| matches!(report.outcomes[index], Outcome::Applied(_)))
            .map(|(writer, _)| *writer)
            .collect();
        let stored = find(&*store, &handle(&format!("h{index}"))).await;
        assert!(applied.len() <= 1, "{applied:?}");
        assert_eq!(stored.map(|r| r.value.clone()), applied.first().map(|writer| counted(*writer)));
    }
    if backend.promises().transactions {
        assert_eq!(reports.iter().filter(|(_, report)| report.is_applied()).count(), 1);
        assert_eq!(scope(&*store, Scope::Handles).await.len(), 5);
    }
}
