//! Affinities that old releases of Calico wrote in Kubernetes lack the labels by which a host's are found.
//! Before an address that is asked for by name is assigned, those of the host get them, once per boot. (For
//! all other addresses `calico/node` has done it when the node started.)

use std::fs::File;
use std::io;
use std::path::Path;

use cni::CniError;
use cni::folder::create_private;
use cni::log::Level;
use store::Store;

use crate::request::{Deadline, Request};

/// Says that it has been done; beside the host's lock, where it goes with the boot. Beside the default one
/// Calico's plugin looks too.
const MARK: &str = "cni/ipam_upgraded";

/// Gives them their labels, if that has not been done since the boot.
///
/// # Errors
/// Code 999.
pub async fn label(request: &Request<'_, impl Store>, deadline: Deadline) -> Result<(), CniError> {
    let node = &request.ask.identity.node;
    if !request.is_on_kubernetes() {
        return Ok(());
    }
    let mark = request.site.lock.path().with_file_name(MARK);
    if mark.exists() {
        return Ok(());
    }
    let failed = |reason: String| CniError::internal(format!("failed to upgrade IPAM database: {reason}"));
    let kubernetes = request.site.reach_kubernetes().map_err(|error| failed(error.to_string()))?;
    let Some(kubernetes) = kubernetes else { return Ok(()) };
    let labelled = kubernetes.label_affinities(node, deadline.left()).await;
    let labelled = labelled.map_err(|error| failed(error.to_string()))?;
    if labelled > 0 {
        let line = format!("labelled {labelled} affinities of {node}");
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
