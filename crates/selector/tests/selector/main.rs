//! The tests of the crate, as one program.

mod canonical;
mod errors;
mod limits;
mod matching;
mod naive;
mod properties;
mod reference_page;
mod restrictions;
mod unmet;
