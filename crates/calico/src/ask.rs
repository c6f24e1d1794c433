//! The request of one call, read and checked.

use std::collections::BTreeMap;

use cni::args::Args;
use cni::conf::{Conf, Document};
use cni::{Call, CniError};
use serde_json::Value as Json;
use setup::Environment;

use crate::mesos::Labels;
use crate::names::Names;

/// The version in which a configuration without a version is read.
const OLDEST_VERSION: &str = "0.2.0";

/// What one call asks of this plugin. It is checked data, and nothing else.
pub struct Ask {
    /// The call. Its arguments are in the form in which the IPAM plugin gets them.
    pub call: Call,
    /// The configuration, with the types of its fields checked.
    pub conf: Conf,
    /// The configuration as it was written, for the IPAM plugin.
    pub configuration: Json,
    /// The protocol's version in which the answer is written.
    pub version: String,
    /// The names of the container, its endpoint and its interface.
    pub names: Names,
    /// The labels from the configuration, for the endpoint of a container that is no pod.
    pub labels: BTreeMap<String, String>,
    /// Labels that the endpoint cannot have, for the log.
    pub lost_labels: Vec<String>,
    /// The environment variables, for the IPAM plugin.
    pub environment: Environment,
}

impl Ask {
    /// What a call asks on the node `node`. `conf` comes from the same document.
    ///
    /// # Errors
    /// Code 999 for bad `CNI_ARGS`, for names that no endpoint can have, and for labels that are not in a
    /// form of Mesos.
    pub fn new(
        call: Call,
        document: &Document,
        conf: Conf,
        environment: &Environment,
        node: &str,
    ) -> Result<Ask, CniError> {
        let version = conf.text(&["cniVersion"]).unwrap_or(OLDEST_VERSION).to_string();
        let args = Args::parse(&call.args)?;
        let mut names = Names::new(node, &call, &args, &environment.interface_prefix())?;
        let mesos = match names.is_pod() {
            true => Labels::default(),
            false => Labels::of(&conf).map_err(CniError::internal)?,
        };
        names.namespace = mesos.namespace.unwrap_or(names.namespace);
        Ok(Ask {
            call,
            conf,
            configuration: document.json().clone(),
            version,
            names,
            labels: mesos.labels,
            lost_labels: mesos.lost,
            environment: environment.clone(),
        })
    }
}
