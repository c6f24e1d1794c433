//! IPPool (`validateIPPoolSpec`, `clientv3/ippool.go`, the CRD's rules).

use serde_json::Value as Json;

use super::tags::{NET, SELECTOR, check, cidr_or_ip, format_cidr, in_range, max_length, one_of};
use super::{FieldError, ValidationError, go_list, result, spec, texts};
use crate::cidr::{Cidr, Family};
use crate::defaults;
use crate::netip;
use crate::pool::default_block_size;
use crate::resource::Resource;

const CIDR: &str = "IPPool.Spec.CIDR";
const USES: [&str; 3] = ["Workload", "Tunnel", "LoadBalancer"];
const MODES: [&str; 3] = ["Never", "Always", "CrossSubnet"];
const TOO_SMALL: &str =
    "IP pool size is too small for use with Calico IPAM. It must be equal to or greater than the block size.";

/// The fault of a new pool that overlaps with `other`, whose CIDR is told as it is stored. Of a pool that has the same name nothing is said.
pub fn overlap(new: &str, cidr: &Cidr, other: &str, other_cidr: &str) -> FieldError {
    let reason = format!("IPPool({new}) CIDR overlaps with IPPool({other}) CIDR {other_cidr}");
    FieldError::of_value(CIDR, cidr.to_string(), reason)
}

/// The fault of a new pool in whose network there are blocks of another size.
pub fn block_size_conflict(block_size: u8) -> FieldError {
    let reason = "IPPool blocksSize conflicts with existing allocations that use a different blockSize";
    FieldError::of_value("IPPool.Spec.BlockSize", block_size.to_string(), reason)
}

