//! A large cluster in an API server, whose etcd is filled below it: the API server is not what is measured
//! while the data are made.

#[path = "../shared/large.rs"]
mod shared;

use std::process::Command;

use api::crd::Group;
use cluster_data::Size;

use crate::fixture::{Cluster, cluster};

fn look(cluster: &Cluster, size: Size) {
    let user = cluster.root().with("CALICO_API_GROUP", Group::V1.api_version());
    user.good("datastore init --ipv4-cidr=none");
    let objects = cluster_data::records(size)
        .filter_map(|(key, value)| cluster_data::stored_object(Group::V1, &key, &value));
    cluster.server.etcd().put_all(objects);
    let program = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_calicoctl"));
        command.env_clear().envs(user.variables());
        command
    };
    shared::look(size, program);
}

#[test]
fn a_cluster_is_looked_at() {
    let Some(cluster) = cluster() else { return };
    look(&cluster, Size::LARGE.divided_by(50));
}

#[test]
#[ignore = "nightly: fills an API server with 150,000 addresses"]
fn a_large_cluster_is_looked_at_in_little_memory() {
    let Some(cluster) = cluster() else { return };
    look(&cluster, Size::LARGE);
}
