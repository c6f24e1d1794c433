//! Every kind on etcd.

#[path = "../shared/kinds.rs"]
mod story;

use servers::etcd_server::EtcdServer;

use crate::fixture::{User, needs_etcd};

/// A user of an etcd in which a store was created. Standard input is given to commands as a file.
fn user(server: &EtcdServer) -> User {
    let user = User::of(&server.endpoint());
    user.good("datastore init --ipv4-cidr none");
    user
}

fn run(user: &User, line: &str, input: &str) -> (bool, String) {
    std::fs::write(user.path("input.yaml"), input).unwrap();
    let ran = user.run(&line.replace("-f -", "-f input.yaml"));
    let succeeded = ran.code == Some(0);
    (succeeded, if succeeded { ran.stdout } else { ran.stderr })
}

#[test]
fn each_lives() {
    needs_etcd!();
    let server = EtcdServer::start();
    let user = user(&server);
    story::lives(&|line, input| run(&user, line, input));
}

#[test]
fn each_is_copied_into_a_file() {
    needs_etcd!();
    let server = EtcdServer::start();
    let user = user(&server);
    let file = user.path("other.db").display().to_string();
    let to = user.config("other.cfg", &[("datastoreType", "embedded"), ("rackpoolDB", &file)]);
    story::is_copied(&|line, input| run(&user, line, input), &to);
}

#[test]
fn each_is_exported() {
    needs_etcd!();
    let server = EtcdServer::start();
    let user = user(&server);
    story::is_exported(&|line, input| run(&user, line, input));
}

#[test]
fn some_go_with_their_node() {
    needs_etcd!();
    let server = EtcdServer::start();
    let user = user(&server);
    story::goes_with_its_node(&|line, input| run(&user, line, input));
}
