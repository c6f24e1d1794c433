//! Settings of the connection, of the controllers and of Felix.

use serde_json::Value as Json;
use setup::{Environment, Settings};

use super::Target;
use crate::input::{bounded, halves, told, variables};

pub(super) const TARGETS: &[Target] = &[
    Target { name: "connection-file", what: "a CalicoAPIConfig, as YAML", run: file },
    Target { name: "environment", what: "variables, one on each line", run: environment },
    Target {
        name: "controllers",
        what: "variables, a line of four dashes, and the spec of a KubeControllersConfiguration",
        run: controllers,
    },
    Target { name: "felix", what: "a FelixConfiguration", run: felix },
];

fn file(bytes: &[u8]) {
    let Ok(document) = golang::yaml::read_strict(bytes) else { return };
    match Settings::from_file("calicoctl.cfg", &document) {
        Ok(settings) => drop(settings),
        Err(error) => told(error, bytes.len()),
    }
}

fn environment(bytes: &[u8]) {
    let environment: Environment = variables(bytes).into_iter().collect();
    match Settings::from_environment(&environment) {
        Ok(settings) => drop(settings),
        Err(error) => told(error, bytes.len()),
    }
    environment.interface_prefix();
    for family in api::Family::BOTH {
        match rackpoold::node::detect::Request::read(&environment, family) {
            Ok(request) => drop(request.question(None)),
            Err(error) => bounded("an error's text", error.to_string().len(), bytes.len(), 64),
        }
    }
}

fn controllers(bytes: &[u8]) {
    let (variables_of, spec) = halves(bytes);
    let environment: Environment = variables(variables_of).into_iter().collect();
    let spec: Option<Json> = serde_json::from_slice(spec).ok();
    for is_kubernetes in [false, true] {
        match rackpoold::controllers::settings::settle(&environment, is_kubernetes, spec.as_ref()) {
            Ok(settled) => {
                let notes: usize = settled.notes.iter().map(String::len).sum();
                bounded("the notes", notes + settled.status.to_string().len(), bytes.len(), 16);
            }
            Err(error) => told(error, bytes.len()),
        }
    }
}

fn felix(bytes: &[u8]) {
    let Ok(configuration) = serde_json::from_slice::<Json>(bytes) else { return };
    let mut settings = filter::Settings::default();
    let unusable = settings.take(&configuration);
    bounded("what cannot be used", unusable.iter().map(|one| one.to_string().len()).sum(), bytes.len(), 16);
    // Taken twice, it is the same.
    let before = settings.clone();
    settings.take(&configuration);
    assert_eq!(settings, before);
}
