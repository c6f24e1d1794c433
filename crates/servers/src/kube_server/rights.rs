//! The rights that a user has by roles, against those that the audit log shows it to use.

use std::fmt;
use std::fs;

use serde_json::{Value as Json, json};

use super::kubectl::output_of;
use super::requests::events;
use super::{KubeServer, WITHOUT_RIGHT};
use crate::ServerError;

/// The kinds in which rights are given, for kubectl.
pub const ROLES: &str = "clusterroles,roles,clusterrolebindings,rolebindings";

/// Calico's API groups. A server has the kinds of one.
pub const GROUPS: [&str; 2] = ["crd.projectcalico.org", "projectcalico.org"];

/// One right: a verb on a resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// The role that gives it.
    pub role: String,
    /// The API group; empty for the core.
    pub group: String,
    /// The resource, with its subresource: `pods`, `pods/status`.
    pub resource: String,
    /// The verb.
    pub verb: String,
    /// The one object for which it is; `None` for all.
    pub name: Option<String>,
    /// The one namespace in which it is; `None` for everywhere.
    pub namespace: Option<String>,
}

/// One request for a resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Access {
    /// The API group; empty for the core.
    pub group: String,
    /// The resource, with its subresource.
    pub resource: String,
    /// The verb.
    pub verb: String,
    /// The object, where the request names one.
    pub name: String,
    /// The namespace; empty where there is none.
    pub namespace: String,
    /// Whether the user had no right to it.
    pub is_refused: bool,
}

/// What the rights of a user differ in from what it has asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Rights that no request needed.
    pub unused: Vec<Right>,
    /// Refused requests that no right allows. A request that one allows was made before the user got the
    /// right, or after the user lost it.
    pub refused: Vec<Access>,
}

/// Calico's two API groups, and what the allocator's configuration is called in each. A server has one.
const CONFIGURATIONS: [(&str, &str); 2] = [(GROUPS[0], "ipamconfigs"), (GROUPS[1], "ipamconfigurations")];

impl Differences {
    /// Compares a user's rights with its requests. Of the two groups of Calico's, only `group` counts: the
    /// server has no kinds of the other.
    pub fn of(rights: &[Right], accesses: &[Access], group: &str) -> Differences {
        let unused = rights
            .iter()
            .filter(|right| right.is_of(group) && !accesses.iter().any(|access| right.allows(access)));
        let refused = accesses
            .iter()
            .filter(|access| access.is_refused && !rights.iter().any(|right| right.allows(access)));
        Differences { unused: unused.cloned().collect(), refused: refused.cloned().collect() }
    }
}

impl Right {
    /// Whether it is for something that a server can have which has this one of Calico's groups.
    fn is_of(&self, group: &str) -> bool {
        let definition = self.name.as_deref().and_then(|name| name.split_once('.'));
        let is_other = |&(other, configuration): &(&str, &str)| {
            let is_named = self.group == other || definition.is_some_and(|(_, of)| of == other);
            // Roles name the kinds of both groups in one rule.
            other != group && (is_named || self.resource == configuration)
        };
        !CONFIGURATIONS.iter().any(is_other)
    }

    /// Whether it allows a request.
    pub fn allows(&self, access: &Access) -> bool {
        let is_any = |mine: &Option<String>, of: &str| mine.as_deref().is_none_or(|mine| mine == of);
        self.group == access.group
            && self.resource == access.resource
            && self.verb == access.verb
            && is_any(&self.name, &access.name)
            && is_any(&self.namespace, &access.namespace)
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}", self.role, self.verb, of_group(&self.resource, &self.group))?;
        if let Some(name) = &self.name {
            write!(f, " {name}")?;
        }
        self.namespace.iter().try_for_each(|namespace| write!(f, " in {namespace}"))
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.verb, of_group(&self.resource, &self.group), self.name)
    }
}

/// A resource as kubectl names it: `ippools.crd.projectcalico.org`, `pods`.
fn of_group(resource: &str, group: &str) -> String {
    if group.is_empty() { resource.to_string() } else { format!("{resource}.{group}") }
}

impl KubeServer {
    /// All rights that a user has by roles that name the user, or its service account; not those of groups.
    ///
    /// # Errors
    /// When the roles cannot be read.
    pub fn rights_of(&self, user: &str) -> Result<Vec<Right>, ServerError> {
        Ok(rights(&self.roles()?, user))
    }

