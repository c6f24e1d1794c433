//! Every kind on a Kubernetes API server, in both API groups, used by a user who has the role for it.

#[allow(dead_code, reason = "nodes are Kubernetes' own, and nothing is exported from there")]
#[path = "../shared/kinds.rs"]
mod story;

use crate::fixture::{ADMINISTRATOR, User, cluster, kubectl};

fn run(user: &User, line: &str, input: &str) -> (bool, String) {
    let ran = user.run_with(line, input);
    let succeeded = ran.code == Some(0);
    (succeeded, if succeeded { ran.stdout } else { ran.stderr })
}

#[test]
fn each_lives_and_is_copied_out() {
    let Some(cluster) = cluster() else { return };
    for group in ["crd.projectcalico.org/v1", "projectcalico.org/v3"] {
        cluster.root().with("CALICO_API_GROUP", group).good("datastore init --ipv4-cidr none");
        let user = cluster.user(ADMINISTRATOR).with("CALICO_API_GROUP", group);
        story::lives(&|line, input| run(&user, line, input));
        let to = [("datastoreType", "embedded"), ("rackpoolDB", &user.path("other.db"))];
        let to = user.config("other.cfg", &to);
        story::is_copied(&|line, input| run(&user, line, input), &to);
        kubectl(cluster.server, &["delete", "customresourcedefinitions", "--all", "--wait"]);
    }
}
