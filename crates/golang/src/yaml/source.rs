//! Turns bytes into characters, with goyaml's texts for bytes that cannot be read (`goyaml.v2/readerc.go`).

/// How many bytes goyaml reads at a time. goyaml meets a fault when it needs a character of the portion that
/// holds the fault, and not earlier; so a syntax error in an earlier portion is reported instead.
const PORTION: usize = 512;

/// The characters of a text, and the fault that ends them.
#[derive(Debug)]
pub(super) struct Source {
    characters: Vec<char>,
    fault: Option<Unreadable>,
}

#[derive(Debug)]
struct Unreadable {
    /// How many characters can be read before the fault is met.
    readable: usize,
    problem: &'static str,
}

impl Source {
    /// Reads UTF-8, or UTF-16 that begins with a byte order mark.
    pub(super) fn new(text: &[u8]) -> Source {
        match text {
            [0xFF, 0xFE, units @ ..] => Source::utf16(units, u16::from_le_bytes),
            [0xFE, 0xFF, units @ ..] => Source::utf16(units, u16::from_be_bytes),
            [0xEF, 0xBB, 0xBF, text @ ..] => Source::utf8(text, 3),
            text => Source::utf8(text, 0),
        }
    }

    /// `skipped` is the number of bytes before `text`.
    fn utf8(text: &[u8], skipped: usize) -> Source {
        let valid = text.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        let control = valid.char_indices().find(|&(_, c)| !is_allowed(c)).map(|(at, _)| at);
        let (end, problem) = match control {
            Some(at) => (at, Some("control characters are not allowed")),
            None if valid.len() < text.len() => (valid.len(), Some(utf8_problem(&text[valid.len()..]))),
            None => (valid.len(), None),
        };
        let portion = match problem {
            // goyaml notices this only when it reaches the end of the text.
            Some(INCOMPLETE) => usize::MAX,
            _ => (end + skipped) / PORTION * PORTION,
        };
        let characters: Vec<char> = valid[..end].chars().collect();
        let readable = valid[..end].char_indices().take_while(|(at, _)| at + skipped < portion).count();
        Source { characters, fault: problem.map(|problem| Unreadable { readable, problem }) }
    }

    fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Source {
        let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        let mut characters = Vec::new();
        for decoded in char::decode_utf16(units) {
            let problem = match decoded {
                Ok(c) if is_allowed(c) => {
                    characters.push(c);
                    continue;
                }
                Ok(_) => "control characters are not allowed",
                Err(error) if error.unpaired_surrogate() >= 0xDC00 => "unexpected low surrogate area",
                Err(_) => "expected low surrogate area",
            };
            let readable = characters.len() / PORTION * PORTION;
            return Source { characters, fault: Some(Unreadable { readable, problem }) };
        }
        let readable = characters.len() / PORTION * PORTION;
        let fault =
            (bytes.len() % 2 == 1).then_some(Unreadable { readable, problem: "incomplete UTF-16 character" });
        Source { characters, fault }
    }

    /// Checks that the characters before `end` can be read, or are beyond the end of the text. The error says
    /// what is wrong with the text.
    pub(super) fn need(&self, end: usize) -> Result<(), &'static str> {
        match &self.fault {
            Some(fault) if end > fault.readable => Err(fault.problem),
            _ => Ok(()),
        }
    }

    /// The character at `index`; beyond the end it is NUL, which the text cannot contain.
    pub(super) fn at(&self, index: usize) -> char {
        self.characters.get(index).copied().unwrap_or('\0')
    }
}

fn is_allowed(c: char) -> bool {
    matches!(c,
        '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{A0}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

const INCOMPLETE: &str = "incomplete UTF-8 octet sequence";

/// What is wrong with bytes that do not begin with a UTF-8 character.
fn utf8_problem(bytes: &[u8]) -> &'static str {
    let width = match bytes.first() {
        Some(lead) if lead & 0xE0 == 0xC0 => 2,
        Some(lead) if lead & 0xF0 == 0xE0 => 3,
        Some(lead) if lead & 0xF8 == 0xF0 => 4,
        _ => return "invalid leading UTF-8 octet",
    };
    let Some(sequence) = bytes.get(..width) else { return INCOMPLETE };
    if sequence[1..].iter().any(|octet| octet & 0xC0 != 0x80) {
        return "invalid trailing UTF-8 octet";
    }
    let value = sequence[1..]
        .iter()
        .fold(u32::from(sequence[0]) & (0x7F >> width), |value, octet| value << 6 | u32::from(octet & 0x3F));
    let smallest = [0x80, 0x800, 0x1_0000][width - 2];
    if value < smallest { "invalid length of a UTF-8 sequence" } else { "invalid Unicode character" }
}
