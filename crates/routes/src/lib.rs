//! Which routes each node and each router of a cluster needs, and how to get there from those it has.
//!
//! A [`Snapshot`] is made of stored records. [`node`] and [`router`] say what a node or a router must have,
//! with the reason of each route; [`difference`] orders the changes from what is there; [`findings`] tells
//! what in the records, or in a table of routes, keeps somebody from being reached.
//!
//! Nothing here reads or writes anything, so the answer is the same for any node, from anywhere.
//!
//! Routes to a node's own pods are not part of this: whoever attaches a pod makes its route.

pub mod budget;
pub mod configuration;
mod cover;
pub mod destination;
pub mod difference;
pub mod encapsulation;
pub mod findings;
pub mod kernel;
pub mod mac;
pub mod node;
pub mod rack;
pub mod route;
pub mod router;
pub mod snapshot;
pub mod tunnel;

pub use difference::{Difference, Doubt, List, Present, Step};
pub use encapsulation::Encapsulation;
pub use mac::Mac;
pub use node::{Desired, NodeError, Options};
pub use rack::{Aggregation, Exported, Rack, RackName, Racks};
pub use route::{Reason, Route, Target, Wanted};
pub use router::Router;
pub use snapshot::{Known, PoolNetwork, Snapshot};
