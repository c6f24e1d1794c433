//! Where records and scopes are on the API server.

use api::crd::{
    Collection, Group, affinity_selector, object_name, pod, unlabelled_affinity_selector, why_no_name,
};
use api::{Home, Key, Kind};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::read::Scope;

/// The kind of objects at a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Custom resources.
    Custom(Collection),
    /// Kubernetes Nodes.
    Nodes,
    /// Pods.
    Pods,
}

impl What {
    fn of_kind(kind: Kind) -> What {
        match kind.definition().home {
            Home::Nodes => What::Nodes,
            Home::Pods => What::Pods,
            Home::Custom(_) | Home::Nowhere => What::Custom(Collection::Resources(kind)),
        }
    }

    /// Whether the server's short form of an object (its metadata) says which record it is.
    pub(super) fn is_told_by_metadata(self) -> bool {
        matches!(self, What::Nodes | What::Custom(Collection::Resources(_) | Collection::Blocks))
    }
}

/// Where one record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) what: What,
    /// The path of the collection.
    pub(super) collection: String,
    /// The object's name.
    pub(super) name: String,
}

impl Place {
    /// The path of the object.
    pub(super) fn path(&self) -> String {
        format!("{}/{}", self.collection, self.name)
    }

    /// The collection as the server's messages call it: `ippools.crd.projectcalico.org`, `pods`.
    pub(super) fn plural(&self) -> String {
        let parts: Vec<&str> = self.collection.trim_start_matches('/').split('/').collect();
        match parts[..] {
            ["apis", group, _, plural] => format!("{plural}.{group}"),
            _ => parts.last().copied().unwrap_or_default().to_string(),
        }
    }
}

/// Whether this store keeps resources of a kind at all.
pub(super) fn is_kept(kind: Kind) -> bool {
    kind.definition().home != Home::Nowhere
}

/// Where a record is; the error is the reason where this store cannot keep it.
pub(super) fn of_key(group: Group, key: &Key) -> Result<Place, String> {
    let home = match key {
        Key::Resource { kind, .. } => Some(kind.definition().home),
        _ => None,
    };
    let (what, collection, name) = match (home, key) {
        (Some(Home::Nodes), Key::Resource { name, .. }) => {
            (What::Nodes, "/api/v1/nodes".to_string(), name.clone())
        }
        (Some(Home::Pods), Key::Resource { name, .. }) => {
            let Some((namespace, pod)) = pod::pod_of(key) else {
                return Err(format!("{key}: {name:?} is not the name of an endpoint of a pod"));
            };
            check(key, &namespace)?;
            (What::Pods, format!("/api/v1/namespaces/{namespace}/pods"), pod)
        }
        (_, key) => {
            // Nodes and workload endpoints are Kubernetes' own objects (above). Any other record is a custom
            // resource, or is kept nowhere.
            let Some(collection) = Collection::of(key) else { return Err(format!("{key} is kept nowhere")) };
            (What::Custom(collection), collection.path(group), object_name(key))
        }
    };
    check(key, &name)?;
    Ok(Place { what, collection, name })
}

fn check(key: &Key, name: &str) -> Result<(), String> {
    match why_no_name(name) {
        None => Ok(()),
        Some(rule) => Err(format!("{key} cannot be kept in Kubernetes under the name {name:?}: {rule}")),
    }
}

/// How much of each object the server is to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// All of it.
    Whole,
    /// Of Nodes the metadata, and no affinity that is pending; of everything else all of it.
    Short,
}

/// Where the records of a scope are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) what: What,
    pub(super) path: String,
    /// A label selector that leaves out only objects which certainly do not belong to the scope.
    pub(super) selector: Option<String>,
    /// A field selector, which does the same. It is escaped for a URL.
    pub(super) fields: Option<String>,
    /// Whether the path lists objects of several namespaces.
    pub(super) has_namespaces: bool,
    /// Whether the server is to send the objects' metadata alone.
    pub(super) is_short: bool,
}

pub(super) fn of_scope(group: Group, scope: &Scope) -> Range {
    let (what, namespace, selector) = match scope {
        Scope::Resources { kind, namespace } => (What::of_kind(*kind), namespace.as_deref(), None),
        Scope::Affinities { owner, family } => {
            (What::Custom(Collection::Affinities), None, affinity_selector(owner.as_ref(), *family))
        }
        Scope::Blocks { .. } | Scope::Block(_) => (What::Custom(Collection::Blocks), None, None),
        Scope::Handles => (What::Custom(Collection::Handles), None, None),
        Scope::IpamConfig => (What::Custom(Collection::IpamConfig), None, None),
    };
    let path = match (what, namespace) {
        (What::Custom(collection), _) => collection.path(group),
        (What::Nodes, _) => "/api/v1/nodes".to_string(),
        (What::Pods, Some(namespace)) => format!("/api/v1/namespaces/{namespace}/pods"),
        (What::Pods, None) => "/api/v1/pods".to_string(),
    };
    let has_namespaces = what == What::Pods && namespace.is_none();
    let fields = match scope {
        // Object names hold nothing that a URL would have to escape.
        Scope::Block(block) => Some(format!("metadata.name%3D{}", object_name(&Key::Block(*block)))),
        Scope::IpamConfig => Some(format!("metadata.name%3D{}", object_name(&Key::IpamConfig))),
        _ => None,
    };
    Range { what, path, selector, fields, has_namespaces, is_short: false }
}

/// The affinities that old releases wrote without labels.
pub(super) fn of_unlabelled_affinities(group: Group) -> Range {
    let selector = Some(unlabelled_affinity_selector());
    Range { selector, ..of_scope(group, &Scope::Affinities { owner: None, family: None }) }
}

