//! Why the host could not be read or changed.

use std::fmt;
use std::io;

use rtnetlink::Error;

/// The kernel's refusal of a request, in its own words where it gives any.
#[derive(Debug)]
pub struct Refusal {
    /// The number of the error.
    pub source: io::Error,
    /// The kernel's explanation, such as "mtu greater than device maximum".
    pub words: Option<String>,
}

impl Refusal {
    pub(crate) fn of(errno: rustix::io::Errno) -> Refusal {
        Refusal { source: errno.into(), words: None }
    }

    /// The kernel says nothing.
    pub(crate) fn silence(kind: io::ErrorKind, words: &str) -> Refusal {
        Refusal { source: kind.into(), words: Some(words.to_string()) }
    }

    /// Whether it says one of these.
    pub(crate) fn is_any(&self, errors: &[rustix::io::Errno]) -> bool {
        let number = self.source.raw_os_error();
        errors.iter().any(|errno| number == Some(errno.raw_os_error()))
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        match error {
            Error::NetlinkError(message) => {
                Refusal { source: message.to_io(), words: words(&message.header).map(str::to_owned) }
            }
            other => Refusal { source: io::Error::other(other.to_string()), words: None },
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.words {
            Some(words) => write!(out, "{words} ({})", self.source),
            None => write!(out, "{}", self.source),
        }
    }
}

/// Why the host could not be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The process lacks a capability. Give it CAP_NET_ADMIN.
    #[error("not permitted to {doing}: {refusal}; run as root, or with CAP_NET_ADMIN")]
    NotPermitted {
        /// What was tried.
        doing: String,
        /// The kernel's words.
        refusal: Refusal,
    },
    /// The kernel refused for another reason. Compare what is there with what is wanted, and try again.
    #[error("the kernel refused to {doing}: {refusal}")]
    Refused {
        /// What was tried.
        doing: String,
        /// The kernel's words.
        refusal: Refusal,
    },
    /// The interface does not exist. Make the tunnel first, or name the right uplink.
    #[error("cannot {doing}: there is no interface {device}; `ip link` shows those that there are")]
    NoDevice {
        /// What was tried.
        doing: String,
        /// The name of the interface.
        device: String,
    },
    /// It is not known by which interface the route is to lead.
    #[error(
        "cannot {doing}: no interface carries the node's address; compare `ip addr` with `calicoctl get node -o yaml`"
    )]
    NoUplink {
        /// What was tried.
        doing: String,
    },
    /// The kernel has no IPIP. Use VXLAN, or a kernel that has it.
    #[error(
        "cannot make {device}: this kernel has no IPIP tunnels (`modprobe ipip` would load them); have the pools use VXLAN: set their ipipMode to Never and their vxlanMode to Always"
    )]
    NoIpip {
        /// The device.
        device: String,
    },
    /// The node has no address from which the tunnel could send. Give its Node one.
    #[error(
        "cannot make {device}: the node has no IPv{family} address; `calicoctl get node -o yaml` shows what it has"
    )]
    NoLocal {
        /// The device.
        device: String,
        /// The family of the address: 4 or 6.
        family: u8,
    },
    /// The device is none of the tunnel devices that this program makes.
    #[error("{device} is none of our tunnel devices, so it is left alone")]
    NotOurs {
        /// The device.
        device: String,
    },
    /// The process could not get what it needs for itself.
    #[error("cannot {doing}: {source}; look at the limits of the process (ulimit -a)")]
    System {
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl HostError {
    pub(crate) fn refused(doing: impl Into<String>, refusal: Refusal) -> HostError {
        let doing = doing.into();
        match refusal.source.kind() {
            io::ErrorKind::PermissionDenied => HostError::NotPermitted { doing, refusal },
            _ => HostError::Refused { doing, refusal },
        }
    }
}

/// The kernel's explanation in the payload of an error. The payload is the request that the error answers,
/// which begins with its own length, and then attributes: each has a length, a kind and a value, and begins
/// at a multiple of four bytes (`Documentation/userspace-api/netlink/intro.rst`).
fn words(payload: &[u8]) -> Option<&str> {
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
    use super::words;

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
        let cases: [(&[&[u8]], Option<&str>); 5] = [
            (&[&request(18), &message], Some("why!")),
            (&[&request(20), &offset, &message], Some("why!")),
            (&[&request(16)], None),
            (&[&request(16), &message[..7]], None),
            (&[&[255, 255, 255, 255], &message], None),
        ];
        for (parts, expected) in cases {
            assert_eq!(words(&parts.concat()), expected, "{parts:?}");
        }
    }
}
