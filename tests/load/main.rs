//! Loads during which parts of the system fail. Afterwards the stored records, read without the code under
//! test, must agree with the answers that every process got.
//!
//! | variable | what it does |
//! |---|---|
//! | `RACKPOOL_LOAD_SCALE` | multiplies the requests of every load; for soak runs |
//! | `RACKPOOL_LOAD_SEED` | draws what the run of that seed drew (processes still race) |
//! | `RACKPOOL_PROGRAMS` | a folder with `calico-ipam`: also puts a load on that program itself |
//! | `RACKPOOL_OLDER_PROGRAMS` | such a folder of another release, for the loads of two releases |
//! | `RACKPOOL_SKIP_ETCD` | leaves out the tests that need etcd |
//! | `RACKPOOL_SKIP_KUBERNETES` | leaves out the tests that need the Kubernetes API server |

// Everything here is test code. Processes learn their jobs from the environment.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr)]

mod calico;
mod case;
mod dump;
mod environment;
mod etcd_faults;
mod kubernetes;
mod ledger;
mod losing;
mod lost_replies;
mod many_pools;
mod other_stores;
mod ours;
mod plugin;
mod proof;
mod proof_tests;
mod running;
mod side_by_side;
mod traced;
mod trouble;
mod two_releases;
mod worker;
