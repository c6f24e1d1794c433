//! What the user hands in: files, directories and standard input, split into documents, and their YAML or
//! JSON.

pub mod documents;
pub mod yaml;
