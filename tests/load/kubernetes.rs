//! A load on a real Kubernetes API server, which is killed and restarted. Beside it runs an allocator that
//! writes as Calico's does.

use crate::case::Case;
use crate::environment::{Environment, KubeGroup, hosts};
use crate::trouble::Trouble;
use crate::worker::Author;

/// Ends the test where tests with Kubernetes are left out.
macro_rules! needs_kubernetes {
    () => {
        if servers::kube_server::is_left_out() {
            return;
        }
    };
}
pub(crate) use needs_kubernetes;

/// Twenty workers that run `ours`, and five that write as Calico does, on the same hosts.
fn workers(ours: Author) -> Vec<(Author, Vec<String>)> {
    let authors = [ours, ours, ours, ours, Author::Calico];
    authors.iter().cycle().take(25).map(|author| (*author, hosts())).collect()
}

/// A load of two hundred requests from twenty workers, and fifty from the five others.
pub fn case(name: &'static str, group: KubeGroup, ours: Author) -> Case {
    let case = Case::new(name, Environment::kubernetes(group)).with(Trouble::KillApiServer);
    // The allocator that writes as Calico does gives up at once if the server does not answer, so fewer
    // requests are granted.
    Case { workers: workers(ours), granted: 60, ..case }
}

#[test]
fn the_api_server_is_killed() {
    needs_kubernetes!();
    case("API server killed", KubeGroup::V3, Author::Ours).run();
}
