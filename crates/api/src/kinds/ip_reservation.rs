//! The kind IPReservation.

use super::definition::{Definition, Home, Role, Unreadable, custom_resource};
use crate::checks::FieldError;
use crate::checks::tags::{CIDR, fault, format_cidr, go_list, texts};
use crate::cidr::Cidr;
use crate::columns::{self, Columns, column};
use crate::document::Document;
use crate::schema::*;

pub(super) static DEFINITION: Definition = Definition {
    aliases: &["ipreservation", "ipreservations", "reservation", "reservations"],
    role: Role::Reservation,
    unreadable: Unreadable {
        whole: "it keeps no address back until it is deleted (calicoctl delete) and created anew",
        part: "that part keeps no address back until it is mended (calicoctl apply)",
    },
    client,
    crd,
    odd,
    ..Definition::new("v3.IPReservation", "ipreservations", HOME, &SCHEMA, &COLUMNS)
};

const HOME: Home = Home::Custom(custom_resource!("ipreservations"));

static SCHEMA: Struct = Struct {
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

static COLUMNS: Columns = Columns {
    all: &[columns::NAME, column("CIDRS", |r, _| columns::truncate(&columns::join(r, "reservedCIDRs"), 80))],
    default: &["NAME"],
    wide: &["NAME", "CIDRS"],
};

fn client(reservation: &Document) -> Vec<FieldError> {
    let cidrs = reservation.spec("reservedCIDRs");
    let (_, holds) = CIDR;
    match texts(cidrs).all(holds) {
        true => Vec::new(),
        false => vec![fault("ReservedCIDRs", &go_list(texts(cidrs)), "cidrs")],
    }
}

fn odd(reservation: &Document) -> Vec<FieldError> {
    let texts = texts(reservation.spec("reservedCIDRs")).enumerate();
    let odd = texts.filter_map(|(i, text)| {
        let (network, typed) = Cidr::parse_unmasked(text).ok()?;
        let reason = format!("reserves all of {network}");
        let field = format!("spec.reservedCIDRs[{i}]");
        (network.first() != typed).then(|| FieldError::of_value(field, text, reason))
    });
    odd.collect()
}

fn crd(reservation: &Document) -> Vec<FieldError> {
    let mut faults = Vec::new();
    for (i, cidr) in reservation.spec("reservedCIDRs").as_array().into_iter().flatten().enumerate() {
        format_cidr(&mut faults, &format!("spec.reservedCIDRs[{i}]"), cidr);
    }
    faults
}
