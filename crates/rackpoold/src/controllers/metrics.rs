//! The figures of the process, in Prometheus' text format 0.0.4.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::Timestamp;
use controllers::figures::{Family, Sort};
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder,
};
use setup::Clock;
use store::{Effects, Met, Observer};

/// The bounds of durations in seconds: of requests, and of collections.
const SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The figures. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    families: Arc<Mutex<Vec<Family>>>,
    /// Whether this process leads.
    pub leader: IntGauge,
    /// How long collections took, from the first look to the last answer.
    pub collections: Histogram,
    /// Addresses that were to be freed and were not, by reason.
    pub refusals: IntCounterVec,
    requests: IntCounterVec,
    took: HistogramVec,
    conflicts: IntCounter,
    refused: IntCounter,
    doubts: IntCounter,
}

impl Metrics {
    /// Figures that say nothing yet. `store` is the kind of store.
    ///
    /// # Errors
    /// Two figures have the same name.
    pub fn new(store: &str) -> Result<Metrics, prometheus::Error> {
        let of_store = |name: &str, help: &str| Opts::new(name, help).const_label("store", store);
        let seconds = |name: &str, help: &str| HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
        let metrics = Metrics {
            registry: Registry::new(),
            families: Arc::default(),
            leader: IntGauge::new(
                "rackpool_controllers_leader",
                "Whether this process is the one that works: 1, or 0 for a process that stands by.",
            )?,
            collections: Histogram::with_opts(seconds(
                "rackpool_controllers_collection_seconds",
                "How long it took to look for what can be given back, and to give it back.",
            ))?,
            refusals: IntCounterVec::new(
                Opts::new(
                    "rackpool_controllers_kept_total",
                    "Addresses that seemed to be left over and were kept after a last look, by reason.",
                ),
                &["reason"],
            )?,
            requests: IntCounterVec::new(
                of_store(
                    "rackpool_store_requests_total",
                    "Reads and commits of the store, by how they ended.",
                ),
                &["operation", "result"],
            )?,
            took: HistogramVec::new(
                seconds("rackpool_store_request_seconds", "How long reads and commits of the store took.")
                    .const_label("store", store),
                &["operation"],
            )?,
            conflicts: IntCounter::with_opts(of_store(
                "rackpool_store_conflicts_total",
                "Writes that were refused since another writer came first.",
            ))?,
            refused: IntCounter::with_opts(of_store(
                "rackpool_store_refusals_total",
                "Writes that the store refuses for good: by its rules, or for want of a right.",
            ))?,
            doubts: IntCounter::with_opts(of_store(
                "rackpool_store_doubts_total",
                "Writes of which it was not known at once whether they were applied.",
            ))?,
        };
        let all: [Box<dyn Collector>; 8] = [
            Box::new(metrics.leader.clone()),
            Box::new(metrics.collections.clone()),
            Box::new(metrics.refusals.clone()),
            Box::new(metrics.requests.clone()),
            Box::new(metrics.took.clone()),
            Box::new(metrics.conflicts.clone()),
            Box::new(metrics.refused.clone()),
            Box::new(metrics.doubts.clone()),
        ];
        for collector in all {
            metrics.registry.register(collector)?;
        }
        metrics.registry.register(Box::new(Families(metrics.families.clone())))?;
        Ok(metrics)
    }

    /// Shows these families in the place of those shown before: none, where this process does not lead.
    pub fn show(&self, families: Vec<Family>) {
        *self.families.lock().unwrap_or_else(PoisonError::into_inner) = families;
    }

    /// The text.
    ///
    /// # Errors
    /// A figure cannot be written.
    pub fn text(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }

    fn request(&self, operation: &str, took: Duration, is_good: bool) {
        let result = if is_good { "answered" } else { "failed" };
        self.requests.with_label_values(&[operation, result]).inc();
        self.took.with_label_values(&[operation]).observe(took.as_secs_f64());
    }
}

