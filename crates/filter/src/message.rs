//! Messages of the kernel's packet filter: a header of netlink, one of the filter, and attributes.

/// The netlink protocol of the filter.
pub(crate) const PROTOCOL: isize = 12;

/// Kinds and flags of netlink messages.
pub(crate) const ERROR: u16 = 2;
pub(crate) const DONE: u16 = 3;
pub(crate) const REQUEST: u16 = 1;
pub(crate) const ACKNOWLEDGE: u16 = 4;
pub(crate) const DUMP: u16 = 0x300;

const HEADER: usize = 16;
const FILTER_HEADER: usize = 4;
/// Marks an attribute that is made of attributes.
const NESTED: u16 = 0x8000;
/// The bits of an attribute's kind that are marks.
const MARKS: u16 = 0xc000;

/// A message from the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) number: u32,
    body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The attributes after both headers.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        attributes(self.body.get(FILTER_HEADER..).unwrap_or_default())
    }

    /// The system's number of an error; 0 is an acknowledgement. Both kinds of message begin with it.
    pub(crate) fn error(&self) -> i32 {
        let number = self.body.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes));
        number.unwrap_or_default().saturating_neg()
    }
}

/// The messages that came together. What is cut off at the end is left out.
pub(crate) fn messages(bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::try_from(u32::from_ne_bytes(*rest.first_chunk()?)).ok()?;
        let whole = rest.get(..length)?;
        let (header, body) = whole.split_at_checked(HEADER)?;
        rest = rest.get(aligned(length)..).unwrap_or_default();
        let kind = u16::from_ne_bytes(*header.get(4..)?.first_chunk()?);
        let number = u32::from_ne_bytes(*header.get(8..)?.first_chunk()?);
        Some(Message { kind, number, body })
    })
}

/// The attributes in a row of them, each with its kind.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
        let whole = rest.get(..length)?;
        let (header, value) = whole.split_at_checked(4)?;
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some((u16::from_ne_bytes(*header.get(2..)?.first_chunk()?) & !MARKS, value))
    })
}

/// Adds an attribute.
pub(crate) fn add(to: &mut Vec<u8>, kind: u16, value: &[u8]) {
    // A value is an address, a number, or a few attributes of these.
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    to.extend(length.to_ne_bytes());
    to.extend(kind.to_ne_bytes());
    to.extend(value);
    to.resize(aligned(to.len()), 0);
}

/// Adds an attribute that is made of attributes.
pub(crate) fn add_nested(to: &mut Vec<u8>, kind: u16, attributes: &[u8]) {
    add(to, kind | NESTED, attributes);
}

/// A whole request.
pub(crate) fn request(kind: u16, flags: u16, number: u32, family: u8, attributes: &[u8]) -> Vec<u8> {
    let length = HEADER + FILTER_HEADER + attributes.len();
    let mut message = Vec::with_capacity(length);
    // A request holds a few attributes only.
    message.extend(u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend((flags | REQUEST).to_ne_bytes());
    message.extend(number.to_ne_bytes());
    message.extend([0; 4]);
    message.extend([family, 0, 0, 0]);
    message.extend(attributes);
    message
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let (mut inner, mut outer) = (Vec::new(), Vec::new());
        add(&mut inner, 1, &[1, 2, 3]);
        add(&mut inner, 2, &[]);
        add_nested(&mut outer, 7, &inner);
        let message = request(0x0102, DUMP, 9, 2, &outer);
        let twice = [message.clone(), message.clone()].concat();
        let found: Vec<Message<'_>> = messages(&twice).collect();
        assert_eq!(found.len(), 2);
        assert_eq!((found[1].kind, found[1].number), (0x0102, 9));
        let [(7, nested)] = found[1].attributes().collect::<Vec<_>>()[..] else { panic!("{found:?}") };
        assert_eq!(attributes(nested).collect::<Vec<_>>(), [(1, &[1u8, 2, 3][..]), (2, &[][..])]);
    }

    /// However a message is cut off, nothing is read past its end, and reading ends.
    #[test]
    fn what_is_cut_off() {
        let mut inner = Vec::new();
        add(&mut inner, 1, &[1; 9]);
        let message = request(1, 0, 1, 2, &inner);
        for end in 0..message.len() {
            assert_eq!(messages(&message[..end]).count(), 0);
            assert_eq!(attributes(&inner[..end.min(12)]).count(), 0);
        }
        assert_eq!(messages(&[0; 64]).count(), 0);
        assert_eq!(attributes(&[0; 64]).count(), 0);
        let mut wrong = message;
        wrong[2] = 0xff;
        assert_eq!(messages(&wrong).count(), 0);
    }
}
