//! Types of Calico's data: `projectcalico.org/v3` resources and the stored IPAM records, with their keys,
//! texts, defaults and rules.
//!
//! Nothing here reads or writes anything.

pub mod affinity;
pub mod block;
mod canonical;
pub mod capability;
mod checks;
pub mod cidr;
pub mod columns;
pub mod crd;
pub mod decode;
pub mod defaults;
pub mod document;
pub mod endpoint;
mod excerpt;
pub mod fault;
pub mod handle;
pub mod ipam_config;
pub mod key;
pub mod kinds;
pub mod mac;
pub mod near;
pub mod node;
pub mod odd_block;
pub mod pool;
pub mod record;
pub mod reservation;
mod residue;
pub mod resource;
pub mod schema;
pub mod time;
pub mod validate;
pub mod wep_name;

pub use affinity::{Affinity, AffinityState};
pub use block::{Attribute, Block, BlockHeader};
pub use capability::{Backend, NotSupported, Operation};
pub use checks::{FieldError, ValidationError};
pub use cidr::{BlockCidr, Cidr, Family};
pub use columns::{Column, ColumnContext, Columns};
pub use decode::{InputError, decode_document};
pub use document::{Document, Metadata};
pub use fault::Fault;
pub use handle::Handle;
pub use ipam_config::{IpamConfig, Persistence};
pub use jiff::Timestamp;
pub use key::{HandleId, Key, Owner};
pub use kinds::{Home, Kind, KindScope, Role, Stage};
pub use node::Node;
pub use pool::{Pool, PoolError, Use};
pub use record::{DecodeError, Record, Revision, Value};
pub use reservation::Reservation;
pub use resource::Resource;
