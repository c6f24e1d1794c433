//! Reading single resources and lists.

use api::capability::Backend;
use api::{Home, Kind, Resource, Revision};
use store::{Depth, Effects, ReadSet, Scope, Store};

use crate::client::Client;
use crate::error::{Error, Identifier};
use crate::metadata;

/// A list of resources, as readers see them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listed {
    /// The resources, in the order of namespace and name; but tiers in the order of their field `order`, and
    /// on Kubernetes endpoints in the order of their pods.
    pub items: Vec<Resource>,
    /// The store's revision, where it has one.
    pub revision: Option<Revision>,
}

impl<S: Store, E: Effects> Client<'_, S, E> {
    /// A resource as readers see it (see [`metadata::as_read`]).
    ///
    /// # Errors
    /// [`Error::DoesNotExist`], or the store's.
    pub async fn get(&self, id: &Identifier) -> Result<Resource, Error> {
        let (resource, revision) = self.resource(id).await?;
        Ok(metadata::as_read(&resource, &revision))
    }

    /// All resources of a kind, in one namespace or in all. Resources that cannot be read are left out, as
    /// Calico leaves them out; the store's view reports them.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(&self, kind: Kind, namespace: Option<&str>) -> Result<Listed, Error> {
        let scope = Scope::Resources { kind, namespace: namespace.map(str::to_string) };
        let view = self.read(&ReadSet::new().scope(scope, Depth::Full)).await?;
        let mut items: Vec<Resource> =
            view.resources(kind).map(|(resource, revision)| metadata::as_read(resource, revision)).collect();
        let definition = kind.definition();
        items.sort_by(|a, b| (definition.rank)(a).total_cmp(&(definition.rank)(b)));
        if self.backend == Backend::Kubernetes && definition.home == Home::Pods {
            let pod = |endpoint: &Resource| {
                let pod = endpoint.text(&["spec", "pod"]).unwrap_or_default().to_string();
                (endpoint.metadata().namespace.clone(), pod)
            };
            items.sort_by_cached_key(pod);
        }
        Ok(Listed { items, revision: view.revision().cloned() })
    }
}
