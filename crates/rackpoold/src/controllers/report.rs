//! Tells how things are: figures, and notices of what is nearly full, overlaps or leaks.

use api::Kind;
use controllers::figures::{Counts, Facts, figures};
use controllers::fullness::{self, Fullness};
use controllers::{pools, reach};
use routes::rack::{self, RackError};
use routes::{Known, Snapshot};
use store::{Scope, StoreError, View};

use super::tell::Told;
use super::{Frame, WITHIN};

/// What the records do not say.
#[derive(Clone, Copy, Debug)]
pub struct Counted<'a> {
    /// Addresses that may be given back soon.
    pub candidates: &'a Counts,
    /// Addresses that were given back so far.
    pub reclamations: &'a Counts,
    /// Addresses without an owner that could not be given back.
    pub lost: &'a Counts,
}

/// What was told last.
#[derive(Debug, Default)]
pub struct Report {
    fullness: Fullness,
    told: Told,
    remarks: Vec<String>,
}

impl Report {
    /// Shows the figures of a view, and tells what is new. Only the leader does it. `view` holds blocks,
    /// pools, reservations and nodes in full, and the allocator's configuration.
    ///
    /// # Errors
    /// The store's, of the first event that could not be written. The figures are shown all the same.
    pub async fn pass(&mut self, frame: &Frame, view: &View, counted: Counted<'_>) -> Result<(), StoreError> {
        let mut remarks = Vec::new();
        let label = rack_label(view).unwrap_or_else(|error| {
            remarks.push(format!("{error}; there are no figures of racks"));
            None
        });
        let facts = Facts {
            view,
            candidates: counted.candidates,
            reclamations: counted.reclamations,
            rack_label: label.as_deref(),
            most_of_nodes: frame.most_node_series,
        };
        let figures = figures(facts);
        if figures.left_out > 0 {
            remarks.push(format!(
                "figures that name a node are left out, for there would be more than {}; those of pools and racks are there. `rackpoold controllers --most-node-series` allows more",
                frame.most_node_series
            ));
        }
        frame.metrics.show(figures.families);
        for remark in remarks.iter().filter(|remark| !self.remarks.contains(remark)) {
            tracing::info!("{remark}");
        }
        self.remarks = remarks;
        let usage = ipam::usage::pools(view);
        let racks = label.as_ref().map(|label| reach::by_rack(view, &usage, label)).unwrap_or_default();
        let mut notices = self.fullness.look(&usage, label.as_deref(), &racks);
        notices.extend(fullness::overlaps(&pools::judge(view)));
        notices.extend(fullness::leaks(counted.lost));
        self.told.tell(&frame.store, view, notices, (&frame.effects, &frame.identity), WITHIN).await
    }

    /// Shows no figures any more: another process leads.
    pub fn end(frame: &Frame) {
        frame.metrics.show(Vec::new());
    }
}

/// The label that names a node's rack; `None` where pools ask for none.
///
/// # Errors
/// Pools ask for several labels equally often.
pub fn rack_label(view: &View) -> Result<Option<String>, RackError> {
    let mut snapshot = Snapshot::new(Known::ByBlocks);
    for record in view.slots(&Scope::kind(Kind::IPPool)).filter_map(|(_, slot)| slot.record()) {
        snapshot.take(record);
    }
    rack::label(&snapshot)
}
