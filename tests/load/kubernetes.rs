//! A load on a real Kubernetes API server that is killed and comes back, next to an allocator that writes as
//! Calico's does.

use crate::case::Case;
use crate::environment::{Environment, KubeGroup, hosts};
use crate::trouble::Trouble;
use crate::worker::Author;

/// Ends the test where Kubernetes is left out.
macro_rules! needs_kubernetes {
    () => {
        if servers::kube_server::is_left_out() {
            return;
        }
    };
}
pub(crate) use needs_kubernetes;

/// Twenty workers of a kind and five that write as Calico does, on the same hosts.
fn workers(ours: Author) -> Vec<(Author, Vec<String>)> {
    let authors = [ours, ours, ours, ours, Author::Calico];
    authors.iter().cycle().take(25).map(|author| (*author, hosts())).collect()
}

/// Two hundred requests of twenty workers, and fifty of those others.
pub fn case(name: &'static str, group: KubeGroup, ours: Author) -> Case {
    let case = Case::new(name, Environment::kubernetes(group)).with(Trouble::KillApiServer);
    // Whoever writes as Calico does asks once and no more where nobody answers.
    Case { workers: workers(ours), granted: 60, ..case }
}

#[test]
fn the_api_server_is_killed() {
    needs_kubernetes!();
    case("API server killed", KubeGroup::V3, Author::Ours).run();
}
