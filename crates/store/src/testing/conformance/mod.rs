//! The tests that every backend must pass.
//!
//! A backend's test implements [`Backend`] and says `store::conformance!(MyBackend::new());`, which makes a
//! test of each case (the crate needs `tokio` with `macros` and `rt`). Where cases cannot run at the same
//! time, it calls [`suite`] instead.

// The cases are tests, though the compiler does not know them as such.
#![allow(clippy::unwrap_used)]

use std::future::Future;

use crate::port::Store;

pub mod batches;
pub mod concurrency;
pub mod expectations;
mod fixture;
pub mod folds;
pub mod guards;
pub mod reads;
pub mod watches;

/// A backend under test.
pub trait Backend {
    /// The backend's store.
    type Store: Store + 'static;

    /// A new, empty store. Each case calls this once. The backend may own what the store needs while it
    /// lives, such as a server.
    fn fresh(&self) -> impl Future<Output = Self::Store>;

    /// Stores any text under a key of etcd's, valid or not. Gives `false` where the backend does not store
    /// such texts; then the cases with bad values are left out.
    fn put_text(&self, _store: &Self::Store, _path: &str, _text: &str) -> impl Future<Output = bool> {
        async { false }
    }

    /// What this backend promises beyond the port.
    fn promises(&self) -> Promises {
        Promises::default()
    }
}

/// Promises in which backends differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promises {
    /// Guards are honoured, not ignored.
    pub guards: bool,
    /// A transaction of a batch is applied in whole or not at all.
    pub transactions: bool,
    /// A put of the value that is stored already gives a new revision.
    pub touch: bool,
    /// Workload endpoints are records that can be created and deleted like others.
    pub workload_endpoints: bool,
    /// Any name is legal, and names that differ in case alone name different records.
    pub names: bool,
}

impl Default for Promises {
    /// A backend that makes every promise.
    fn default() -> Self {
        Promises { guards: true, transactions: true, touch: true, workload_endpoints: true, names: true }
    }
}

macro_rules! cases {
    (($d:tt) $($module:ident: [$($case:ident),* $(,)?];)*) => {
        /// Runs every case, one after the other, each on a fresh store.
        pub async fn suite(backend: &impl Backend) {
            $($($module::$case(backend).await;)*)*
        }

        /// Makes a test of every case of the conformance suite. Takes an expression that gives a
        /// [`Backend`](crate::testing::Backend), and is evaluated in each test.
        #[macro_export]
        macro_rules! conformance {
            ($d backend:expr) => {
                $($(
                    #[tokio::test]
                    async fn $case() {
                        $crate::testing::conformance::$module::$case(&$d backend).await;
                    }
                )*)*
            };
        }
    };
}

cases! { ($)
    expectations: [
        a_created_record_is_read_back,
        a_create_over_a_record_is_refused,
        an_update_needs_the_present_revision,
        an_update_of_nothing_is_refused,
        a_delete_needs_the_present_revision,
        a_delete_of_nothing_is_refused,
        revisions_are_never_used_again,
        foreign_revisions_match_nothing,
        an_equal_put_is_a_write,
        texts_survive,
        names_survive,
    ];
    batches: [
        an_empty_batch_is_applied,
        a_chain_of_puts_leaves_the_last,
        a_chain_begins_at_a_revision,
        a_deleted_record_is_created_again_in_one_batch,
        a_created_record_is_deleted_in_one_batch,
        a_broken_chain_is_refused,
        a_refused_write_stops_the_batch,
        a_refusal_behind_a_cut_leaves_a_prefix,
        a_first_write_that_is_refused_leaves_everything,
        guards_that_hold_let_pass,
        a_broken_guard_stops_everything,
        a_guarded_record_is_looked_at_again,
        a_claim_is_one_batch,
        folding_equals_one_by_one,
        large_batches_are_applied_in_order,
        a_refusal_in_a_large_batch_leaves_a_prefix,
    ];
    guards: [
        a_large_scope_is_guarded_at_once,
        guarded_scopes_are_apart,
    ];
    reads: [
        absent_records_are_known_to_be_absent,
        what_was_not_asked_is_not_known,
        an_empty_scope_is_complete,
        a_complete_scope_knows_who_is_absent,
        depths_give_at_least_what_was_asked,
        a_key_asked_in_two_depths_is_known_in_the_deeper,
        pages_tell_every_record_once,
        a_page_of_the_exact_size_is_the_last,
        pages_go_on_while_records_change,
        namespaces_are_apart,
        families_are_apart,
        affinities_of_an_owner_are_apart,
        affinities_of_all_owners_are_found,
        a_hosts_own_record_is_no_affinity,
        bad_values_are_told_as_such,
        bad_values_do_not_shorten_pages,
        a_commit_is_seen_by_the_next_read,
    ];
    watches: [
        a_watch_begins_with_the_present_state,
        a_watch_of_nothing_is_done_at_once,
        a_watch_tells_changes_and_deletes,
        a_watch_keeps_to_its_scope,
        a_watch_keeps_to_one_block,
        a_short_watch_is_a_watch,
        the_configuration_can_be_watched,
        a_watch_ends_at_the_last_state,
        a_dropped_wait_loses_no_event,
        a_second_watch_starts_from_the_present,
        a_watch_tells_bad_values,
    ];
    folds: [
        revisions_have_an_order,
        a_folded_watch_equals_a_read,
        a_folded_watch_of_resources_equals_a_read,
        a_watch_that_starts_anew_replaces_what_was_known,
        the_old_stands_until_the_new_is_told,
    ];
    concurrency: [
        increments_lose_nothing,
        one_creator_wins,
        batches_do_not_mix,
    ];
}
