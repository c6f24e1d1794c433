//! `ObjectMeta`, `ListMeta` and what they hold.

use super::*;

/// The metadata of every object.
pub static OBJECT_META: Struct = Struct {
    go: "ObjectMeta",
    fields: &[
        field("name", "Name", Omit::Zero, STRING),
        field("generateName", "GenerateName", Omit::Zero, STRING),
        field("namespace", "Namespace", Omit::Zero, STRING),
        field("selfLink", "SelfLink", Omit::Zero, STRING),
        field("uid", "UID", Omit::Zero, text("types.UID")),
        field("resourceVersion", "ResourceVersion", Omit::Zero, STRING),
        field("generation", "Generation", Omit::Zero, INT64),
        field("creationTimestamp", "CreationTimestamp", Omit::Zero, TIME),
        field("deletionTimestamp", "DeletionTimestamp", Omit::Absent, TIME),
        field("deletionGracePeriodSeconds", "DeletionGracePeriodSeconds", Omit::Absent, INT64),
        field("labels", "Labels", Omit::Zero, STRING_MAP),
        field("annotations", "Annotations", Omit::Zero, STRING_MAP),
        field("ownerReferences", "OwnerReferences", Omit::Zero, OWNER_REFERENCES),
        field("finalizers", "Finalizers", Omit::Zero, STRINGS),
        field("managedFields", "ManagedFields", Omit::Zero, MANAGED_FIELDS),
    ],
};

/// The metadata of a list.
pub static LIST_META: Struct = Struct {
    go: "ListMeta",
    fields: &[
        field("selfLink", "SelfLink", Omit::Zero, STRING),
        field("resourceVersion", "ResourceVersion", Omit::Zero, STRING),
        field("continue", "Continue", Omit::Zero, STRING),
        field("remainingItemCount", "RemainingItemCount", Omit::Absent, INT64),
    ],
};

const OWNER_REFERENCES: Type = objects!("v1.OwnerReference", OWNER_REFERENCE);
const MANAGED_FIELDS: Type = objects!("v1.ManagedFieldsEntry", MANAGED_FIELDS_ENTRY);

static OWNER_REFERENCE: Struct = Struct {
    go: "OwnerReference",
    fields: &[
        field("apiVersion", "APIVersion", Omit::Never, STRING),
        field("kind", "Kind", Omit::Never, STRING),
        field("name", "Name", Omit::Never, STRING),
        field("uid", "UID", Omit::Never, text("types.UID")),
        field("controller", "Controller", Omit::Absent, BOOL),
        field("blockOwnerDeletion", "BlockOwnerDeletion", Omit::Absent, BOOL),
    ],
};

static MANAGED_FIELDS_ENTRY: Struct = Struct {
    go: "ManagedFieldsEntry",
    fields: &[
        field("manager", "Manager", Omit::Zero, STRING),
        field("operation", "Operation", Omit::Zero, text("v1.ManagedFieldsOperationType")),
        field("apiVersion", "APIVersion", Omit::Zero, STRING),
        field("time", "Time", Omit::Absent, TIME),
        field("fieldsType", "FieldsType", Omit::Zero, STRING),
        field("fieldsV1", "FieldsV1", Omit::Absent, ty("v1.FieldsV1", Shape::Any)),
        field("subresource", "Subresource", Omit::Zero, STRING),
    ],
};

pub(super) static CONDITION: Struct = Struct {
    go: "Condition",
    fields: &[
        field("type", "Type", Omit::Never, STRING),
        field("status", "Status", Omit::Never, text("v1.ConditionStatus")),
        field("observedGeneration", "ObservedGeneration", Omit::Zero, INT64),
        field("lastTransitionTime", "LastTransitionTime", Omit::Never, TIME),
        field("reason", "Reason", Omit::Never, STRING),
        field("message", "Message", Omit::Never, STRING),
    ],
};