impl Range {
    /// The range, with objects in that form.
    pub(super) fn in_form(self, form: Form) -> Range {
        match (form, self.what) {
            (Form::Short, What::Nodes) => Range { is_short: true, ..self },
            (Form::Short, What::Custom(Collection::Affinities)) => {
                Range { fields: Some("spec.state!%3Dpending".to_string()), ..self }
            }
            _ => self,
        }
    }

    /// The name of a record's object, in the order of which the server lists.
    pub(super) fn position(&self, group: Group, key: &Key) -> String {
        let Ok(place) = of_key(group, key) else { return object_name(key) };
        match key {
            Key::Resource { namespace: Some(namespace), .. } if self.has_namespaces => {
                format!("{namespace}/{}", place.name)
            }
            _ => place.name,
        }
    }

    /// The position of the object of that name.
    pub(super) fn position_of(&self, namespace: &str, name: &str) -> String {
        if self.has_namespaces { format!("{namespace}/{name}") } else { name.to_string() }
    }

    /// The URL of the first, or of a further page.
    pub(super) fn url(&self, limit: usize, token: Option<&str>) -> String {
        let mut url = format!("{}?limit={limit}", self.path);
        url.push_str(&self.selectors());
        if let Some(token) = token {
            url.push_str("&continue=");
            url.push_str(token);
        }
        url
    }

    /// The URL of a watch that begins after that revision and ends after `seconds` seconds.
    pub(super) fn watch_url(&self, revision: &str, seconds: u64) -> String {
        format!(
            "{}?watch=true&allowWatchBookmarks=true&resourceVersion={revision}&timeoutSeconds={seconds}{}",
            self.path,
            self.selectors()
        )
    }

    /// What leaves out other objects of the path, as the last part of a URL.
    fn selectors(&self) -> String {
        let labels = self.selector.as_ref().map(|selector| format!("&labelSelector={}", escape(selector)));
        let fields = self.fields.as_ref().map(|fields| format!("&fieldSelector={fields}"));
        labels.into_iter().chain(fields).collect()
    }
}

/// A token with which the server lists the present state after a name. It has the form that the server itself
/// gives out where the state of an earlier page is gone (`apiserver/pkg/storage/continue.go`).
pub(super) fn token_after(position: &str) -> String {
    let token = json!({"v": "meta.k8s.io/v1", "rv": -1, "start": format!("{position}\0")});
    URL_SAFE_NO_PAD.encode(token.to_string())
}

/// Escapes a label selector for a URL. Selectors hold letters, digits, `.`, `-`, `/`, `=`, `,` and `!`.
fn escape(selector: &str) -> String {
    selector.replace('/', "%2F").replace('=', "%3D").replace(',', "%2C").replace('!', "%21")
}

#[cfg(test)]
mod tests {
    use api::{Family, HandleId, Owner};

    use super::*;

    #[test]
    fn places() {
        let place = |key: &Key| of_key(Group::V1, key).map(|place| place.path());
        let endpoint = |name: &str| Key::Resource {
            kind: Kind::WorkloadEndpoint,
            namespace: Some("ns".into()),
            name: name.into(),
        };
        for (key, path) in [
            (Key::global(Kind::Node, "n1"), "/api/v1/nodes/n1"),
            (Key::global(Kind::IPPool, "p"), "/apis/crd.projectcalico.org/v1/ippools/p"),
            (endpoint("n-k8s-web--0-eth0"), "/api/v1/namespaces/ns/pods/web-0"),
            (Key::IpamConfig, "/apis/crd.projectcalico.org/v1/ipamconfigs/default"),
        ] {
            assert_eq!(place(&key).as_deref(), Ok(path));
        }
        for key in [
            endpoint("n-cni-c-eth0"),
            Key::global(Kind::IPPool, "a/../b"),
            Key::Handle(HandleId::new("under_score").unwrap()),
            Key::global(Kind::Profile, "net"),
        ] {
            let reason = place(&key).unwrap_err();
            assert!(reason.contains(&key.to_string()), "{reason}");
        }
    }

    #[test]
    fn urls() {
        let scope = Scope::Affinities { owner: Some(Owner::Host("n1".into())), family: Some(Family::V4) };
        // Recorded in 001-rack-guide and others, but for the order of the parameters.
        assert_eq!(
            of_scope(Group::V1, &scope).url(500, None),
            "/apis/crd.projectcalico.org/v1/blockaffinities?limit=500&labelSelector=projectcalico.org%2Faffinity-type%3Dhost%2Cprojectcalico.org%2Fhostname-hash%3DDM7EHBDU4L3ELKRER4A46T6QMKAGARQI4CVWBO26S4I2IDAAW6CA%2Cprojectcalico.org%2Fip-version%3D4"
        );
        // Recorded in 034-unlabelled-affinities, but for the order of the parameters.
        assert_eq!(
            of_unlabelled_affinities(Group::V1).url(500, None),
            "/apis/crd.projectcalico.org/v1/blockaffinities?limit=500&labelSelector=%21projectcalico.org%2Faffinity-type"
        );
        let token = token_after("a");
        assert_eq!(
            of_scope(Group::V3, &Scope::Handles).url(7, Some(&token)),
            format!("/apis/projectcalico.org/v3/ipamhandles?limit=7&continue={token}")
        );
        assert_eq!(
            URL_SAFE_NO_PAD.decode(token).unwrap(),
            br#"{"v":"meta.k8s.io/v1","rv":-1,"start":"a\u0000"}"#
        );
    }
}
