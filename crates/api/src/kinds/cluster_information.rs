//! The kind ClusterInformation.

use super::definition::{Definition, Home, Stage, Unreadable, custom_resource, only_default};
use crate::capability::{Backend, Operation, OperationRefusal};
use crate::columns::{self, Columns, column};
use crate::schema::*;

const UNREADABLE: &str = "whether the datastore may be used is not known until it is mended";

pub(super) static DEFINITION: Definition = Definition {
    aliases: &["clusterinformation", "clusterinformations", "clusterinfo", "clusterinfos"],
    stage: Stage::Cluster,
    unreadable: Unreadable { whole: UNREADABLE, part: UNREADABLE },
    refusal,
    on_create: |information| only_default(information, "a Cluster Information"),
    ..Definition::new("v3.ClusterInformation", "clusterinformations", HOME, &SCHEMA, &COLUMNS)
};

/// Which operations are refused, as recorded in 082-clusterinformation.
fn refusal(_: Backend, operation: Operation) -> Option<OperationRefusal> {
    let (operation, reason) = match operation {
        Operation::Create => ("create or apply", ""),
        Operation::Apply => ("apply", "resource is readonly"),
        Operation::Update => ("apply or replace", ""),
        Operation::Delete => ("delete", ""),
        Operation::Get | Operation::List | Operation::Watch => return None,
    };
    Some(OperationRefusal { operation, names_object: false, reason })
}

const HOME: Home = Home::Custom(custom_resource!("clusterinformations"));

static SCHEMA: Struct = Struct {
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

static COLUMNS: Columns = Columns {
    all: &[
        columns::NAME,
        column("CLUSTERGUID", |r, _| columns::text(r, &["spec", "clusterGUID"])),
        column("CLUSTERTYPE", |r, _| columns::text(r, &["spec", "clusterType"])),
        column("CALICOVERSION", |r, _| columns::text(r, &["spec", "calicoVersion"])),
        column("DATASTOREREADY", |r, _| columns::nilable(r.field(&["spec", "datastoreReady"]))),
    ],
    default: &["NAME", "CLUSTERGUID", "CLUSTERTYPE", "CALICOVERSION", "DATASTOREREADY"],
    wide: &["NAME", "CLUSTERGUID", "CLUSTERTYPE", "CALICOVERSION", "DATASTOREREADY"],
};
