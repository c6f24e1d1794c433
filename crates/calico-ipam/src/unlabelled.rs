//! Affinities that old releases of Calico wrote in Kubernetes lack the labels by which a host's are found. Before an address that is asked for by name is
//! assigned, those of the host get them, once per boot. (For all other addresses `calico/node` has done it when the node started.)

use std::fs::File;
use std::io;
use std::path::Path;

use crate::request::{Deadline, Request};
use cni::error::CniError;
use cni::folder::create_private;
use cni::log::Level;

/// Says that it has been done; beside the host's lock, where it goes with the boot. Beside the default one Calico's plugin looks too.
const MARK: &str = "cni/ipam_upgraded";

/// Gives them their labels, if that has not been done since the boot.
///
/// # Errors
/// Code 999.
pub fn label(request: &mut Request<'_>, deadline: Deadline) -> Result<(), CniError> {
    if !request.is_on_kubernetes() {
        return Ok(());
    }
    let mark = request.lock_path().with_file_name(MARK);
    if mark.exists() {
        return Ok(());
    }
    let labelled = request
        .label_affinities(deadline)
        .map_err(|error| CniError::internal(format!("failed to upgrade IPAM database: {error}")))?;
    if labelled > 0 {
        let line = format!("labelled {labelled} affinities of {}", request.identity.node);
        request.log.say(Level::Info, line);
    }
    if let Err(error) = put(&mark) {
        let line = format!(
            "the affinities of the host will be looked at again, as {} cannot be made: {error}",
            mark.display()
        );
        request.log.say(Level::Error, line);
    }
    Ok(())
}

fn put(mark: &Path) -> io::Result<()> {
    if let Some(directory) = mark.parent() {
        create_private(directory)?;
    }
    File::create(mark).map(drop)
}
