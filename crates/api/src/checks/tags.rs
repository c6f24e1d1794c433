//! Go's field rules (`validate:"..."` tags) and the CRDs' rules for single values.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use selector::Selector;
use serde_json::Value as Json;

use super::error::FieldError;
use crate::cidr::{Cidr, parse_addr};

/// A tag, and whether a text fulfils it.
pub(crate) type Rule = (&'static str, fn(&str) -> bool);

/// Checks a text field, when it is set.
pub(crate) fn check(faults: &mut Vec<FieldError>, go: &str, value: &Json, rule: Rule) {
    if let Some(text) = value.as_str().filter(|s| !s.is_empty()) {
        check_set(faults, go, text, rule);
    }
}

/// Checks each text of a list.
pub(crate) fn check_each(faults: &mut Vec<FieldError>, go: &str, value: &Json, rule: Rule) {
    for (i, text) in texts(value).enumerate() {
        check_set(faults, &format!("{go}[{i}]"), text, rule);
    }
}

/// Checks a text even if it is empty.
pub(crate) fn check_set(faults: &mut Vec<FieldError>, go: &str, text: &str, (tag, holds): Rule) {
    if !holds(text) {
        let fault = fault(go, text, tag);
        faults.push(match Selector::parse(text) {
            Err(error) if tag == SELECTOR.0 => fault.with_help(error.render(text)),
            _ => match wanted(tag) {
                Some(wanted) => fault.with_help(format!("{text:?} is not {wanted}")),
                None => fault,
            },
        });
    }
}

/// What a tag wants, in words.
fn wanted(tag: &str) -> Option<&'static str> {
    Some(match tag {
        "net" => "a network with its prefix length, such as 10.0.0.0/24, without bits behind it",
        "cidr" => "an address or a network, such as 10.0.0.0/24",
        "cidrv4" => "an IPv4 address or network, such as 10.0.0.7/24",
        "cidrv6" => "an IPv6 address or network, such as fd00::7/64",
        "ipv4" => "an IPv4 address",
        "ipv6" => "an IPv6 address",
        "ip" | "reachableBy" => "an IP address",
        "IP:port" => "an IP address, with a port or without: 10.0.0.7:179, [fd00::7]:179",
        "name" => "a name of lower-case letters, digits, - and .",
        "containerID" => "a container's ID: letters, digits and -",
        "mac" => "a hardware address, such as 02:00:00:00:00:07",
        "interface" | "ignoredInterface" => "the name of an interface, of 15 characters at most",
        _ => return None,
    })
}

/// The fault of a value that breaks the rule of a tag.
pub(crate) fn fault(go: &str, value: &str, tag: &str) -> FieldError {
    let name = go.rsplit('.').next().unwrap_or(go);
    let reason = format!("Reason: failed to validate Field: {name} because of Tag: {tag} ");
    FieldError::of_value(name, value, reason)
}

pub(crate) const SELECTOR: Rule = ("selector", |s| Selector::parse(s).is_ok());
pub(crate) const NET: Rule = ("net", |s| cidr_or_ip(s).is_some_and(|(net, addr)| net.first() == addr));
pub(crate) const CIDR: Rule = ("cidr", |s| cidr_or_ip(s).is_some());
pub(crate) const CIDR_V4: Rule = ("cidrv4", |s| cidr_or_ip(s).is_some_and(|(_, addr)| addr.is_ipv4()));
pub(crate) const CIDR_V6: Rule = ("cidrv6", |s| cidr_or_ip(s).is_some_and(|(_, addr)| addr.is_ipv6()));
pub(crate) const IPV4: Rule = ("ipv4", |s| ip(s).is_some_and(|addr| addr.is_ipv4()));
pub(crate) const IPV6: Rule = ("ipv6", |s| ip(s).is_some_and(|addr| addr.is_ipv6()));
pub(crate) const IP: Rule = ("ip", |s| ip(s).is_some());
pub(crate) const IP_PORT: Rule = ("IP:port", |s| ip_port(s).is_some());
pub(crate) const REACHABLE_BY: Rule = ("reachableBy", |s| ip(s).is_some());
pub(crate) const NAME: Rule = ("name", is_subdomain);
pub(crate) const CONTAINER_ID: Rule = ("containerID", |s| {
    let inside = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    s.bytes().all(inside) && ends(s, |b| b.is_ascii_alphanumeric())
});
pub(crate) const INTERFACE: Rule = ("interface", |s| s == "*" || is_interface(s, "_.-"));
pub(crate) const IGNORED_INTERFACE: Rule = ("ignoredInterface", |s| s != "*" && is_interface(s, "_.*-"));
pub(crate) const MAC: Rule = ("mac", is_mac);
pub(crate) const PORT_NAME: Rule = ("portName", is_port_name);
pub(crate) const WIREGUARD_KEY: Rule =
    ("wireguardPublicKey", |s| STANDARD.decode(s).is_ok_and(|key| key.len() == 32));

/// The texts of a list.
pub(crate) fn texts(json: &Json) -> impl Iterator<Item = &str> {
    json.as_array().into_iter().flatten().filter_map(Json::as_str)
}

/// A list as Go's `%v` prints it.
pub(crate) fn go_list<'a>(items: impl Iterator<Item = &'a str>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(" "))
}

/// Reads a network, or an address as a network of its own, as `cnet.ParseCIDROrIP` does. Also gives the
/// address as typed.
pub(crate) fn cidr_or_ip(text: &str) -> Option<(Cidr, IpAddr)> {
    match Cidr::parse_unmasked(text) {
        Ok(parsed) => Some(parsed),
        Err(_) => ip(text).map(|addr| (Cidr::single(addr), addr)),
    }
}

/// Reads an address as `net.ParseIP` does.
pub(crate) fn ip(text: &str) -> Option<IpAddr> {
    parse_addr(text)
}