    /// All roles and bindings.
    fn roles(&self) -> Result<Json, ServerError> {
        let text = output_of(&mut self.kubectl(&["get", ROLES, "--all-namespaces", "-o", "json"]))?;
        Ok(serde_json::from_str(&text).expect("kubectl writes JSON"))
    }

    /// Takes the right that [`WITHOUT_RIGHT`] names away from its role, if the server has that role, and from
    /// the other roles of the accounts that have it: they could give the same.
    #[allow(clippy::disallowed_methods, reason = "whoever runs the tests says here what they lack")]
    pub(super) fn take_right_away(&self) -> Result<(), ServerError> {
        let Some(right) = std::env::var(WITHOUT_RIGHT).ok().filter(|right| !right.is_empty()) else {
            return Ok(());
        };
        let roles = self.roles()?;
        for (role, rules) in roles_without(&roles, &right) {
            let (kind, name) = (text(&role["kind"]), text(&role["metadata"]["name"]));
            let patch = json!({ "rules": rules }).to_string();
            let mut command = self.kubectl(&["patch", &kind, &name, "--type=merge", "--patch", &patch]);
            if let Some(namespace) = role["metadata"]["namespace"].as_str() {
                command.args(["--namespace", namespace]);
            }
            output_of(&mut command)?;
        }
        Ok(())
    }

    /// All requests of a user for resources, each once.
    ///
    /// # Panics
    /// When the audit log cannot be read.
    pub fn accesses_of(&self, user: &str) -> Vec<Access> {
        let log = fs::read_to_string(self.audit_log()).expect("the API server writes an audit log");
        accesses(&log, user)
    }
}

fn text(json: &Json) -> String {
    json.as_str().unwrap_or_default().to_string()
}

fn texts(json: &Json) -> Vec<String> {
    json.as_array().into_iter().flatten().map(text).collect()
}

/// The rights that a user has by these roles and bindings: a list as kubectl writes it.
pub fn rights(list: &Json, user: &str) -> Vec<Right> {
    let mut rights = Vec::new();
    for binding in bindings(list).filter(|binding| subjects(binding).any(|subject| is_user(subject, user))) {
        let namespace = binding["metadata"]["namespace"].as_str();
        for role in objects(list).filter(|role| binds(binding, role)) {
            let rules = role["rules"].as_array().into_iter().flatten();
            rights.extend(rules.flat_map(|rule| of_rule(&text(&role["metadata"]["name"]), rule, namespace)));
        }
    }
    rights.sort();
    rights.dedup();
    rights
}

fn objects(list: &Json) -> impl Iterator<Item = &Json> {
    list["items"].as_array().into_iter().flatten()
}

fn bindings(list: &Json) -> impl Iterator<Item = &Json> {
    objects(list).filter(|object| text(&object["kind"]).ends_with("RoleBinding"))
}

fn subjects(binding: &Json) -> impl Iterator<Item = &Json> {
    binding["subjects"].as_array().into_iter().flatten()
}

/// Whether a binding is for that role.
fn binds(binding: &Json, role: &Json) -> bool {
    role["kind"] == binding["roleRef"]["kind"]
        && role["metadata"]["name"] == binding["roleRef"]["name"]
        && (role["metadata"]["namespace"].is_null()
            || role["metadata"]["namespace"] == binding["metadata"]["namespace"])
}

/// The roles that a right is to be taken from, each with the rules that are left: its own role, and the other
/// roles of whoever has that one.
fn roles_without<'a>(list: &'a Json, right: &str) -> Vec<(&'a Json, Vec<Json>)> {
    let Some((own, right)) = right.split_once(": ") else { return Vec::new() };
    let having: Vec<&Json> =
        bindings(list).filter(|binding| binding["roleRef"]["name"] == own).flat_map(subjects).collect();
    let is_of_them = |role: &Json| {
        bindings(list)
            .any(|binding| binds(binding, role) && subjects(binding).any(|one| having.contains(&one)))
    };
    let roles = objects(list).filter(|role| role["metadata"]["name"] == own || is_of_them(role));
    let without = |role| Some((role, rules_without(role, right)?));
    roles.filter_map(without).collect()
}

