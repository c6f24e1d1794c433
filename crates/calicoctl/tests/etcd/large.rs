//! A large cluster in etcd.

#[path = "../shared/large.rs"]
mod shared;

use cluster_data::Size;
use servers::etcd_server::EtcdServer;

use crate::fixture::{User, needs_etcd};

fn look(size: Size) {
    let server = EtcdServer::start();
    server.put_all(cluster_data::records(size).map(|(key, value)| (key.etcd_path(), value.to_stored_text())));
    let user = User::of(&server.endpoint());
    let before = server.handled().values().sum::<u64>();
    let program = || {
        let mut command = user.command("--log-level=panic");
        command.stderr(std::process::Stdio::inherit());
        command
    };
    shared::look(size, program);
    let asked = server.handled().values().sum::<u64>() - before;
    println!("{asked} requests");
    // Blocks come in pages of 250, other records in pages of 1,000.
    let others = size.nodes + size.pods + size.addresses + size.blocks;
    let pages = u64::from(size.blocks / 250 + others / 1_000);
    assert!(asked < pages + 30, "{asked} requests, {pages} pages");
}

#[test]
fn a_cluster_is_looked_at_page_by_page() {
    needs_etcd!();
    look(Size::LARGE.divided_by(20));
}

#[test]
#[ignore = "nightly: fills etcd with 150,000 addresses"]
fn a_large_cluster_is_looked_at_in_little_memory() {
    needs_etcd!();
    look(Size::LARGE);
}
