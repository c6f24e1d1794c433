//! What Calico fills in: on write, and on read for pools that were written by something else (`clientv3`,
//! defaults of the CRDs).

use crate::resource::Resource;

/// The resource as it is to be stored: defaults applied, a pool's CIDR in canonical form, a
/// WorkloadEndpoint's name and two labels set, fields in Go's order.
pub fn on_write(resource: &Resource) -> Resource {
    resource.with_document(resource.kind().definition().on_write).canonical()
}

/// What is to replace the resource `stored`, with what cannot change and what it does not mention: a pool's
/// block size.
pub fn on_update(resource: &Resource, stored: &Resource) -> Resource {
    resource.with_document(|new| (resource.kind().definition().keep)(new, stored))
}

/// The resource as readers are to see it: an IPPool's defaults show even if they are not stored. Other kinds
/// are shown as stored.
pub fn on_read(resource: &Resource) -> Resource {
    match resource.kind().definition().on_read {
        Some(fill_in) => resource.with_document(fill_in).canonical(),
        None => resource.clone(),
    }
}
