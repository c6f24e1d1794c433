//! The manifests in `deploy` on a real API server.

#![allow(clippy::unwrap_used, reason = "tests")]

mod kube_server {
    mod manifests;
    mod objects;
    mod recorded;
    mod rights;

    use std::io::Write;
    use std::path::PathBuf;
    use std::process::Stdio;

    use serde_json::{Value as Json, json};
    use servers::kube_server::{KubeServer, KubeServerOptions, is_left_out};

    /// The path of a file or folder of manifests in `deploy`.
    fn deploy(path: &str) -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy")).join(path)
    }

    /// The two API groups of Calico.
    const GROUPS: [&str; 2] = ["crd.projectcalico.org/v1", "projectcalico.org/v3"];

    /// All tests of manifests use one server, since starting it takes most of the time.
    #[test]
    fn manifests() {
        if is_left_out() {
            return;
        }
        let server = KubeServer::start(KubeServerOptions::new().user("somebody", &[]));
        server.apply(&[&deploy("crds/v1"), &deploy("crds/v3"), &deploy("rbac")]);
        manifests::names_are_those_of_calico(&server);
        manifests::groups_agree(&server);
        for group in GROUPS {
            objects::pools_are_checked(&server, group);
            objects::pools_keep_what_blocks_rest_on(&server, group);
            objects::other_kinds_are_checked(&server, group);
            objects::objects_are_stored_as_they_are(&server, group);
        }
        recorded::verdicts_are_those_of_calico(&server);
        rights::users_may_do_what_they_need(&server);
        rights::rights_are_given_by_bindings_alone(&server);
    }

    /// Runs kubectl with a list of objects as its input. Gives its output as one text, and each of its
    /// errors.
    fn with_objects(server: &KubeServer, arguments: &[&str], objects: &[Json]) -> (String, Vec<String>) {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        let mut command = server.kubectl(arguments);
        let command =
            command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(list.to_string().as_bytes()).unwrap();
        let out = child.wait_with_output().unwrap();
        let errors = String::from_utf8(out.stderr).unwrap();
        let errors = errors.split("Error from server").map(str::trim).filter(|text| !text.is_empty());
        (String::from_utf8(out.stdout).unwrap(), errors.map(str::to_string).collect())
    }

    /// The API server's verdict on each object, by the object's name. Nothing is stored.
    fn verdicts(server: &KubeServer, objects: &[Json]) -> Vec<String> {
        let (_, errors) = with_objects(server, &["create", "--dry-run=server", "--validate=ignore"], objects);
        let of = |object: &Json| {
            let name = format!("{} is invalid", object["metadata"]["name"]);
            errors.iter().find(|error| error.contains(&name)).cloned().unwrap_or_default()
        };
        let verdicts: Vec<_> = objects.iter().map(of).collect();
        let told = verdicts.iter().filter(|verdict| !verdict.is_empty()).count();
        assert_eq!(told, errors.len(), "{errors:#?}");
        verdicts
    }

    /// Creates the objects. Gives them as the server stored them, in the same order.
    fn create(server: &KubeServer, objects: &[Json]) -> Vec<Json> {
        let (answer, errors) = with_objects(server, &["create", "-o", "json", "--validate=ignore"], objects);
        assert_eq!(errors, Vec::<String>::new());
        let answers: Vec<Json> =
            serde_json::Deserializer::from_str(&answer).into_iter().map(Result::unwrap).collect();
        assert_eq!(answers.len(), objects.len());
        answers
    }

    fn object(group: &str, kind: &str, name: &str, spec: Json) -> Json {
        json!({"apiVersion": group, "kind": kind, "metadata": {"name": name}, "spec": spec})
    }
}