/// The rules of a role without one right, which is given as text without the role's name, each for one right;
/// `None` where the role does not have it.
fn rules_without(role: &Json, right: &str) -> Option<Vec<Json>> {
    let name = text(&role["metadata"]["name"]);
    let right = format!("{name}: {right}");
    let rules = role["rules"].as_array().into_iter().flatten();
    let (taken, left): (Vec<Right>, Vec<Right>) =
        rules.flat_map(|rule| of_rule(&name, rule, None)).partition(|of_role| of_role.to_string() == right);
    let rule = |right: Right| {
        let names: Vec<String> = right.name.into_iter().collect();
        json!({
            "apiGroups": [right.group], "resources": [right.resource], "verbs": [right.verb],
            "resourceNames": names,
        })
    };
    (!taken.is_empty()).then(|| left.into_iter().map(rule).collect())
}

fn is_user(subject: &Json, user: &str) -> bool {
    match subject["kind"].as_str() {
        Some("User") => subject["name"] == user,
        Some("ServiceAccount") => {
            let (namespace, name) = (text(&subject["namespace"]), text(&subject["name"]));
            format!("system:serviceaccount:{namespace}:{name}") == user
        }
        _ => false,
    }
}

fn of_rule(role: &str, rule: &Json, namespace: Option<&str>) -> Vec<Right> {
    let mut names: Vec<Option<String>> = texts(&rule["resourceNames"]).into_iter().map(Some).collect();
    if names.is_empty() {
        names.push(None);
    }
    let mut rights = Vec::new();
    for group in texts(&rule["apiGroups"]) {
        for resource in texts(&rule["resources"]) {
            for verb in texts(&rule["verbs"]) {
                rights.extend(names.iter().map(|name| Right {
                    role: role.to_string(),
                    group: group.clone(),
                    resource: resource.clone(),
                    verb: verb.clone(),
                    name: name.clone(),
                    namespace: namespace.map(str::to_string),
                }));
            }
        }
    }
    rights
}