/// Reads `<IP>`, `<IPv4>:<port>` or `[<IPv6>]:<port>`, as `processIPPort` does.
pub(crate) fn ip_port(text: &str) -> Option<IpAddr> {
    let port = |text: &str| text.parse::<u16>().is_ok_and(|port| port > 0);
    if let Some((addr, after)) = text.strip_prefix('[').and_then(|t| t.split_once("]:")) {
        return port(after).then(|| ip(addr)).flatten();
    }
    match text.split_once(':') {
        Some((addr, after)) if addr.contains('.') && !after.contains(':') => {
            port(after).then(|| ip(addr)).flatten()
        }
        _ => ip(text),
    }
}

/// A DNS-1123 label: `[a-z0-9]([-a-z0-9]*[a-z0-9])?`.
pub(crate) fn is_label(text: &str) -> bool {
    let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    text.bytes().all(inside) && ends(text, |b| b != b'-')
}

/// A DNS-1123 subdomain: labels with dots between.
pub(crate) fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

/// Whether the first and the last character are as wanted; false for an empty text.
pub(crate) fn ends(text: &str, wanted: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|b| wanted(*b)) && bytes.last().is_some_and(|b| wanted(*b))
}

fn is_interface(text: &str, others: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || others.contains(c);
    (1..=15).contains(&text.len()) && text.chars().all(inside)
}

/// Whether a text is a hardware address, as in `net.ParseMAC`: 6, 8 or 20 bytes, `00:00`, `00-00` or
/// `0000.0000`.
fn is_mac(text: &str) -> bool {
    let hex = |part: &str, len: usize| part.len() == len && part.bytes().all(|b| b.is_ascii_hexdigit());
    let parts = |by: char, len: usize, counts: [usize; 3]| {
        let parts: Vec<&str> = text.split(by).collect();
        counts.contains(&parts.len()) && parts.iter().all(|part| hex(part, len))
    };
    parts(':', 2, [6, 8, 20]) || parts('-', 2, [6, 8, 20]) || parts('.', 4, [3, 4, 10])
}

/// `k8s.io/apimachinery/pkg/util/validation.IsValidPortName`.
fn is_port_name(text: &str) -> bool {
    let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=15).contains(&text.len())
        && text.bytes().all(inside)
        && text.bytes().any(|b| b.is_ascii_lowercase())
        && !text.contains("--")
        && ends(text, |b| b != b'-')
}

/// Checks a text by the CRDs' `format: cidr`, which still accepts leading zeros in IPv4.
pub(crate) fn format_cidr(faults: &mut Vec<FieldError>, path: &str, value: &Json) {
    let Some(text) = value.as_str() else { return };
    let trim = |part: &str| match part.trim_start_matches('0') {
        "" if !part.is_empty() => "0".to_string(),
        rest => rest.to_string(),
    };
    let sloppy = match text.split_once('/') {
        Some((addr, bits)) if !addr.contains(':') => {
            format!("{}/{bits}", addr.split('.').map(trim).collect::<Vec<_>>().join("."))
        }
        _ => text.to_string(),
    };
    if sloppy.parse::<Cidr>().is_err() {
        let quoted = golang::strconv::quote(text);
        faults.push(FieldError::new(path, format!("{path} in body must be of type cidr: {quoted}")));
    }
}

/// Checks a value by an enumeration of the CRDs.
pub(crate) fn one_of(faults: &mut Vec<FieldError>, path: &str, value: &Json, allowed: &[&str]) {
    let Some(text) = value.as_str().filter(|text| !allowed.contains(text)) else { return };
    let list: Vec<String> = allowed.iter().map(|word| format!("\"{word}\"")).collect();
    let fault = FieldError::new(path, format!("supported values: {}", list.join(", ")));
    faults.push(match crate::near::nearest(text, allowed) {
        Some(near) => fault.with_help(format!("{text:?} is none of them: did you mean {near}?")),
        None => fault.with_help(format!("{text:?} is none of them")),
    });
}

/// Checks a number by a range of the CRDs, both ends included.
pub(crate) fn in_range(faults: &mut Vec<FieldError>, path: &str, value: &Json, min: i64, max: i64) {
    let Some(number) = value.as_i64() else { return };
    let text = if number < min {
        format!("{path} in body should be greater than or equal to {min}")
    } else if number > max {
        format!("{path} in body should be less than or equal to {max}")
    } else {
        return;
    };
    faults.push(FieldError::new(path, text));
}

/// Checks a text by a length limit of the CRDs.
pub(crate) fn max_length(faults: &mut Vec<FieldError>, path: &str, value: &Json, max: usize) {
    if value.as_str().is_some_and(|text| text.chars().count() > max) {
        faults.push(FieldError::new(path, format!("may not be more than {max} bytes")));
    }
}

/// A `numorstring.Protocol` that is part of a port: its name, or its number as text.
pub(crate) fn protocol(faults: &mut Vec<FieldError>, protocol: &Json) -> String {
    match protocol {
        Json::String(name) => {
            if !["TCP", "UDP", "ICMP", "ICMPv6", "SCTP", "UDPLite"].contains(&name.as_str()) {
                faults.push(FieldError::of_value("Protocol", name, "protocol name invalid"));
            }
            name.clone()
        }
        other => {
            let number = other.as_u64().unwrap_or(0);
            if number == 0 {
                faults.push(FieldError::of_value("Protocol", "0", "protocol number invalid"));
            }
            number.to_string()
        }
    }
}

/// Whether a protocol has ports (`numorstring.Protocol.SupportsPorts`).
pub(crate) fn has_ports(protocol: &str) -> bool {
    ["TCP", "UDP", "SCTP", "6", "17", "132"].contains(&protocol)
}
