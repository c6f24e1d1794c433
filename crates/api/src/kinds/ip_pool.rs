//! IPPool (`validateIPPoolSpec`, `clientv3/ippool.go`, the CRD's rules).

use serde_json::{Value as Json, json};

use super::definition::{Definition, Home, Role, Stage, Unreadable, custom_resource};
use crate::checks::tags::{
    NET, SELECTOR, check, cidr_or_ip, format_cidr, go_list, in_range, max_length, one_of, texts,
};
use crate::checks::{FieldError, ValidationError, result};
use crate::cidr::{self, Cidr, Family};
use crate::columns::{self, Columns, column};
use crate::document::{Document, fill};
use crate::pool::default_block_size;
use crate::schema::*;
use golang::netip;
use golang::strconv::quote;

pub(super) static DEFINITION: Definition = Definition {
    aliases: &["ippool", "ippools", "ipp", "ipps", "pool", "pools"],
    role: Role::Pool,
    stage: Stage::Pools,
    unreadable: Unreadable {
        whole: "no address comes from it until it is deleted (calicoctl delete) and created anew",
        part: "no address comes from it until it is mended (calicoctl apply)",
    },
    on_write: |pool| fill_in(pool, true),
    on_read: Some(|pool| fill_in(pool, false)),
    keep,
    before_write,
    client,
    crd,
    ..Definition::new("v3.IPPool", "ippools", HOME, &SCHEMA, &COLUMNS)
};

const HOME: Home = Home::Custom(custom_resource!("ippools"));

