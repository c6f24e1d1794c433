//! The kind Profile, and the rules that a profile consists of.

use super::definition::{Definition, Home};
use crate::checks::FieldError;
use crate::checks::metadata::qualified_name;
use crate::columns::{self, Columns};
use crate::document::Document;
use crate::schema::*;

pub(super) static DEFINITION: Definition =
    Definition { client, ..Definition::new("v3.Profile", "profiles", Home::Nowhere, &SCHEMA, &COLUMNS) };

static SCHEMA: Struct = Struct {
    go: "Profile",
    fields: &[
        KIND,
        API_VERSION,
        METADATA,
        field("spec", "Spec", Omit::Never, object("v3.ProfileSpec", &PROFILE_SPEC)),
    ],
};

static PROFILE_SPEC: Struct = Struct {
    go: "ProfileSpec",
    fields: &[
        field("ingress", "Ingress", Omit::Zero, RULES),
        field("egress", "Egress", Omit::Zero, RULES),
        field("labelsToApply", "LabelsToApply", Omit::Zero, STRING_MAP),
    ],
};

const RULES: Type = objects!("v3.Rule", RULE);
const PROTOCOL: Type = ty("numorstring.Protocol", Shape::Uint8OrText);
/// `numorstring.Port`: a number, a range as a text, or a name.
const PORTS: Type = Type {
    go: "[]numorstring.Port",
    shape: Shape::List(&Type { go: "numorstring.Port", shape: Shape::Any }),
};

static RULE: Struct = Struct {
    go: "Rule",
    fields: &[
        field("action", "Action", Omit::Never, text("v3.Action")),
        field("ipVersion", "IPVersion", Omit::Absent, INT),
        field("protocol", "Protocol", Omit::Absent, PROTOCOL),
        field("icmp", "ICMP", Omit::Absent, object("v3.ICMPFields", &ICMP)),
        field("notProtocol", "NotProtocol", Omit::Absent, PROTOCOL),
        field("notICMP", "NotICMP", Omit::Absent, object("v3.ICMPFields", &ICMP)),
        field("source", "Source", Omit::Zero, object("v3.EntityRule", &ENTITY)),
        field("destination", "Destination", Omit::Zero, object("v3.EntityRule", &ENTITY)),
        field("http", "HTTP", Omit::Absent, object("v3.HTTPMatch", &HTTP)),
        field("metadata", "Metadata", Omit::Absent, object("v3.RuleMetadata", &RULE_METADATA)),
    ],
};

static ICMP: Struct = Struct {
    go: "ICMPFields",
    fields: &[field("type", "Type", Omit::Absent, INT), field("code", "Code", Omit::Absent, INT)],
};

static ENTITY: Struct = Struct {
    go: "EntityRule",
    fields: &[
        field("nets", "Nets", Omit::Zero, STRINGS),
        field("selector", "Selector", Omit::Zero, STRING),
        field("namespaceSelector", "NamespaceSelector", Omit::Zero, STRING),
        field("services", "Services", Omit::Absent, object("v3.ServiceMatch", &SERVICES)),
        field("ports", "Ports", Omit::Zero, PORTS),
        field("notNets", "NotNets", Omit::Zero, STRINGS),
        field("notSelector", "NotSelector", Omit::Zero, STRING),
        field("notPorts", "NotPorts", Omit::Zero, PORTS),
        field(
            "serviceAccounts",
            "ServiceAccounts",
            Omit::Absent,
            object("v3.ServiceAccountMatch", &ACCOUNTS),
        ),
    ],
};

static SERVICES: Struct = Struct {
    go: "ServiceMatch",
    fields: &[field("name", "Name", Omit::Zero, STRING), field("namespace", "Namespace", Omit::Zero, STRING)],
};

static ACCOUNTS: Struct = Struct {
    go: "ServiceAccountMatch",
    fields: &[
        field("names", "Names", Omit::Zero, STRINGS),
        field("selector", "Selector", Omit::Zero, STRING),
    ],
};

static HTTP: Struct = Struct {
    go: "HTTPMatch",
    fields: &[
        field("methods", "Methods", Omit::Zero, STRINGS),
        field("paths", "Paths", Omit::Zero, objects!("v3.HTTPPath", HTTP_PATH)),
    ],
};

static HTTP_PATH: Struct = Struct {
    go: "HTTPPath",
    fields: &[field("exact", "Exact", Omit::Zero, STRING), field("prefix", "Prefix", Omit::Zero, STRING)],
};

static RULE_METADATA: Struct =
    Struct { go: "RuleMetadata", fields: &[field("annotations", "Annotations", Omit::Zero, STRING_MAP)] };

static COLUMNS: Columns = Columns { all: &[columns::NAME], default: &["NAME"], wide: &["NAME"] };

/// The rules of a Profile are not checked: only the CNI plugin writes Profiles here.
fn client(profile: &Document) -> Vec<FieldError> {
    let labels = profile.spec("labelsToApply").as_object();
    let faults = labels.into_iter().flatten().flat_map(|(key, _)| {
        let of = |reason| FieldError::of_value("LabelsToApply", key, reason);
        qualified_name(key).into_iter().map(of).collect::<Vec<_>>()
    });
    faults.collect()
}