impl Observer for Metrics {
    fn note(&self, met: Met) {
        match met {
            Met::Fetch { took, is_answered } => self.request("read", took, is_answered),
            Met::Commit { took, is_applied } => self.request("commit", took, is_applied),
            Met::Conflict => self.conflicts.inc(),
            Met::Refusal => self.refused.inc(),
            Met::Doubt => self.doubts.inc(),
            _ => {}
        }
    }
}

/// The families that are computed from records, as a collector.
struct Families(Arc<Mutex<Vec<Family>>>);

impl Collector for Families {
    /// None: which families there are is known only when they are collected.
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let families = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        families.iter().filter(|family| !family.samples.is_empty()).map(in_protocol).collect()
    }
}

fn in_protocol(family: &Family) -> MetricFamily {
    let metrics = family.samples.iter().map(|sample| {
        let labels = sample.labels.iter().map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_string());
            pair.set_value(value.clone());
            pair
        });
        let mut metric = Metric::from_label(labels.collect());
        match family.sort {
            Sort::Gauge => {
                let mut gauge = Gauge::default();
                gauge.set_value(sample.value);
                metric.set_gauge(gauge);
            }
            Sort::Counter => {
                let mut counter = Counter::default();
                counter.set_value(sample.value);
                metric.set_counter(counter);
            }
        }
        metric
    });
    let mut out = MetricFamily::default();
    out.set_name(family.name.to_string());
    out.set_help(family.help.to_string());
    out.set_field_type(match family.sort {
        Sort::Gauge => MetricType::GAUGE,
        Sort::Counter => MetricType::COUNTER,
    });
    out.set_metric(metrics.collect());
    out
}

/// The real clock; operations that run with it are counted in the figures.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The clock.
    pub clock: Clock,
    /// The figures.
    pub metrics: Metrics,
}

impl Effects for Observed {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    fn seed(&self) -> u64 {
        self.clock.seed()
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send {
        Effects::sleep(&self.clock, time)
    }

    fn observer(&self) -> Option<&dyn Observer> {
        Some(&self.metrics)
    }
}

#[cfg(test)]
mod tests {
    use controllers::figures::Sample;

    use super::*;

    #[test]
    fn the_text() {
        let metrics = Metrics::new("etcdv3").unwrap();
        metrics.note(Met::Fetch { took: Duration::from_millis(3), is_answered: true });
        metrics.note(Met::Conflict);
        let sample = |node: &str, value| Sample { labels: vec![("node", node.to_string())], value };
        let family = |name, sort, samples| Family { name, help: "What it is.", sort, samples };
        metrics.show(vec![
            family("x_gauge", Sort::Gauge, vec![sample("a\"b", 2.0), sample("c", 0.0)]),
            family("ipam_allocations_gc_reclamations", Sort::Counter, vec![sample("n1", 3.0)]),
            family("x_none", Sort::Gauge, Vec::new()),
        ]);
        let text = String::from_utf8(metrics.text().unwrap()).unwrap();
        for line in [
            "# HELP x_gauge What it is.",
            "# TYPE x_gauge gauge",
            "x_gauge{node=\"a\\\"b\"} 2",
            "x_gauge{node=\"c\"} 0",
            "# TYPE ipam_allocations_gc_reclamations counter",
            "ipam_allocations_gc_reclamations{node=\"n1\"} 3",
            "rackpool_store_requests_total{operation=\"read\",result=\"answered\",store=\"etcdv3\"} 1",
            "rackpool_store_request_seconds_bucket{operation=\"read\",store=\"etcdv3\",le=\"0.005\"} 1",
            "rackpool_store_conflicts_total{store=\"etcdv3\"} 1",
            "rackpool_controllers_leader 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains("x_none"), "{text}");
        metrics.show(Vec::new());
        assert!(!String::from_utf8(metrics.text().unwrap()).unwrap().contains("x_gauge"));
    }
}
