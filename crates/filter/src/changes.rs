//! Who changes the packet filter, as the kernel tells it.

use std::io;

use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};

use crate::message::{self, Message, messages};

/// The kernel's group of events of nftables.
const GROUP: u32 = 7;
/// The part of the filter whose messages these are.
const SUBSYSTEM: u16 = 10;
/// The message that ends a transaction. Its first attribute is a number.
const GENERATION: u16 = 15;
/// In all other messages the first kind of attribute is the table's name.
const TABLE_NAME: u16 = 1;
/// The messages about a chain, and the attribute of one that sees packets by itself.
const CHAINS: [u16; 2] = [3, 5];
const HOOK: u16 = 4;
/// More events than the kernel keeps for a socket.
const NO_BUFFERS: i32 = 105;

/// Events of nftables: of anybody's changes, this program's own ones too.
pub struct Changes {
    socket: TokioSocket,
}

/// What may have changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Our table: ask [`crate::Nft::keep`].
    pub is_ours: bool,
    /// What lets packets pass or drops them beside it: a table of iptables, or a chain of anybody that sees
    /// packets by itself. Ask [`crate::Nft::pass_on`], not more often than every few hundred milliseconds: it
    /// asks other programs.
    pub is_beside: bool,
}

impl std::fmt::Debug for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Changes").finish_non_exhaustive()
    }
}

impl Changes {
    /// Listens in the network namespace of the calling thread, which must be in a runtime of tokio.
    ///
    /// # Errors
    /// The system's error.
    pub fn open() -> io::Result<Changes> {
        let mut socket = TokioSocket::new(message::PROTOCOL)?;
        socket.socket_mut().bind_auto()?;
        socket.socket_mut().add_membership(GROUP)?;
        Ok(Changes { socket })
    }

    /// Waits for the next change. Where more changed than the kernel keeps in mind, everything may have
    /// changed. Nothing is lost where the wait is given up.
    ///
    /// # Errors
    /// The system's error.
    pub async fn next(&mut self) -> io::Result<Touched> {
        loop {
            match self.socket.recv_from_full().await {
                Ok((bytes, from)) if is_kernel(&from) => {
                    let touched = touched(&bytes);
                    if touched != Touched::default() {
                        return Ok(touched);
                    }
                }
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(NO_BUFFERS) => {
                    return Ok(Touched { is_ours: true, is_beside: true });
                }
                Err(error) => return Err(error),
            }
        }
    }
}

fn is_kernel(from: &SocketAddr) -> bool {
    from.port_number() == 0
}

pub(crate) fn touched(bytes: &[u8]) -> Touched {
    let mut touched = Touched::default();
    for message in messages(bytes) {
        match table(&message) {
            Some(b"rackpool") => touched.is_ours = true,
            Some(b"filter") => touched.is_beside = true,
            Some(_) => touched.is_beside |= is_hooked(&message),
            None => {}
        }
    }
    touched
}

/// Whether it tells of a chain that sees packets by itself. Others change theirs with every service and pod.
fn is_hooked(message: &Message<'_>) -> bool {
    CHAINS.contains(&(message.kind & 0xff)) && message.attributes().any(|(kind, _)| kind == HOOK)
}

/// The table that a message is about, without the zero at the end.
fn table<'a>(message: &Message<'a>) -> Option<&'a [u8]> {
    if message.kind >> 8 != SUBSYSTEM || message.kind & 0xff == GENERATION {
        return None;
    }
    let (_, name) = message.attributes().find(|(kind, _)| *kind == TABLE_NAME)?;
    Some(name.strip_suffix(&[0]).unwrap_or(name))
}
