//! How long searches take on every store, in the clusters of `tests/searches`. Nothing is written, so that
//! each round meets the same cluster: what is measured is reading and planning.
//!
//! `cargo bench -p ipam --bench searches -- embedded` measures on one store: `memory`, `embedded`, `etcd` or
//! `kubernetes`.

#![allow(clippy::unwrap_used, reason = "a bench may panic")]

use std::cell::{OnceCell, RefCell};
use std::time::Duration;

use api::Revision;
use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};
use store::{Batch, Outcome, ReadSet, Report, Scope, Store, StoreError, View};

#[allow(dead_code, reason = "the tests need more of it")]
#[path = "../tests/it/world.rs"]
mod world;

#[allow(dead_code, reason = "the tests need more of it")]
#[path = "../tests/searches/backend.rs"]
mod backend;
#[allow(dead_code, reason = "the tests need more of it")]
#[path = "../tests/searches/scenarios.rs"]
mod scenarios;

use backend::{Backend, Embedded, Etcd, Kubernetes, Memory};
use scenarios::SCENARIOS;

/// A store that claims to have applied every batch, and writes none.
struct Unwritten<'s, S>(&'s S);

impl<S: Store> Store for Unwritten<'_, S> {
    type Watch = S::Watch;

    async fn read(&self, set: &ReadSet, within: Duration) -> Result<View, StoreError> {
        self.0.read(set, within).await
    }

    async fn commit(&self, batch: &Batch, _within: Duration) -> Result<Report, StoreError> {
        let outcomes = batch.writes.iter().map(|_| Outcome::Applied(Revision::from(1))).collect();
        Ok(Report { outcomes, broken_guard: None })
    }

    async fn watch(&self, scope: Scope) -> Result<S::Watch, StoreError> {
        self.0.watch(scope).await
    }
}

/// Measures the first request of each scenario. A server is started when the first measurement needs it.
fn on<B: Backend>(c: &mut Criterion, name: &str, start: impl Fn() -> Option<B>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let backend = OnceCell::new();
    let mut group = c.benchmark_group(name);
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    for scenario in SCENARIOS {
        for (size, _) in scenario.sizes {
            let mut cluster = None;
            group.bench_function(format!("{}: {size}", scenario.name), |bencher| {
                let backend = backend.get_or_init(|| RefCell::new(start().unwrap()));
                let clock = cluster.get_or_insert_with(|| {
                    let cluster = (scenario.cluster)(size);
                    runtime.block_on(backend.borrow_mut().hold(&cluster));
                    cluster.clock
                });
                let act = (scenario.acts)(size).swap_remove(0);
                let backend = backend.borrow();
                let store = Unwritten(backend.store());
                bencher.iter(|| runtime.block_on(act.on(&store, clock)));
            });
        }
    }
}

fn searches(c: &mut Criterion) {
    on(c, "memory", || Some(Memory::default()));
    on(c, "embedded", || Some(Embedded::new()));
    if !servers::etcd_server::is_left_out() {
        on(c, "etcd", Etcd::start);
    }
    if !servers::kube_server::is_left_out() {
        on(c, "kubernetes", Kubernetes::start);
    }
}

criterion_group!(benches, searches);
criterion_main!(benches);