static SCHEMA: Struct = Struct {
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

static COLUMNS: Columns = Columns {
    all: &[
        columns::NAME,
        column("CIDR", |r, _| columns::text(r, &["spec", "cidr"])),
        column("NAT", |r, _| columns::flag(r, "natOutgoing")),
        column("IPIPMODE", |r, _| columns::text(r, &["spec", "ipipMode"])),
        column("VXLANMODE", |r, _| columns::text(r, &["spec", "vxlanMode"])),
        column("DISABLED", |r, _| columns::flag(r, "disabled")),
        column("DISABLEBGPEXPORT", |r, _| columns::flag(r, "disableBGPExport")),
        column("SELECTOR", |r, _| columns::text(r, &["spec", "nodeSelector"])),
        column("ASSIGNMENTMODE", |r, _| columns::text(r, &["spec", "assignmentMode"])),
    ],
    default: &["NAME", "CIDR", "SELECTOR"],
    wide: &[
        "NAME",
        "CIDR",
        "NAT",
        "IPIPMODE",
        "VXLANMODE",
        "DISABLED",
        "DISABLEBGPEXPORT",
        "SELECTOR",
        "ASSIGNMENTMODE",
    ],
};

const CIDR: &str = "IPPool.Spec.CIDR";
const USES: [&str; 3] = ["Workload", "Tunnel", "LoadBalancer"];
const MODES: [&str; 3] = ["Never", "Always", "CrossSubnet"];
const TOO_SMALL: &str =
    "IP pool size is too small for use with Calico IPAM. It must be equal to or greater than the block size.";

const SIZES: &str =
    "blockSize must be between 20 and 32 for IPv4 pools, and between 116 and 128 for IPv6 pools";

/// Says how many addresses the pool and its blocks have, and which block size would do.
fn too_small(cidr: &Cidr, block_size: i64) -> String {
    let default = i64::from(default_block_size(cidr.family()));
    let block_size = if block_size == 0 { default } else { block_size };
    let count = |prefix: i64| 1u128 << (i64::from(cidr.family().bits()) - prefix).clamp(0, 127);
    let prefix = i64::from(cidr.prefix());
    format!(
        "{cidr} has {} address(es), and a block of blockSize {block_size} has {}: a blockSize of {prefix} to {} would do",
        count(prefix),
        count(block_size),
        cidr.family().bits()
    )
}

fn sizes_help(cidr: &Cidr, block_size: i64) -> String {
    let bits = i64::from(cidr.family().bits());
    let (from, to) = (bits - 12, bits);
    format!(
        "blockSize is {block_size}; in {cidr} write {from} (4096 addresses a block) to {to} (one address); the default is {}",
        default_block_size(cidr.family())
    )
}

/// The fault of a new pool that overlaps with another; `other_cidr` is the other's as it is stored. Callers
/// leave out a pool of the same name.
pub fn overlap(new: &str, cidr: &Cidr, other: &str, other_cidr: &str) -> FieldError {
    let reason = format!("IPPool({new}) CIDR overlaps with IPPool({other}) CIDR {other_cidr}");
    FieldError::of_value(CIDR, cidr.to_string(), reason).with_help(format!(
        "take a network outside of {other_cidr}; or delete {other} first (calicoctl delete ippool {other}), or split it (calicoctl ipam split)"
    ))
}

/// The fault of a new pool whose network already holds blocks of another size.
pub fn block_size_conflict(block_size: u8) -> FieldError {
    let reason = "IPPool blocksSize conflicts with existing allocations that use a different blockSize";
    FieldError::of_value("IPPool.Spec.BlockSize", block_size.to_string(), reason)
}

/// Fills in defaults. With `canonical`, also writes the network in its canonical form, as it is stored.
fn fill_in(pool: &mut Document, canonical: bool) {
    let cidr = pool.text(&["spec", "cidr"]).and_then(|text| text.parse::<Cidr>().ok());
    let spec = pool.spec_mut();
    if let Some(cidr) = cidr {
        if canonical {
            spec.insert("cidr".into(), cidr.to_string().into());
        }
        fill(spec, "blockSize", || default_block_size(cidr.family()).into());
    }
    fill(spec, "ipipMode", || "Never".into());
    fill(spec, "vxlanMode", || "Never".into());
    fill(spec, "nodeSelector", || "all()".into());
    fill(spec, "allowedUses", || json!(["Workload", "Tunnel"]));
    if !spec.contains_key("assignmentMode") || spec["assignmentMode"].is_null() {
        spec.insert("assignmentMode".into(), "Automatic".into());
    }
}

/// The checks before defaults are applied.
fn before_write(
    new: &Document,
    old: Option<&Document>,
    overlaps: Vec<FieldError>,
) -> Result<(), ValidationError> {
    let text = new.text(&["spec", "cidr"]).unwrap_or_default();
    if text.is_empty() {
        return Err(FieldError::new(CIDR, "IPPool CIDR must be specified").into());
    }
    let Ok((cidr, typed)) = Cidr::parse_unmasked(text) else {
        let fault = FieldError::of_value(CIDR, text, "IPPool CIDR must be a valid subnet");
        let help = "write a network with its prefix length, such as 10.0.0.0/16 or fd00:10::/64";
        return Err(fault.with_help(help).into());
    };
    let mut faults = Vec::new();
    if let Some(old) = old {
        faults = unchanged(new, old, &cidr)?;
    }
    faults.extend(overlaps);
    if cidr.first() != typed {
        faults.push(FieldError::of_value(CIDR, text, host_bits(&cidr, typed)));
    }
    result(faults)
}

/// Puts in what cannot change and is not mentioned: the stored block size; and the stored uses, where they
/// are for services.
fn keep(new: &mut Document, old: &Document) {
    if !matches!(old.spec("blockSize"), Json::Null) {
        let stored = old.spec("blockSize").clone();
        fill(new.spec_mut(), "blockSize", || stored);
    }
    if texts(old.spec("allowedUses")).any(|word| word == "LoadBalancer") {
        let stored = old.spec("allowedUses").clone();
        fill(new.spec_mut(), "allowedUses", || stored);
    }
}

fn unchanged(new: &Document, old: &Document, cidr: &Cidr) -> Result<Vec<FieldError>, ValidationError> {
    let mut faults = Vec::new();
    // The same network in another spelling is no change: it is stored in canonical form.
    if old.text(&["spec", "cidr"]).and_then(|text| text.parse::<Cidr>().ok()) != Some(*cidr) {
        let stored = old.text(&["spec", "cidr"]).unwrap_or_default();
        faults.push(
            FieldError::of_value(CIDR, cidr.to_string(), "IPPool CIDR cannot be modified").with_help(
                format!(
                    "the pool has {stored}; for another network create another pool, and disable this one"
                ),
            ),
        );
    }
    let mut new = new.clone();
    fill_in(&mut new, true);
    let old_uses_services = texts(old.spec("allowedUses")).any(|word| word == "LoadBalancer");
    if old_uses_services && texts(new.spec("allowedUses")).any(|word| word != "LoadBalancer") {
        // The misspelling is Calico's.
        let reason = "IPPool allowed use cannot be changed from LoadBalacer to Workload or Tunnel";
        let value = go_list(texts(new.spec("allowedUses")));
        return Err(FieldError::of_value("IPPool.Spec.AllowedUses", value, reason).into());
    }
    let block_size = |pool: &Document| pool.spec("blockSize").as_i64().filter(|n| *n != 0);
    let default = i64::from(default_block_size(cidr.family()));
    let size = block_size(&new).unwrap_or(default);
    if block_size(old).unwrap_or(default) != size {
        let reason = "IPPool BlockSize cannot be modified";
        let stored = block_size(old).unwrap_or(default);
        let fault = FieldError::of_value("IPPool.Spec.BlockSize", size.to_string(), reason);
        faults.push(fault.with_help(format!(
            "the pool has {stored}; for other blocks delete the pool and create it anew, or leave blockSize out to keep {stored}"
        )));
    }
    Ok(faults)
}

/// Says which network a CIDR with host bits lies in, and which networks were perhaps meant. (Calico shows the
/// masked network as the value, as if that one were wrong.)
fn host_bits(cidr: &Cidr, typed: std::net::IpAddr) -> String {
    let bits = cidr.family().bits();
    let zeros = cidr::number(typed).trailing_zeros().min(u32::from(bits)) as u8;
    let starts_here = bits - zeros;
    let mut text = format!(
        "IPPool CIDR is not strictly masked: {typed}/{} is not the start of a /{}, it lies in {cidr}; use {cidr}",
        cidr.prefix(),
        cidr.prefix()
    );
    if starts_here <= default_block_size(cidr.family()) {
        text.push_str(&format!(", or {typed}/{starts_here}, which starts at {typed}"));
    }
    text
}

fn client(pool: &Document) -> Vec<FieldError> {
    let mut faults = Vec::new();
    check(&mut faults, "CIDR", pool.spec("cidr"), NET);
    check(&mut faults, "NodeSelector", pool.spec("nodeSelector"), SELECTOR);
    check(&mut faults, "NamespaceSelector", pool.spec("namespaceSelector"), SELECTOR);
    let text = pool.spec("cidr").as_str().unwrap_or_default();
    let mut wrong =
        |value: &str, reason: &str| faults.push(FieldError::of_value("IPpool.CIDR", value, reason));
    match cidr_or_ip(text) {
        _ if text.is_empty() => wrong("", "IPPool CIDR must be specified"),
        None => wrong(text, "IPPool CIDR must be a valid subnet"),
        Some((cidr, addr)) if cidr.first() != addr => wrong(text, "IP pool CIDR is not strictly masked"),
        Some(_) => {}
    }
    let uses = pool.spec("allowedUses");
    for word in texts(uses).filter(|word| !USES.contains(word)) {
        let reason = format!("unknown use: {word}");
        faults.push(FieldError::of_value("IPpool.AllowedUses", go_list(texts(uses)), reason));
    }
    faults
}

fn crd(pool: &Document) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let empty = Json::String(String::new());
    let cidr = pool.field(&["spec", "cidr"]).unwrap_or(&empty);
    format_cidr(&mut faults, "spec.cidr", cidr);
    one_of(&mut faults, "spec.vxlanMode", pool.spec("vxlanMode"), &MODES);
    one_of(&mut faults, "spec.ipipMode", pool.spec("ipipMode"), &MODES);
    in_range(&mut faults, "spec.blockSize", pool.spec("blockSize"), 0, 128);
    max_length(&mut faults, "spec.nodeSelector", pool.spec("nodeSelector"), 1024);
    max_length(&mut faults, "spec.namespaceSelector", pool.spec("namespaceSelector"), 1024);
    let uses = pool.spec("allowedUses").as_array().map(Vec::as_slice).unwrap_or_default();
    if uses.len() > 10 {
        faults.push(FieldError::new("spec.allowedUses", "must have at most 10 items"));
    }
    for (i, word) in uses.iter().enumerate() {
        one_of(&mut faults, &format!("spec.allowedUses[{i}]"), word, &USES);
    }
    one_of(&mut faults, "spec.assignmentMode", pool.spec("assignmentMode"), &["Automatic", "Manual"]);
    faults.extend(expressions(pool, cidr.as_str().unwrap_or_default()));
    faults
}

