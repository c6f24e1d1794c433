//! The store on which the guide is performed.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::{Map, Value as Json};
use servers::etcd_server::{self, EtcdServer};

use crate::needs;

/// A store of the demo's own.
pub enum Store {
    /// The embedded one, in that file.
    Embedded(PathBuf),
    /// An etcd.
    Etcd(Box<EtcdServer>),
}

impl Store {
    /// What leads `calicoctl` to it.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        match self {
            Store::Embedded(file) => vec![("RACKPOOL_DB", file.display().to_string())],
            Store::Etcd(etcd) => vec![("ETCD_ENDPOINTS", etcd.endpoint())],
        }
    }

    /// What leads the plugin to it: fields of its network configuration.
    pub fn configuration(&self) -> Map<String, Json> {
        let (field, value) = match self {
            Store::Embedded(file) => ("rackpool_db", file.display().to_string()),
            Store::Etcd(etcd) => ("etcd_endpoints", etcd.endpoint()),
        };
        Map::from_iter([(field.to_string(), Json::from(value))])
    }
}

/// Starts an etcd, which is installed where that can be done.
pub fn start_etcd() -> Result<EtcdServer> {
    needs::program("etcd", "etcd-server", "the datastore of this demo")?;
    Ok(etcd_server::Setup::new().try_start()?)
}
