//! Time and chance, from outside.

/// What the client needs of the world beside the store.
pub trait Effects: ipam::Effects {
    /// A fresh random UUID (version 4), in the lower-case form with dashes.
    fn uuid(&self) -> String;
}