/// The expressions of the CRD on `spec`, in its order.
fn expressions(pool: &Document, text: &str) -> Vec<FieldError> {
    let cidr = network(text);
    let enabled = |field: &str| pool.spec(field).as_str().is_some_and(|mode| !matches!(mode, "" | "Never"));
    let (ipip, vxlan) = (enabled("ipipMode"), enabled("vxlanMode"));
    let uses = |word: &str| texts(pool.spec("allowedUses")).any(|w| w == word);
    let flag = |field: &str| pool.spec(field).as_bool().unwrap_or(false);
    let selector = |field: &str| pool.spec(field).as_str().unwrap_or_default();
    let services = uses("LoadBalancer");
    let block_size = pool.spec("blockSize").as_i64().unwrap_or(0);
    // The result of a rule: it holds, it does not, or it cannot be evaluated because the network cannot be
    // read.
    let of_network = |skip: bool, holds: &dyn Fn(&Cidr) -> bool| match &cidr {
        _ if skip => Ok(true),
        Ok(cidr) => Ok(holds(cidr)),
        Err(error) => Err(error.clone()),
    };
    let local = |text: &str| text.parse::<Cidr>().ok();
    let outside = |range: Option<Cidr>| move |cidr: &Cidr| !range.is_some_and(|range| range.overlaps(cidr));
    let sizes = |cidr: &Cidr| match cidr.family() {
        Family::V4 => (20..=32).contains(&block_size),
        Family::V6 => (116..=128).contains(&block_size),
    };
    let fits = |cidr: &Cidr| {
        let size = if block_size == 0 { i64::from(default_block_size(cidr.family())) } else { block_size };
        i64::from(cidr.prefix()) <= size
    };
    let masked = |_: &Cidr| Cidr::parse_unmasked(text).is_ok_and(|(cidr, typed)| cidr.first() == typed);
    let rules: [(Result<bool, String>, &str); 14] = [
        (Ok(!(ipip && vxlan)), "ipipMode and vxlanMode cannot both be enabled"),
        (Ok(!(services && (ipip || vxlan))), "LoadBalancer IP pool cannot have IPIP or VXLAN enabled"),
        (
            Ok(!(services && (uses("Workload") || uses("Tunnel")))),
            "LoadBalancer cannot be combined with Workload or Tunnel allowed uses",
        ),
        (of_network(!ipip, &|cidr| cidr.family() == Family::V4), "IPIP is not supported on IPv6 pools"),
        (Ok(!(services && flag("disableBGPExport"))), "LoadBalancer IP pools cannot disable BGP export"),
        (
            Ok(!services || matches!(selector("nodeSelector"), "" | "all()")),
            "IP Pool with AllowedUse LoadBalancer must have nodeSelector set to all()",
        ),
        (
            Ok(!uses("Tunnel") || selector("namespaceSelector").is_empty()),
            "IP Pool with AllowedUse Tunnel cannot have namespaceSelector",
        ),
        (
            Ok(!selector("nodeSelector").contains("global(")),
            "global() selector is not valid for IPPool nodeSelector",
        ),
        (
            Ok(!selector("namespaceSelector").contains("global(")),
            "global() selector is not valid for IPPool namespaceSelector",
        ),
        (of_network(false, &masked), "IPPool CIDR must be strictly masked"),
        (
            of_network(false, &outside(local("169.254.0.0/16"))),
            "IPPool CIDR overlaps with IPv4 link local range 169.254.0.0/16",
        ),
        (
            of_network(false, &outside(local("fe80::/10"))),
            "IPPool CIDR overlaps with IPv6 link local range fe80::/10",
        ),
        (of_network(block_size == 0, &sizes), SIZES),
        (of_network(flag("disabled"), &fits), TOO_SMALL),
    ];
    let broken = rules.into_iter().filter_map(|(outcome, message)| match outcome {
        Ok(true) => None,
        Ok(false) => {
            let fault = FieldError::new("spec", message);
            Some(match (message, &cidr) {
                (TOO_SMALL, Ok(cidr)) if block_size == 0 || sizes(cidr) => {
                    fault.with_help(too_small(cidr, block_size))
                }
                (SIZES, Ok(cidr)) => fault.with_help(sizes_help(cidr, block_size)),
                _ => fault,
            })
        }
        Err(error) => Some(FieldError::new("spec", format!("{error} evaluating rule: {message}"))),
    });
    broken.collect()
}

/// The network as the CRD's expressions read it, which is stricter than Go's `net.ParseCIDR`.
fn network(text: &str) -> Result<Cidr, String> {
    const PREFIX: &str = "network address parse error during conversion from string: ";
    netip::check_prefix(text).map_err(|error| format!("{PREFIX}{PREFIX}{error}"))?;
    let mapped =
        text.contains(':') && Cidr::parse_unmasked(text).is_ok_and(|(c, _)| c.family() == Family::V4);
    if mapped {
        return Err(format!("{PREFIX}IPv4-mapped IPv6 address {} is not allowed", quote(text)));
    }
    text.parse().map_err(|error| format!("{PREFIX}{error}"))
}
