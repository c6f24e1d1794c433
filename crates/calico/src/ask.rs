//! What a call asks.

use std::collections::BTreeMap;

use cni::args::Args;
use cni::conf::{Conf, Document};
use cni::{Call, CniError};
use serde_json::Value as Json;
use setup::Environment;

use crate::mesos::Labels;
use crate::names::Names;

/// The version that a configuration without one is read in.
const OLDEST_VERSION: &str = "0.2.0";

/// What one call asks of this plugin, checked: data, and nothing else.
pub struct Ask {
    /// The call; its arguments are as the IPAM plugin is to have them.
    pub call: Call,
    /// The configuration, its types checked.
    pub conf: Conf,
    /// The same as it was written, for the IPAM plugin.
    pub configuration: Json,
    /// The version of the answer.
    pub version: String,
    /// The names.
    pub names: Names,
    /// The labels that the configuration gives to the endpoint of what is no pod.
    pub labels: BTreeMap<String, String>,
    /// Labels that have no place there, for the log.
    pub lost_labels: Vec<String>,
    /// The environment, for the IPAM plugin.
    pub environment: Environment,
}

impl Ask {
    /// What that call asks on that node. `conf` is the document's.
    ///
    /// # Errors
    /// Code 999: bad `CNI_ARGS`; names that no endpoint can have; labels in no form that Mesos gives them in.
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
