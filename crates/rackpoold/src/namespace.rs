//! The namespace in which this process runs.

use std::path::Path;

use setup::Environment;

/// Where a pod finds the name of its own namespace.
const FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// The pod's own namespace: what `POD_NAMESPACE` says, or else its account's; `kube-system` outside of pods.
pub fn own_namespace(environment: &Environment) -> String {
    const MOST: usize = 4096;
    let given = environment.get("POD_NAMESPACE").map(str::to_string);
    let of_pod = || outside::read_text(Path::new(FILE), MOST).ok();
    let found = given.or_else(of_pod).map(|name| name.trim().to_string());
    found.filter(|name| !name.is_empty()).unwrap_or_else(|| "kube-system".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_environment_says_counts() {
        for (said, wanted) in [("rackpool\n", "rackpool"), (" ", "kube-system")] {
            assert_eq!(own_namespace(&[("POD_NAMESPACE", said)].into_iter().collect()), wanted);
        }
    }
}
