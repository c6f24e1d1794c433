//! The rights of the installed roles.

use api::crd::{Collection, Group};
use serde_json::json;
use servers::kube_server::KubeServer;

use super::create;

const PLUGIN: &str = "system:serviceaccount:kube-system:calico-ipam";
const GROUPS: [&str; 2] = ["crd.projectcalico.org", "projectcalico.org"];

/// The kinds of both groups. (A kind that a group does not have does no harm here.)
fn resources() -> impl Iterator<Item = &'static str> {
    let plurals = |collection: Collection| [collection.plural(Group::V1), collection.plural(Group::V3)];
    Collection::all().flat_map(plurals)
}

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "update", "patch", "delete"];
const ALLOCATE: &[&str] = &["get", "list", "create", "update", "delete"];

/// The verbs that the plugin uses on Calico's kinds, as recorded from Calico's plugin, and no others.
const PLUGIN_DOES: &[(&str, &[&str])] = &[
    ("ippools", &["get", "list"]),
    ("ipreservations", &["list"]),
    ("ipamconfigs", &["get"]),
    ("ipamconfigurations", &["get"]),
    ("ipamblocks", ALLOCATE),
    ("blockaffinities", ALLOCATE),
    ("ipamhandles", &["get", "create", "update", "delete"]),
];

/// User, verb, group, resource (with its subresource), and whether the role must allow it.
type Question = (&'static str, &'static str, &'static str, &'static str, bool);

fn ask(server: &KubeServer, questions: &[Question]) {
    let review = |&(user, verb, group, resource, _): &Question| {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": user,
                "resourceAttributes": {"verb": verb, "group": group, "resource": resource, "subresource": subresource},
            },
        })
    };
    let reviews: Vec<_> = questions.iter().map(review).collect();
    let answers = create(server, &reviews);
    let wrong =
        questions.iter().zip(&answers).filter(|(question, answer)| answer["status"]["allowed"] != question.4);
    let wrong: Vec<_> = wrong.map(|(question, _)| question).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

pub(super) fn users_may_do_what_they_need(server: &KubeServer) {
    for (user, role) in [("reader", "calicoctl-reader"), ("writer", "calicoctl-admin")] {
        let binding = ["create", "clusterrolebinding", user, "--clusterrole", role, "--user", user];
        assert!(server.kubectl(&binding).output().unwrap().status.success());
    }
    let mut questions: Vec<Question> = Vec::new();
    for group in GROUPS {
        for resource in resources() {
            let plugin_does =
                PLUGIN_DOES.iter().find(|(of, _)| *of == resource).map_or(&[][..], |(_, verbs)| verbs);
            for verb in READ.iter().chain(WRITE) {
                questions.push((PLUGIN, verb, group, resource, plugin_does.contains(verb)));
                questions.push(("reader", verb, group, resource, READ.contains(verb)));
                questions.push(("writer", verb, group, resource, true));
            }
        }
    }
    questions.extend([
        (PLUGIN, "get", "", "nodes", true),
        (PLUGIN, "get", "", "namespaces", true),
        (PLUGIN, "get", "", "pods", true),
        (PLUGIN, "get", "kubevirt.io", "virtualmachineinstances", true),
        (PLUGIN, "get", "kubevirt.io", "virtualmachineinstancemigrations", false),
        (PLUGIN, "list", "", "pods", false),
        (PLUGIN, "patch", "", "pods/status", false),
        (PLUGIN, "update", "", "nodes/status", false),
        (PLUGIN, "get", "", "secrets", false),
        ("reader", "list", "", "pods", true),
        ("reader", "list", "", "services", true),
        ("reader", "update", "", "nodes/status", false),
        ("reader", "get", "", "secrets", false),
        ("writer", "list", "", "nodes", true),
        ("writer", "update", "", "nodes/status", true),
        ("writer", "delete", "", "nodes", false),
        ("writer", "delete", "", "pods", false),
        ("writer", "get", "", "secrets", false),
    ]);
    ask(server, &questions);
}

pub(super) fn rights_are_given_by_bindings_alone(server: &KubeServer) {
    let of_nobody = resources().map(|resource| ("somebody", "list", GROUPS[1], resource, false));
    ask(server, &of_nobody.collect::<Vec<_>>());
}
