//! The request of one call, read and checked.

use cni::args::Args;
use cni::conf::Conf;
use cni::{Call, CniError};

use crate::identity::Identity;

/// What one call asks of this plugin. It is checked data, and nothing else.
pub struct Ask {
    /// The call, as the environment describes it.
    pub call: Call,
    /// The network configuration.
    pub conf: Conf,
    /// The version of the protocol in which the answer is written.
    pub version: String,
    /// The arguments in `CNI_ARGS`.
    pub args: Args,
    /// The pod or container for which the addresses are.
    pub identity: Identity,
}

impl Ask {
    /// What a call asks on the node `node`, with that configuration.
    ///
    /// # Errors
    /// Code 999 for bad `CNI_ARGS`, and for names that no endpoint can have.
    pub fn new(call: Call, conf: Conf, version: String, node: String) -> Result<Ask, CniError> {
        let args = Args::parse(&call.args)?;
        let identity = Identity::new(conf.name(), node, &call.container, &call.interface, &args)?;
        Ok(Ask { call, conf, version, args, identity })
    }
}
