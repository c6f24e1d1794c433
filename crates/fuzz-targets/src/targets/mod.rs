//! The targets, a file for each family.

mod addresses;
mod cluster;
mod cni;
mod command_line;
mod etcd_and_sqlite;
mod golang;
mod kubernetes;
mod netlink;
mod node;
mod packet_filter;
mod resources;
mod selector;
mod settings;
mod stored;
mod template;

/// A parser as a function of bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name, which is that of the folder of its corpus.
    pub name: &'static str,
    /// What it reads, and in what form.
    pub what: &'static str,
    /// Feeds the parser. It panics where a law does not hold.
    pub run: fn(&[u8]),
}

/// The targets of each family.
const FAMILIES: &[&[Target]] = &[
    selector::TARGETS,
    stored::TARGETS,
    cluster::TARGETS,
    addresses::TARGETS,
    resources::TARGETS,
    golang::TARGETS,
    cni::TARGETS,
    settings::TARGETS,
    kubernetes::TARGETS,
    etcd_and_sqlite::TARGETS,
    command_line::TARGETS,
    template::TARGETS,
    node::TARGETS,
    packet_filter::TARGETS,
    netlink::TARGETS,
];

/// All targets.
pub fn all() -> impl Iterator<Item = &'static Target> {
    FAMILIES.iter().copied().flatten()
}
