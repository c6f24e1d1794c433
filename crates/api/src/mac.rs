//! Hardware addresses as texts.

/// Reads a hardware address of six bytes: `66:40:b3:ea:b6:3f`, or the same with hyphens. `None` for any other
/// text.
pub fn parse(text: &str) -> Option<[u8; 6]> {
    let mut parts = text.split([':', '-']);
    let mut bytes = [0; 6];
    for byte in &mut bytes {
        // A sign is no digit.
        let part = parts.next().filter(|part| part.len() == 2 && !part.starts_with('+'))?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_bytes_and_nothing_else() {
        for text in ["66:40:b3:ea:b6:3f", "66-40-B3-EA-B6-3F"] {
            assert_eq!(parse(text), Some([0x66, 0x40, 0xb3, 0xea, 0xb6, 0x3f]), "{text}");
        }
        for text in [
            "",
            "66:40:b3:ea:b6",
            "66:40:b3:ea:b6:3f:00",
            "66:40:b3:ea:b6:3g",
            "6:40:b3:ea:b6:3f",
            "+6:40:b3:ea:b6:3f",
            "zz:40:b3:ea:b6:3f",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