/// The requests of a user in an audit log, each once.
pub fn accesses(log: &str, user: &str) -> Vec<Access> {
    let mut accesses: Vec<Access> = events(log, user)
        .filter(|event| event["objectRef"].is_object())
        .map(|event| {
            let object = &event["objectRef"];
            let (resource, part) = (text(&object["resource"]), text(&object["subresource"]));
            Access {
                group: text(&object["apiGroup"]),
                resource: if part.is_empty() { resource } else { format!("{resource}/{part}") },
                verb: text(&event["verb"]),
                name: text(&object["name"]),
                namespace: text(&object["namespace"]),
                is_refused: event["responseStatus"]["code"] == 403,
            }
        })
        .collect();
    accesses.sort();
    accesses.dedup();
    accesses
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ACCOUNT: &str = "system:serviceaccount:kube-system:agent";

    fn objects() -> Json {
        let subjects = json!([{"kind": "ServiceAccount", "name": "agent", "namespace": "kube-system"}]);
        json!({"items": [
            {"kind": "ClusterRole", "metadata": {"name": "agent"}, "rules": [
                {"apiGroups": [""], "resources": ["nodes", "nodes/status"], "verbs": ["get", "patch"]}]},
            {"kind": "Role", "metadata": {"name": "lead", "namespace": "kube-system"}, "rules": [
                {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": ["one"], "verbs": ["update"]}]},
            {"kind": "Role", "metadata": {"name": "lead", "namespace": "other"}, "rules": [
                {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]},
            {"kind": "ClusterRoleBinding", "metadata": {"name": "a"}, "subjects": subjects,
                "roleRef": {"kind": "ClusterRole", "name": "agent"}},
            {"kind": "RoleBinding", "metadata": {"name": "b", "namespace": "kube-system"}, "subjects": subjects,
                "roleRef": {"kind": "Role", "name": "lead"}},
        ]})
    }

    #[test]
    fn a_rule_gives_a_right_for_each_of_its_words() {
        let shown: Vec<String> = rights(&objects(), ACCOUNT).iter().map(ToString::to_string).collect();
        let wanted = [
            "agent: get nodes",
            "agent: patch nodes",
            "agent: get nodes/status",
            "agent: patch nodes/status",
            "lead: update leases.coordination.k8s.io one in kube-system",
        ];
        assert_eq!(shown, wanted, "and none of the role of the same name elsewhere");
        assert!(rights(&objects(), "system:serviceaccount:other:agent").is_empty());
    }

    #[test]
    fn a_role_keeps_all_rights_but_the_one_that_is_taken_away() {
        let role = &objects()["items"][0];
        let left = rules_without(role, "patch nodes").unwrap();
        let left: Vec<String> = left
            .iter()
            .flat_map(|rule| of_rule("agent", rule, None))
            .map(|right| right.to_string())
            .collect();
        assert_eq!(left, ["agent: get nodes", "agent: get nodes/status", "agent: patch nodes/status"]);
        let role = &objects()["items"][1];
        assert_eq!(rules_without(role, "update leases.coordination.k8s.io two"), None);
        let left = rules_without(role, "update leases.coordination.k8s.io one");
        assert!(left.is_some_and(|left| left.is_empty()));
    }

    #[test]
    fn a_right_is_taken_from_all_roles_of_an_account() {
        let mut list = objects();
        list["items"][1]["rules"] =
            json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list"]}]);
        let from = |list: &Json, right: &str| {
            let roles = roles_without(list, right).into_iter();
            roles.map(|(role, rules)| (text(&role["metadata"]["name"]), rules.len())).collect::<Vec<_>>()
        };
        assert_eq!(from(&list, "agent: get nodes"), [("agent".to_string(), 3), ("lead".to_string(), 1)]);
        assert_eq!(from(&list, "lead: list nodes"), [("lead".to_string(), 1)]);
        assert!(from(&list, "another: get nodes").is_empty());
        list["items"][3]["subjects"] = json!([]);
        assert_eq!(from(&list, "agent: get nodes"), [("agent".to_string(), 3)], "nobody has both");
    }

    #[test]
    fn what_was_used_is_told_from_what_was_not() {
        let event = |verb: &str, code: u16, object: Json| {
            json!({"user": {"username": ACCOUNT}, "verb": verb, "responseStatus": {"code": code}, "objectRef": object})
                .to_string()
        };
        let log = [
            event("patch", 200, json!({"resource": "nodes", "subresource": "status", "name": "n1"})),
            event("update", 409, json!({"resource": "leases", "apiGroup": "coordination.k8s.io", "name": "one", "namespace": "kube-system"})),
            event("update", 403, json!({"resource": "leases", "apiGroup": "coordination.k8s.io", "name": "one", "namespace": "kube-system"})),
            event("get", 403, json!({"resource": "secrets", "name": "s", "namespace": "other"})),
            event("get", 200, json!(null)),
        ]
        .join("\n");
        let (rights, accesses) = (rights(&objects(), ACCOUNT), accesses(&log, ACCOUNT));
        let Differences { unused, refused } = Differences::of(&rights, &accesses, "crd.projectcalico.org");
        let unused: Vec<String> = unused.iter().map(ToString::to_string).collect();
        assert_eq!(unused, ["agent: get nodes", "agent: patch nodes", "agent: get nodes/status"]);
        let refused: Vec<String> = refused.iter().map(ToString::to_string).collect();
        assert_eq!(refused, ["get secrets s"]);
        assert!(super::accesses(&log, "another").is_empty());
    }

    #[test]
    fn of_two_groups_one_counts() {
        let right = |group: &str, resource: &str, name: Option<&str>| Right {
            role: String::new(),
            group: group.to_string(),
            resource: resource.to_string(),
            verb: "get".to_string(),
            name: name.map(str::to_string),
            namespace: None,
        };
        let (v1, v3) = ("crd.projectcalico.org", "projectcalico.org");
        for (right, of_v1, of_v3) in [
            (right("", "nodes", None), true, true),
            (right(v1, "ippools", None), true, false),
            (right(v3, "ippools", None), false, true),
            (right(v1, "ipamconfigs", None), true, false),
            (right(v1, "ipamconfigurations", None), false, false),
            (
                right(
                    "apiextensions.k8s.io",
                    "customresourcedefinitions",
                    Some("tiers.crd.projectcalico.org"),
                ),
                true,
                false,
            ),
            (
                right("apiextensions.k8s.io", "customresourcedefinitions", Some("tiers.projectcalico.org")),
                false,
                true,
            ),
        ] {
            assert_eq!((right.is_of(v1), right.is_of(v3)), (of_v1, of_v3), "{right}");
        }
    }
}
