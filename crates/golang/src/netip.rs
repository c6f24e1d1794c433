//! Go's `net/netip`: its errors for texts that are no networks and no addresses.

use crate::strconv::quote;

/// Checks whether `netip.ParsePrefix` accepts a text.
///
/// # Errors
/// Go's error text.
pub fn check_prefix(text: &str) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("netip.ParsePrefix({}): {what}", quote(text)));
    let Some((addr, bits)) = text.rsplit_once('/') else { return wrong("no '/'") };
    if let Err(error) = check_addr(addr) {
        return wrong(&error);
    }
    if addr.contains('%') {
        return wrong("IPv6 zones cannot be present in a prefix");
    }
    let plain = bits.bytes().all(|b| b.is_ascii_digit()) && !(bits.len() > 1 && bits.starts_with('0'));
    match bits.parse::<i64>() {
        Ok(n) if plain && n <= if addr.contains(':') { 128 } else { 32 } => Ok(()),
        Ok(_) if plain => wrong("prefix length out of range"),
        _ => wrong(&format!("bad bits after slash: {}", quote(bits))),
    }
}

/// Checks whether `netip.ParseAddr` accepts a text.
///
/// # Errors
/// Go's error text.
pub fn check_addr(text: &str) -> Result<(), String> {
    let result = match text.find(['.', ':', '%']).map(|at| text.as_bytes()[at]) {
        Some(b'.') => v4(text),
        Some(b':') => v6(text),
        Some(_) => Err(("missing IPv6 address", "")),
        None => Err(("unable to parse IP", "")),
    };
    result.map_err(|(what, at)| {
        let at = if at.is_empty() { String::new() } else { format!(" (at {})", quote(at)) };
        format!("ParseAddr({}): {what}{at}", quote(text))
    })
}

type Reason<'a> = (&'static str, &'a str);

fn v4(text: &str) -> Result<(), Reason<'_>> {
    let bytes = text.as_bytes();
    let (mut value, mut digits, mut dots) = (0u32, 0, 0);
    for (i, c) in text.char_indices() {
        match c {
            '0'..='9' => {
                if digits == 1 && value == 0 {
                    return Err(("IPv4 field has octet with leading zero", ""));
                }
                value = value * 10 + u32::from(bytes[i] - b'0');
                digits += 1;
                if value > 255 {
                    return Err(("IPv4 field has value >255", ""));
                }
            }
            '.' => {
                if i == 0 || i == text.len() - 1 || bytes[i - 1] == b'.' {
                    return Err(("IPv4 field must have at least one digit", &text[i..]));
                }
                if dots == 3 {
                    return Err(("IPv4 address too long", ""));
                }
                (value, digits, dots) = (0, 0, dots + 1);
            }
            _ => return Err(("unexpected character", &text[i..])),
        }
    }
    if dots < 3 { Err(("IPv4 address too short", "")) } else { Ok(()) }
}

fn v6(text: &str) -> Result<(), Reason<'_>> {
    let (mut rest, zone) = match text.split_once('%') {
        Some((addr, zone)) => (addr, Some(zone)),
        None => (text, None),
    };
    if zone == Some("") {
        return Err(("zone must be a non-empty string", ""));
    }
    let mut ellipsis = false;
    if let Some(after) = rest.strip_prefix("::") {
        ellipsis = true;
        rest = after;
    }
    let mut bytes = 0;
    while bytes < 16 && !(rest.is_empty() && ellipsis) {
        let len = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
        if len > 4 {
            return Err(("each group must have 4 or less digits", rest));
        }
        if len == 0 {
            return Err(("each colon-separated field must have at least one digit", rest));
        }
        if rest.as_bytes().get(len) == Some(&b'.') {
            if !ellipsis && bytes != 12 {
                return Err(("embedded IPv4 address must replace the final 2 fields of the address", rest));
            }
            if bytes + 4 > 16 {
                return Err(("too many hex fields to fit an embedded IPv4 at the end of the address", rest));
            }
            v4(rest)?;
            bytes += 4;
            rest = "";
            break;
        }
        bytes += 2;
        rest = &rest[len..];
        if rest.is_empty() {
            break;
        }
        match rest.strip_prefix(':') {
            None => return Err(("unexpected character, want colon", rest)),
            Some("") => return Err(("colon must be followed by more characters", rest)),
            Some(after) => rest = after,
        }
        if let Some(after) = rest.strip_prefix(':') {
            if ellipsis {
                return Err(("multiple :: in address", rest));
            }
            ellipsis = true;
            rest = after;
        }
    }
    match (rest.is_empty(), bytes < 16, ellipsis) {
        (false, _, _) => Err(("trailing garbage after address", rest)),
        (_, true, false) => Err(("address string too short", "")),
        (_, false, true) => Err(("the :: must expand to at least one field of zeros", "")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::check_prefix;

    #[test]
    fn texts() {
        // Calico gave the first ones (recorded in 060-ippool-cidr).
        for (text, error) in [
            ("", "no '/'"),
            ("10.0.0.0/33", "prefix length out of range"),
            ("10.0.0/16", r#"ParseAddr("10.0.0"): IPv4 address too short"#),
            ("300.0.0.0/8", r#"ParseAddr("300.0.0.0"): IPv4 field has value >255"#),
            (
                "fd00:::/64",
                r#"ParseAddr("fd00:::"): each colon-separated field must have at least one digit (at ":")"#,
            ),
            ("10.0.0.0/-1", r#"bad bits after slash: "-1""#),
            ("10.0.0.0/12910012345", "prefix length out of range"),
            (" 10.0.0.0/16", r#"ParseAddr(" 10.0.0.0"): unexpected character (at " 10.0.0.0")"#),
            ("10.0.0.0/016", r#"bad bits after slash: "016""#),
            ("010.0.0.0/16", r#"ParseAddr("010.0.0.0"): IPv4 field has octet with leading zero"#),
            ("abc/8", r#"ParseAddr("abc"): unable to parse IP"#),
            ("1::2::3/8", r#"ParseAddr("1::2::3"): multiple :: in address (at ":3")"#),
            ("1:2/8", r#"ParseAddr("1:2"): address string too short"#),
        ] {
            let expected = format!("netip.ParsePrefix({}): {error}", crate::strconv::quote(text));
            assert_eq!(check_prefix(text), Err(expected));
        }
        for text in ["10.0.0.0/8", "::/0", "fd00::/64", "::ffff:1.2.3.4/120", "1:2:3:4:5:6:7:8/128"] {
            assert_eq!(check_prefix(text), Ok(()));
        }
    }
}
