//! ClusterInformation and Tier.

use super::*;

pub(crate) static CLUSTER_INFORMATION: Struct = Struct {
    go: "ClusterInformation",
    fields: &[
        KIND,
        API_VERSION,
        METADATA,
        field("spec", "Spec", Omit::Never, object("v3.ClusterInformationSpec", &CLUSTER_INFORMATION_SPEC)),
    ],
};

static CLUSTER_INFORMATION_SPEC: Struct = Struct {
    go: "ClusterInformationSpec",
    fields: &[
        field("clusterGUID", "ClusterGUID", Omit::Zero, STRING),
        field("clusterType", "ClusterType", Omit::Zero, STRING),
        field("calicoVersion", "CalicoVersion", Omit::Zero, STRING),
        field("datastoreReady", "DatastoreReady", Omit::Absent, BOOL),
        field("variant", "Variant", Omit::Zero, STRING),
    ],
};

pub(crate) static TIER: Struct = Struct {
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
