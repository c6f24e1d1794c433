//! The kind Tier.

use serde_json::Value as Json;

use super::definition::{Definition, Home, custom_resource};
use crate::capability::OperationRefusal;
use crate::checks::FieldError;
use crate::checks::tags::{is_label, one_of};
use crate::columns::{self, Columns, column};
use crate::document::{Document, fill};
use crate::schema::*;
use golang::number;

const MAX_LABEL: usize = 63;

pub(super) static DEFINITION: Definition = Definition {
    aliases: &["tier", "tiers"],
    rank: |tier| tier.spec("order").as_f64().unwrap_or(f64::INFINITY),
    refusal: |_, operation| {
        let (operation, reason) = (operation.verb(), "tiers can only be read");
        Some(OperationRefusal { operation, names_object: true, reason })
    },
    on_write: |tier| fill(tier.spec_mut(), "defaultAction", || "Deny".into()),
    client,
    crd,
    ..Definition::new("v3.Tier", "tiers", HOME, &SCHEMA, &COLUMNS)
};

const HOME: Home = Home::Custom(custom_resource!("tiers"));

static SCHEMA: Struct = Struct {
    go: "Tier",
    fields: &[
        KIND,
        API_VERSION,
        METADATA,
        field("spec", "Spec", Omit::Never, object("v3.TierSpec", &TIER_SPEC)),
        field("status", "Status", Omit::Never, object("v3.TierStatus", &TIER_STATUS)),
    ],
};

static TIER_SPEC: Struct = Struct {
    go: "TierSpec",
    fields: &[
        field("order", "Order", Omit::Absent, ty("float64", Shape::Float)),
        field("defaultAction", "DefaultAction", Omit::Absent, text("v3.Action")),
    ],
};

static TIER_STATUS: Struct =
    Struct { go: "TierStatus", fields: &[field("conditions", "Conditions", Omit::Zero, CONDITIONS)] };

static COLUMNS: Columns = Columns {
    all: &[
        columns::NAME,
        column("ORDER", |r, _| {
            r.field(&["spec", "order"]).and_then(Json::as_f64).map_or_else(|| "<nil>".into(), number::general)
        }),
    ],
    default: &["NAME", "ORDER"],
    wide: &["NAME", "ORDER"],
};

fn client(tier: &Document) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let name = tier.name();
    if name.len() > MAX_LABEL {
        let reason = format!("name is too long by {} bytes", name.len() - MAX_LABEL);
        faults.push(FieldError::of_value("Metadata.Name", name, reason));
    }
    if !is_label(name) {
        let reason = "name must consist of lower case alphanumeric characters or '-' (regex: [a-z0-9]([-a-z0-9]*[a-z0-9])?)";
        faults.push(FieldError::of_value("Metadata.Name", name, reason));
    }
    faults
}

fn crd(tier: &Document) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let action = tier.spec("defaultAction");
    one_of(&mut faults, "spec.defaultAction", action, &["Pass", "Deny"]);
    for (name, wanted) in [("kube-admin", "Pass"), ("kube-baseline", "Pass"), ("default", "Deny")] {
        if tier.name() == name && action.as_str().unwrap_or("Deny") != wanted {
            let message = format!("The '{name}' tier must have default action '{wanted}'");
            faults.push(FieldError::new("Tier", message));
        }
    }
    faults
}
