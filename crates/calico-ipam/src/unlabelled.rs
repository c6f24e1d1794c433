//! Labels affinities that old releases of Calico wrote in Kubernetes without labels. A host's affinities are
//! found by their labels. So before an address that a request names is assigned, the affinities of the host
//! are labelled, once after each boot. (For all other addresses, `calico/node` has done this when the node
//! started.)

use std::fs::File;
use std::io;
use std::path::Path;

use cni::CniError;
use cni::folder::create_private;
use cni::log::Level;
use store::Store;

use crate::request::{Deadline, Request};

/// The file that says that this host's affinities are labelled. It is in the folder of the host's lock, whose
/// contents are lost at a reboot. With the default lock, Calico's plugin looks for the same file.
const MARK: &str = "cni/ipam_upgraded";

/// Labels the host's affinities, if that has not been done since the boot.
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
