//! What the kernel says by netlink besides the number of an error.

/// The kernel's explanation in the payload of an error. The payload is the request that the error answers,
/// which begins with its own length, and then attributes: each has a length, a kind and a value, and begins
/// at a multiple of four bytes (`Documentation/userspace-api/netlink/intro.rst`).
pub fn explanation(payload: &[u8]) -> Option<&str> {
    const MESSAGE: u16 = 1;
    let mut rest = payload.get(aligned(u32::from_ne_bytes(*payload.first_chunk()?).try_into().ok()?)..)?;
    loop {
        let length = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
        let kind = u16::from_ne_bytes(*rest.get(2..)?.first_chunk()?);
        let value = rest.get(4..length)?;
        if kind == MESSAGE {
            return std::str::from_utf8(value.strip_suffix(&[0])?).ok();
        }
        rest = rest.get(aligned(length)..)?;
    }
}

fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

#[cfg(test)]
mod tests {
    use super::explanation;

    #[test]
    fn the_words_follow_the_request() {
        let message = [9u8, 0, 1, 0, b'w', b'h', b'y', b'!', 0, 0, 0, 0];
        let offset = [8u8, 0, 2, 0, 1, 2, 3, 4];
        let request = |length: u8| {
            let mut bytes = vec![0; usize::from(length)];
            bytes[0] = length;
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        };
        let cases: [(&[&[u8]], Option<&str>); 6] = [
            (&[&request(18), &message], Some("why!")),
            (&[&request(20), &offset, &message], Some("why!")),
            (&[&request(16)], None),
            (&[&request(16), &offset], None),
            (&[&request(16), &message[..7]], None),
            (&[&[255, 255, 255, 255], &message], None),
        ];
        for (parts, expected) in cases {
            assert_eq!(explanation(&parts.concat()), expected, "{parts:?}");
        }
    }
}
