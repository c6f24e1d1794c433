//! Reads a -wal file without SQLite. SQLite takes the file's frames up to the first whose check sum fails,
//! and says nothing about the frames after that.
//!
//! The format is described at <https://sqlite.org/walformat.html>: a header, then frames. A frame is a header
//! and a page, and its check sum continues that of the frame before.

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const MAGIC: u32 = 0x377F_0682;
const FORMAT: u32 = 3_007_000;

/// What the bytes of a -wal file turned out to hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Log {
    /// Whether SQLite accepts the header.
    pub(super) has_header: bool,
    /// The number of frames that SQLite takes: those up to the last commit before the first frame that is not
    /// whole.
    pub(super) frames: usize,
    /// Whether frames of an unfinished transaction follow, as after a loss of power before the commit was
    /// answered.
    pub(super) has_tail: bool,
    /// Whether commits are lost: a later transaction was built on a commit that is not among the frames that
    /// SQLite takes.
    pub(super) is_cut: bool,
}

/// The size of a frame, in bytes.
pub(super) fn frame_size(page: usize) -> usize {
    FRAME_HEADER + page
}

/// The size of a -wal file with that many frames, in bytes.
pub(super) fn size(frames: usize, page: usize) -> usize {
    HEADER + frames * frame_size(page)
}

struct Frame<'a> {
    bytes: &'a [u8],
    is_ours: bool,
    sum: [u32; 2],
}

impl Frame<'_> {
    fn is_commit(&self) -> bool {
        self.is_ours && number(self.bytes, 4) != 0
    }

    /// Whether this frame was written after a frame with that check sum.
    fn follows(&self, sum: [u32; 2], is_big: bool) -> bool {
        let sum = checksum(&self.bytes[..8], sum, is_big);
        self.is_ours
            && number(self.bytes, 0) != 0
            && checksum(&self.bytes[FRAME_HEADER..], sum, is_big) == self.sum
    }
}

/// Reads the bytes of a -wal file.
pub(super) fn examine(file: &[u8]) -> Log {
    let Some((header, rest)) = file.split_at_checked(HEADER) else {
        return Log { has_tail: !file.is_empty(), ..Log::default() };
    };
    let (magic, page) = (number(header, 0), number(header, 8) as usize);
    let is_big = magic & 1 == 1;
    let mut sum = checksum(&header[..24], [0; 2], is_big);
    let is_header = magic & !1 == MAGIC
        && number(header, 4) == FORMAT
        && page.is_power_of_two()
        && (512..=65536).contains(&page)
        && sum == sum_at(header, 24);
    if !is_header {
        return Log { has_tail: true, ..Log::default() };
    }
    let frames: Vec<Frame<'_>> = rest
        .chunks_exact(frame_size(page))
        .map(|bytes| Frame { bytes, is_ours: bytes[8..16] == header[16..24], sum: sum_at(bytes, 16) })
        .collect();
    let mut taken = 0;
    let mut stop = 0;
    while let Some(frame) = frames.get(stop).filter(|frame| frame.follows(sum, is_big)) {
        sum = frame.sum;
        stop += 1;
        if frame.is_commit() {
            taken = stop;
        }
    }
    // A transaction is written only after the commit before it is safely in the file. So a frame that
    // continues a commit's check sum proves that this commit stood. What is left of a transaction that was
    // never answered ends with its own commit at the latest.
    let is_cut =
        frames[stop..].windows(2).any(|two| two[0].is_commit() && two[1].follows(two[0].sum, is_big));
    let end = taken * frame_size(page);
    let has_tail = rest[end..].chunks(frame_size(page)).any(|bytes| is_left(bytes, header));
    Log { has_header: true, frames: taken, has_tail, is_cut }
}

/// Whether the bytes after the last commit belong to this log, and are not zeros or the rest of an earlier
/// log, which had other salts.
fn is_left(bytes: &[u8], header: &[u8]) -> bool {
    let salts = |at: usize| bytes.get(at..at + 4);
    let is_zero = |salt: Option<&[u8]>| salt.is_none_or(|salt| salt == [0; 4]);
    let has_salt = salts(8) == Some(&header[16..20]) || salts(12) == Some(&header[20..24]);
    has_salt || is_zero(salts(8)) && is_zero(salts(12)) && bytes.iter().any(|byte| *byte != 0)
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn sum_at(bytes: &[u8], at: usize) -> [u32; 2] {
    [number(bytes, at), number(bytes, at + 4)]
}

fn checksum(bytes: &[u8], sum: [u32; 2], is_big: bool) -> [u32; 2] {
    let word = |at: usize| if is_big { number(bytes, at) } else { number(bytes, at).swap_bytes() };
    (0..bytes.len()).step_by(8).fold(sum, |[first, second], at| {
        let first = first.wrapping_add(word(at)).wrapping_add(second);
        [first, second.wrapping_add(word(at + 4)).wrapping_add(first)]
    })
}
