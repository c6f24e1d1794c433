//! The direction of dependencies: which crate of the workspace may depend on which.

use std::process::Command;

/// Each crate, and the crates of the workspace on which it may depend. Development dependencies are not
/// limited.
const ARROWS: &[(&str, &[&str])] = &[
    ("selector", &[]),
    ("golang", &[]),
    ("api", &["golang", "selector"]),
    ("outside", &[]),
    ("store", &["api", "outside"]),
    ("ipam", &["golang", "api", "selector", "store"]),
    ("resources", &["api", "selector", "store", "ipam"]),
    ("controllers", &["api", "store", "ipam"]),
    ("routes", &["api"]),
    ("setup", &["golang", "api", "outside", "store"]),
    ("dataplane", &["outside"]),
    ("host", &["api", "outside", "routes"]),
    ("filter", &["api", "outside", "routes"]),
    (
        "rackpoold",
        &[
            "controllers",
            "golang",
            "api",
            "filter",
            "host",
            "outside",
            "store",
            "ipam",
            "resources",
            "routes",
            "setup",
        ],
    ),
    ("calicoctl", &["golang", "selector", "api", "outside", "store", "ipam", "resources", "routes", "setup"]),
    ("cni", &["golang", "api", "outside", "store", "setup"]),
    ("calico-ipam", &["golang", "api", "cni", "outside", "store", "ipam", "setup"]),
    ("calico", &["golang", "api", "cni", "dataplane", "outside", "store", "ipam", "resources", "setup"]),
    // The launchers of test servers must be in no program that users run.
    ("servers", &[]),
    ("namespaces", &[]),
    ("simulator", &["api", "controllers", "store", "ipam"]),
    ("cluster-data", &["api"]),
    // It reaches into every crate that reads anything, and no program may link it.
    (
        "fuzz-targets",
        &[
            "api",
            "calico",
            "calico-ipam",
            "calicoctl",
            "cni",
            "filter",
            "golang",
            "host",
            "ipam",
            "outside",
            "rackpoold",
            "resources",
            "routes",
            "selector",
            "setup",
            "store",
        ],
    ),
    ("xtask", &["api", "servers"]),
    ("benches", &["api", "cluster-data", "servers", "store"]),
    ("end-to-end", &[]),
];

#[test]
fn dependencies_point_one_way() {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let names: Vec<&str> = packages.iter().map(|package| package["name"].as_str().unwrap()).collect();
    let mut wrong = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == name) else {
            wrong.push(format!("{name} is not in the table"));
            continue;
        };
        for dependency in package["dependencies"].as_array().unwrap() {
            let to = dependency["name"].as_str().unwrap();
            if dependency["kind"].is_null() && names.contains(&to) && !allowed.contains(&to) {
                wrong.push(format!("{name} must not depend on {to}"));
            }
        }
    }
    for (known, _) in ARROWS {
        if !names.contains(known) {
            wrong.push(format!("{known} is in the table but not in the workspace"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The crates without effects.
const PURE: &[&str] = &["selector", "api", "ipam", "routes", "simulator"];

/// These crates must not link any package that runs tasks, waits or uses the network, not even by another
/// package.
#[test]
fn pure_crates_link_no_runtime() {
    for name in PURE {
        let out = Command::new(env!("CARGO"))
            .args([
                "tree",
                "--offline",
                "--package",
                name,
                "--edges",
                "normal",
                "--prefix",
                "none",
                "--format",
                "{p}",
            ])
            .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")])
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let tree = String::from_utf8(out.stdout).unwrap();
        let linked: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
        assert!(linked.contains(&"serde") || *name == "selector", "{tree}");
        for runtime in ["tokio", "async-std", "smol", "mio", "futures-util", "getrandom", "fastrand", "rand"]
        {
            assert!(
                !linked.contains(&runtime),
                "{name} links {runtime}; cargo tree --package {name} --edges normal --invert {runtime} tells by which way"
            );
        }
    }
}

/// Clippy's rules come from the root. The crates without effects have stricter ones, the same in each.
#[test]
fn pure_crates_have_the_same_rules() {
    let rules = |name: &str| {
        let file = format!("{}/../crates/{name}/clippy.toml", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"))
    };
    for name in PURE {
        assert_eq!(rules(name), rules(PURE[0]), "{name}");
    }
}
