//! Go templates over resources.

use calicoctl::output::template::{Data, TemplateError, render, types};
use serde_json::json;

use super::Target;
use crate::input::{bounded, halves, text};

pub(super) const TARGETS: &[Target] = &[Target {
    name: "go-template",
    what: "a template, a line of four dashes, and a pool's selector",
    run: template,
}];

fn template(bytes: &[u8]) {
    let (template, selector) = halves(bytes);
    let (template, selector) = (text(template), text(selector));
    let data: Data = types::results(&[
        json!({"kind": "IPPool", "apiVersion": "projectcalico.org/v3", "metadata": {"name": "rack-0"},
            "spec": {"cidr": "10.0.0.0/24", "blockSize": 26, "nodeSelector": selector, "allowedUses": ["Workload"]}}),
        json!({"kind": "NodeList", "apiVersion": "projectcalico.org/v3", "metadata": {}, "items": [
            {"metadata": {"name": "n", "labels": {"rack": "0"}}, "spec": {"bgp": {"ipv4Address": "10.1.0.1/24"}}}]}),
    ]);
    let config = |name: &str| match name {
        "asnumber" => Ok("64512".to_string()),
        other => Err(format!("there is no setting {other}")),
    };
    match render(&template, &data, &config) {
        // A loop may write the data again and again: the bound is render's own.
        Ok(output) => assert!(output.len() <= 64 << 20),
        Err(TemplateError::Template(said)) => bounded("an error's text", said.len(), bytes.len() + 4096, 16),
        Err(_) => {}
    }
}
