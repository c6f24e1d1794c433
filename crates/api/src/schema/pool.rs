//! What the allocator is configured with: pools, reservations, its own settings.

use super::*;

pub(crate) static IP_POOL: Struct = Struct {
    go: "IPPool",
    fields: &[
        KIND,
        API_VERSION,
        METADATA,
        field("spec", "Spec", Omit::Never, object("v3.IPPoolSpec", &IP_POOL_SPEC)),
        field("status", "Status", Omit::Absent, object("v3.IPPoolStatus", &IP_POOL_STATUS)),
    ],
};

static IP_POOL_SPEC: Struct = Struct {
    go: "IPPoolSpec",
    fields: &[
        field("cidr", "CIDR", Omit::Never, STRING),
        field("vxlanMode", "VXLANMode", Omit::Zero, text("v3.VXLANMode")),
        field("ipipMode", "IPIPMode", Omit::Zero, text("v3.IPIPMode")),
        field("natOutgoing", "NATOutgoing", Omit::Zero, BOOL),
        field("disabled", "Disabled", Omit::Zero, BOOL),
        field("disableBGPExport", "DisableBGPExport", Omit::Zero, BOOL),
        field("blockSize", "BlockSize", Omit::Zero, INT),
        field("nodeSelector", "NodeSelector", Omit::Zero, STRING),
        field("namespaceSelector", "NamespaceSelector", Omit::Zero, STRING),
        field("allowedUses", "AllowedUses", Omit::Zero, ALLOWED_USES),
        field("assignmentMode", "AssignmentMode", Omit::Absent, text("v3.AssignmentMode")),
    ],
};

const ALLOWED_USES: Type = Type {
    go: "[]v3.IPPoolAllowedUse",
    shape: Shape::List(&Type { go: "v3.IPPoolAllowedUse", shape: Shape::Text }),
};

static IP_POOL_STATUS: Struct =
    Struct { go: "IPPoolStatus", fields: &[field("conditions", "Conditions", Omit::Zero, CONDITIONS)] };

pub(crate) static IP_RESERVATION: Struct = Struct {
    go: "IPReservation",
    fields: &[
        KIND,
        API_VERSION,
        METADATA,
        field("spec", "Spec", Omit::Never, object("v3.IPReservationSpec", &IP_RESERVATION_SPEC)),
    ],
};

static IP_RESERVATION_SPEC: Struct = Struct {
    go: "IPReservationSpec",
    fields: &[field("reservedCIDRs", "ReservedCIDRs", Omit::Zero, STRINGS)],
};

pub(crate) static IPAM_CONFIGURATION: Struct = Struct {
    go: "IPAMConfiguration",
    fields: &[
        KIND,
        API_VERSION,
        METADATA,
        field("spec", "Spec", Omit::Never, object("v3.IPAMConfigurationSpec", &IPAM_CONFIGURATION_SPEC)),
    ],
};

/// `autoAllocateBlocks` left out means true here, as the allocator itself assumes without a configuration. Calico stores false, and then no
/// node can claim a block.
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
