//! The blocks that are not run here, each with the reason, and a test that runs its commands.

use crate::page::Block;

/// A block that is run elsewhere.
pub struct Elsewhere {
    pub page: &'static str,
    /// How its first command begins.
    pub begins: &'static str,
    /// Why it is not run here.
    #[allow(dead_code, reason = "for the reader of the list")]
    pub reason: &'static str,
    /// The file and the function that run its commands.
    pub test: (&'static str, &'static str),
}

const fn elsewhere(
    page: &'static str,
    begins: &'static str,
    reason: &'static str,
    test: (&'static str, &'static str),
) -> Elsewhere {
    Elsewhere { page, begins, reason, test }
}

const CONTROLLERS: (&str, &str) = ("crates/rackpoold/tests/controllers/frame.rs", "on_the_embedded_store");
const RACKS: (&str, &str) = ("crates/rackpoold/tests/racks/status.rs", "what_differs_is_told");
const DEMO: (&str, &str) = ("xtask/src/demo/kubernetes.rs", "perform");
const THERE: (&str, &str) = ("crates/calicoctl/tests/kubernetes/takeover.rs", "there_and_back");
const A_POD: (&str, &str) = (
    "crates/calicoctl/tests/kubernetes/explain.rs",
    "a_pod_is_explained_by_its_node_namespace_and_annotations",
);

pub const ELSEWHERE: &[Elsewhere] = &[
    elsewhere("controllers.md", "rackpoold controllers", "it works until it is told to end", CONTROLLERS),
    elsewhere("migrating-from-calico.md", "helm", "it installs into a cluster", DEMO),
    elsewhere(
        "migrating-from-calico.md",
        "kubectl scale deployment tigera-operator",
        "an operator is needed",
        THERE,
    ),
    elsewhere("migrating-from-calico.md", "rackpoold node", "it changes the host's network", RACKS),
    elsewhere("node.md", "rackpoold node sysctl", "it changes the host's network", RACKS),
    elsewhere("troubleshooting.md", "rackpoold node status", "it looks at the host's network", RACKS),
    elsewhere("troubleshooting.md", "calicoctl ipam explain --namespace", "it is about a pod", A_POD),
];

/// The pages of which every block is run elsewhere, each with the reason and the test. (A page of that name
/// that does not exist has no blocks.)
pub const PAGES: &[(&str, &str, (&str, &str))] = &[
    ("install.md", "it installs into a cluster of kubelets", ("xtask/src/demo/kubernetes.rs", "perform")),
    ("plain-host.md", "it installs on a host", ("xtask/src/release/tests.rs", "plain_host")),
];

/// Whether the whole page is run elsewhere.
pub fn has_page(name: &str) -> bool {
    PAGES.iter().any(|(page, ..)| *page == name)
}

impl Elsewhere {
    pub fn is(&self, page: &str, block: &Block) -> bool {
        self.page == page && !block.is_hidden && block.first().starts_with(self.begins)
    }
}

/// Whether a block is run elsewhere.
pub fn has(page: &str, block: &Block) -> bool {
    ELSEWHERE.iter().any(|listed| listed.is(page, block))
}
