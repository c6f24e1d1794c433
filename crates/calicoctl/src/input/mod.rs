//! What the user hands in: files, directories and standard input, split into documents.

pub mod documents;
pub mod report;
