//! Every parser of the project as a plain function of bytes, and what feeds these functions: a corpus, and
//! inputs that are drawn from it.
//!
//! What a target is given gives an error, or is mended, or is understood: it never makes a panic, never takes
//! memory or time without bound, and the laws of the format hold. A target asserts these laws by panicking.
//! The targets lie in [`targets`], a file for each family; `CONTRIBUTING.md` tells how they are run.

pub mod corpus;
pub mod draw;
mod input;
pub mod targets;

pub use targets::{Target, all};