/// What is checked before defaults are applied.
pub(super) fn before_write(
    new: &Resource,
    old: Option<&Resource>,
    overlaps: Vec<FieldError>,
) -> Result<(), ValidationError> {
    let text = new.text(&["spec", "cidr"]).unwrap_or_default();
    if text.is_empty() {
        return Err(FieldError::new(CIDR, "IPPool CIDR must be specified").into());
    }
    let Ok((cidr, typed)) = Cidr::parse_unmasked(text) else {
        return Err(FieldError::of_value(CIDR, text, "IPPool CIDR must be a valid subnet").into());
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

fn unchanged(new: &Resource, old: &Resource, cidr: &Cidr) -> Result<Vec<FieldError>, ValidationError> {
    let mut faults = Vec::new();
    // The same network in another spelling is fine: it is written in canonical form.
    if old.text(&["spec", "cidr"]).and_then(|text| text.parse::<Cidr>().ok()) != Some(*cidr) {
        faults.push(FieldError::of_value(CIDR, cidr.to_string(), "IPPool CIDR cannot be modified"));
    }
    let new = defaults::on_write(new);
    let old_uses_services = texts(spec(old, "allowedUses")).any(|word| word == "LoadBalancer");
    if old_uses_services && texts(spec(&new, "allowedUses")).any(|word| word != "LoadBalancer") {
        // Sic.
        let reason = "IPPool allowed use cannot be changed from LoadBalacer to Workload or Tunnel";
        let value = go_list(texts(spec(&new, "allowedUses")));
        return Err(FieldError::of_value("IPPool.Spec.AllowedUses", value, reason).into());
    }
    let block_size = |pool: &Resource| spec(pool, "blockSize").as_i64().filter(|n| *n != 0);
    let default = i64::from(default_block_size(cidr.family()));
    let size = block_size(&new).unwrap_or(default);
    if block_size(old).unwrap_or(default) != size {
        let reason = "IPPool BlockSize cannot be modified";
        faults.push(FieldError::of_value("IPPool.Spec.BlockSize", size.to_string(), reason));
    }
    Ok(faults)
}

/// What a network with host bits means, and what was perhaps meant. (Calico shows the masked network as the value, as if that were wrong.)
fn host_bits(cidr: &Cidr, typed: std::net::IpAddr) -> String {
    let bits = cidr.family().bits();
    let zeros = crate::cidr::number(typed).trailing_zeros().min(u32::from(bits)) as u8;
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

pub(super) fn client(pool: &Resource) -> Vec<FieldError> {
    let mut faults = Vec::new();
    check(&mut faults, "CIDR", spec(pool, "cidr"), NET);
    check(&mut faults, "NodeSelector", spec(pool, "nodeSelector"), SELECTOR);
    check(&mut faults, "NamespaceSelector", spec(pool, "namespaceSelector"), SELECTOR);
    let text = spec(pool, "cidr").as_str().unwrap_or_default();
    let mut wrong =
        |value: &str, reason: &str| faults.push(FieldError::of_value("IPpool.CIDR", value, reason));
    match cidr_or_ip(text) {
        _ if text.is_empty() => wrong("", "IPPool CIDR must be specified"),
        None => wrong(text, "IPPool CIDR must be a valid subnet"),
        Some((cidr, addr)) if cidr.first() != addr => wrong(text, "IP pool CIDR is not strictly masked"),
        Some(_) => {}
    }
    let uses = spec(pool, "allowedUses");
    for word in texts(uses).filter(|word| !USES.contains(word)) {
        let reason = format!("unknown use: {word}");
        faults.push(FieldError::of_value("IPpool.AllowedUses", go_list(texts(uses)), reason));
    }
    faults
}

pub(super) fn schema(pool: &Resource) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let empty = Json::String(String::new());
    let cidr = pool.field(&["spec", "cidr"]).unwrap_or(&empty);
    format_cidr(&mut faults, "spec.cidr", cidr);
    one_of(&mut faults, "spec.vxlanMode", spec(pool, "vxlanMode"), &MODES);
    one_of(&mut faults, "spec.ipipMode", spec(pool, "ipipMode"), &MODES);
    in_range(&mut faults, "spec.blockSize", spec(pool, "blockSize"), 0, 128);
    max_length(&mut faults, "spec.nodeSelector", spec(pool, "nodeSelector"), 1024);
    max_length(&mut faults, "spec.namespaceSelector", spec(pool, "namespaceSelector"), 1024);
    let uses = spec(pool, "allowedUses").as_array().map(Vec::as_slice).unwrap_or_default();
    if uses.len() > 10 {
        faults.push(FieldError::new("spec.allowedUses", "must have at most 10 items"));
    }
    for (i, word) in uses.iter().enumerate() {
        one_of(&mut faults, &format!("spec.allowedUses[{i}]"), word, &USES);
    }
    one_of(&mut faults, "spec.assignmentMode", spec(pool, "assignmentMode"), &["Automatic", "Manual"]);
    faults.extend(expressions(pool, cidr.as_str().unwrap_or_default()));
    faults
}

/// The expressions of the CRD on `spec`, in its order.
fn expressions(pool: &Resource, text: &str) -> Vec<FieldError> {
    let cidr = network(text);
    let enabled = |field: &str| spec(pool, field).as_str().is_some_and(|mode| !matches!(mode, "" | "Never"));
    let (ipip, vxlan) = (enabled("ipipMode"), enabled("vxlanMode"));
    let uses = |word: &str| texts(spec(pool, "allowedUses")).any(|w| w == word);
    let flag = |field: &str| spec(pool, field).as_bool().unwrap_or(false);
    let selector = |field: &str| spec(pool, field).as_str().unwrap_or_default();
    let services = uses("LoadBalancer");
    let block_size = spec(pool, "blockSize").as_i64().unwrap_or(0);
    // A rule holds, or does not, or cannot be evaluated because the network cannot be read.
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
        (
            of_network(block_size == 0, &sizes),
            "blockSize must be between 20 and 32 for IPv4 pools, and between 116 and 128 for IPv6 pools",
        ),
        (of_network(flag("disabled"), &fits), TOO_SMALL),
    ];
    let broken = rules.into_iter().filter_map(|(outcome, message)| match outcome {
        Ok(true) => None,
        Ok(false) => Some(FieldError::new("spec", message)),
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
        return Err(format!("{PREFIX}IPv4-mapped IPv6 address {} is not allowed", crate::go::quote(text)));
    }
    text.parse().map_err(|error| format!("{PREFIX}{error}"))
}
