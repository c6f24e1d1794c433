//! The kind IPAMConfiguration.

use super::definition::{CustomResource, Definition, Home, NamesInV1, Role, only_default};
use crate::checks::FieldError;
use crate::checks::tags::{in_range, one_of};
use crate::columns::{self, Columns, column};
use crate::document::Document;
use crate::schema::*;

pub(super) static DEFINITION: Definition = Definition {
    aliases: &["ipamconfiguration", "ipamconfigurations", "ipamconfig", "ipamconfigs"],
    role: Role::Configuration,
    client,
    crd,
    on_create: |configuration| only_default(configuration, "an IPAMConfiguration"),
    ..Definition::new("v3.IPAMConfiguration", "ipamconfigurations", HOME, &SCHEMA, &COLUMNS)
};

const HOME: Home = Home::Custom(CustomResource {
    names_in_v1: Some(NamesInV1 { kind: "IPAMConfig", plural: "ipamconfigs" }),
    v1: include_str!("../../../../deploy/crds/v1/ipamconfigs.yaml"),
    v3: include_str!("../../../../deploy/crds/v3/ipamconfigurations.yaml"),
});

static SCHEMA: Struct = Struct {
    go: "IPAMConfiguration",
    fields: &[
        KIND,
        API_VERSION,
        METADATA,
        field("spec", "Spec", Omit::Never, object("v3.IPAMConfigurationSpec", &IPAM_CONFIGURATION_SPEC)),
    ],
};

/// `autoAllocateBlocks` left out means true here, as the allocator itself assumes without a configuration.
/// Calico stores false, and then no node can claim a block.
static IPAM_CONFIGURATION_SPEC: Struct = Struct {
    go: "IPAMConfigurationSpec",
    fields: &[
        field("strictAffinity", "StrictAffinity", Omit::Never, BOOL),
        field("maxBlocksPerHost", "MaxBlocksPerHost", Omit::Zero, INT32),
        field("autoAllocateBlocks", "AutoAllocateBlocks", Omit::NeverTrue, BOOL),
        field(
            "kubeVirtVMAddressPersistence",
            "KubeVirtVMAddressPersistence",
            Omit::Absent,
            text("v3.VMAddressPersistence"),
        ),
        field("ipCooldownSeconds", "IPCooldownSeconds", Omit::Zero, INT32),
    ],
};

static COLUMNS: Columns = Columns {
    all: &[
        columns::NAME,
        column("STRICTAFFINITY", |r, _| columns::flag(r, "strictAffinity")),
        column("AUTOALLOCATEBLOCKS", |r, _| columns::flag(r, "autoAllocateBlocks")),
        column("MAXBLOCKSPERHOST", |r, _| {
            columns::number(r, "maxBlocksPerHost").unwrap_or_else(|| "0".into())
        }),
    ],
    default: &["NAME", "STRICTAFFINITY", "AUTOALLOCATEBLOCKS"],
    wide: &["NAME", "STRICTAFFINITY", "AUTOALLOCATEBLOCKS", "MAXBLOCKSPERHOST"],
};

fn client(configuration: &Document) -> Vec<FieldError> {
    match configuration.spec("maxBlocksPerHost").as_i64() {
        Some(n) if n < 0 => {
            let reason = "must be greater than or equal to 0";
            vec![FieldError::of_value("MaxBlocksPerHost", n.to_string(), reason)]
        }
        _ => Vec::new(),
    }
}

fn crd(configuration: &Document) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let value = |field: &str| configuration.spec(field);
    in_range(&mut faults, "spec.maxBlocksPerHost", value("maxBlocksPerHost"), 0, 1_000_000);
    let persistence = value("kubeVirtVMAddressPersistence");
    one_of(&mut faults, "spec.kubeVirtVMAddressPersistence", persistence, &["Enabled", "Disabled"]);
    in_range(&mut faults, "spec.ipCooldownSeconds", value("ipCooldownSeconds"), 0, 1200);
    faults
}
