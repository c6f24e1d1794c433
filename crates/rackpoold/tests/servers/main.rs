//! The agent's parts on real servers: etcd and a Kubernetes API server.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

mod token;

use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(20);
