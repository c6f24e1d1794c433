//! What a call asks.

use cni::args::Args;
use cni::conf::Conf;
use cni::{Call, CniError};

use crate::identity::Identity;

/// What one call asks of this plugin, checked: data, and nothing else.
pub struct Ask {
    /// The call.
    pub call: Call,
    /// The configuration.
    pub conf: Conf,
    /// The version of the protocol that the answer is in.
    pub version: String,
    /// `CNI_ARGS`.
    pub args: Args,
    /// Whom it is for.
    pub identity: Identity,
}

impl Ask {
    /// What that call asks on that node, with that configuration.
    ///
    /// # Errors
    /// Code 999: bad `CNI_ARGS`; names that no endpoint can have.
    pub fn new(call: Call, conf: Conf, version: String, node: String) -> Result<Ask, CniError> {
        let args = Args::parse(&call.args)?;
        let identity = Identity::new(conf.name(), node, &call.container, &call.interface, &args)?;
        Ok(Ask { call, conf, version, args, identity })
    }
}
