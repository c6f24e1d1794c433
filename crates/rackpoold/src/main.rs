//! The program `rackpoold`.

fn main() {}
