//! IPReservation and IPAMConfiguration.

use super::tags::{CIDR, fault, format_cidr, in_range, one_of};
use super::{FieldError, go_list, spec, texts};
use crate::resource::Resource;

pub(super) fn reservation_client(reservation: &Resource) -> Vec<FieldError> {
    let cidrs = spec(reservation, "reservedCIDRs");
    let (_, holds) = CIDR;
    match texts(cidrs).all(holds) {
        true => Vec::new(),
        false => vec![fault("ReservedCIDRs", &go_list(texts(cidrs)), "cidrs")],
    }
}

pub(super) fn reservation_schema(reservation: &Resource) -> Vec<FieldError> {
    let mut faults = Vec::new();
    for (i, cidr) in spec(reservation, "reservedCIDRs").as_array().into_iter().flatten().enumerate() {
        format_cidr(&mut faults, &format!("spec.reservedCIDRs[{i}]"), cidr);
    }
    faults
}

pub(super) fn configuration_client(configuration: &Resource) -> Vec<FieldError> {
    match spec(configuration, "maxBlocksPerHost").as_i64() {
        Some(n) if n < 0 => {
            let reason = "must be greater than or equal to 0";
            vec![FieldError::of_value("MaxBlocksPerHost", n.to_string(), reason)]
        }
        _ => Vec::new(),
    }
}

pub(super) fn configuration_schema(configuration: &Resource) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let value = |field: &str| spec(configuration, field);
    in_range(&mut faults, "spec.maxBlocksPerHost", value("maxBlocksPerHost"), 0, 1_000_000);
    let persistence = value("kubeVirtVMAddressPersistence");
    one_of(&mut faults, "spec.kubeVirtVMAddressPersistence", persistence, &["Enabled", "Disabled"]);
    in_range(&mut faults, "spec.ipCooldownSeconds", value("ipCooldownSeconds"), 0, 1200);
    faults
}
