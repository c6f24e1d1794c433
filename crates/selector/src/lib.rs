//! The label selector language.
