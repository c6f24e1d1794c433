//! Draws inputs from a corpus. An input is determined by target, seed and number, so that it can be drawn
//! again.

use std::collections::BTreeSet;

use fastrand::Rng;

/// The most bytes of an input.
const MOST: usize = 64 << 10;
/// The most changes that one input has.
const CHANGES: usize = 4;
/// One of so many inputs has something in it that is repeated very often: of these, it is seen whether a
/// parser's time grows faster than its input.
const LONG: u64 = 256;

/// What parsers trip over, whatever they read.
const NASTY: &[&[u8]] = &[
    b"",
    b"\0",
    b"\n",
    b"\r\n",
    b"\t",
    b" ",
    b"\xff",
    b"\xc3\x28",
    b"\xe2\x80\xa8",
    b"\xed\xa0\x80",
    b"\\",
    b"\"",
    b"'",
    b"\\u0000",
    b"\\ud800",
    b"\\ud83d\\ude00",
    b"{",
    b"}",
    b"[",
    b"]",
    b"[[",
    b"{\"a\":",
    b"---\n",
    b"...\n",
    b"&a ",
    b"*a",
    b"<<: *a",
    b"- ",
    b": ",
    b"#",
    b"|",
    b">",
    b"!!binary ",
    b"null",
    b"true",
    b"~",
    b"-1",
    b"0",
    b"00",
    b"+1",
    b"65536",
    b"4294967295",
    b"4294967296",
    b"9007199254740993",
    b"9223372036854775807",
    b"9223372036854775808",
    b"18446744073709551615",
    b"18446744073709551616",
    b"1e400",
    b"-1e400",
    b"1e-400",
    b"0.1",
    b"0.30000000000000004",
    b"1.7976931348623157e308",
    b"2.2250738585072011e-308",
    b"NaN",
    b".inf",
    b"0x10",
    b"1_000",
    b"10.0.0.0/26",
    b"10.0.0.5-26",
    b"0.0.0.0/0",
    b"255.255.255.255/32",
    b"::/0",
    b"::ffff:10.0.0.1",
    b"fd00::/122",
    b"-0",
    b"=",
    b"==",
    b";",
    b",",
    b"/",
    b"..",
    b"%",
    b"@",
    b"{{",
    b"}}",
    b"{{range .}}",
    b"__",
    b"--",
    b"\x1b[2J",
    b"9999-12-31T23:59:60Z",
    b"0000-01-01T00:00:00Z",
    b"2026-02-30T00:00:00+25:00",
];

/// A corpus, and the words in it.
pub struct Draw {
    corpus: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
    seed: u64,
}

impl Draw {
    /// Draws from this corpus, which has an input, with this seed. `target` is the target's name.
    pub fn new(target: &str, corpus: Vec<Vec<u8>>, seed: u64) -> Draw {
        let words: BTreeSet<Vec<u8>> = corpus.iter().flat_map(|input| words(input)).collect();
        let name = target.bytes().fold(seed, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
        Draw { corpus, words: words.into_iter().collect(), seed: name }
    }

    /// The input of that number: first those of the corpus as they are, then others.
    pub fn input(&self, number: u64) -> Vec<u8> {
        if let Some(input) = usize::try_from(number).ok().and_then(|at| self.corpus.get(at)) {
            return input.clone();
        }
        let mut rng = Rng::with_seed(self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut input = self.any(&mut rng).to_vec();
        for _ in 0..rng.usize(1..=CHANGES) {
            self.change(&mut input, &mut rng);
        }
        if rng.u64(..LONG) == 0 {
            self.lengthen(&mut input, &mut rng);
        }
        input.truncate(MOST);
        input
    }

    fn any(&self, rng: &mut Rng) -> &[u8] {
        rng.choice(&self.corpus).map_or(&[], Vec::as_slice)
    }

    /// A word of the corpus, or something nasty.
    fn token(&self, rng: &mut Rng) -> &[u8] {
        match (rng.bool(), rng.choice(&self.words)) {
            (true, Some(word)) => word,
            _ => rng.choice(NASTY).copied().unwrap_or_default(),
        }
    }

    fn change(&self, input: &mut Vec<u8>, rng: &mut Rng) {
        let at = rng.usize(..=input.len());
        let piece = piece(input, rng);
        match rng.u8(..10) {
            0 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << rng.u8(..8);
                }
            }
            1 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = rng.u8(..);
                }
            }
            2 => drop(input.splice(at..at, self.token(rng).iter().copied())),
            3 => drop(input.splice(piece, self.token(rng).iter().copied())),
            4 => drop(input.drain(piece)),
            5 => {
                let copy = input[piece].to_vec();
                input.splice(at..at, copy);
            }
            6 => {
                let other = self.any(rng);
                let from = rng.usize(..=other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            7 => {
                let other = self.any(rng);
                let range = self::piece(other, rng);
                input.splice(at..at, other[range].iter().copied());
            }
            _ => self.change_word(input, rng),
        }
    }

    /// Puts a token in the place of a word or a number.
    fn change_word(&self, input: &mut Vec<u8>, rng: &mut Rng) {
        let from = rng.usize(..=input.len());
        let Some(start) = input[from..].iter().position(|byte| is_of_word(*byte)).map(|at| from + at) else {
            return;
        };
        let length = input[start..].iter().take_while(|byte| is_of_word(**byte)).count();
        input.splice(start..start + length, self.token(rng).iter().copied());
    }

    /// Repeats a piece of the input, or a token, up to the bound.
    fn lengthen(&self, input: &mut Vec<u8>, rng: &mut Rng) {
        let at = rng.usize(..=input.len());
        let piece = match rng.bool() {
            true => input[piece(input, rng)].iter().copied().take(64).collect(),
            false => self.token(rng).to_vec(),
        };
        let most = 1 << rng.u32(6..=16);
        let times = most / piece.len().max(1);
        input.splice(at..at, piece.repeat(times.min(most)));
    }
}

/// A piece of an input, short more often than long.
fn piece(input: &[u8], rng: &mut Rng) -> std::ops::Range<usize> {
    let start = rng.usize(..=input.len());
    let most = (input.len() - start).min(1 << rng.u32(..10));
    start..start + rng.usize(..=most)
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)
}

fn words(input: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    input.split(|byte| !is_of_word(*byte)).filter(|word| (2..40).contains(&word.len())).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_input_is_drawn_again() {
        let corpus = || vec![b"{\"a\": 1}".to_vec(), b"[2, \"word\"]".to_vec()];
        let draw = |seed| {
            let draw = Draw::new("json", corpus(), seed);
            (0..6000).map(|number| draw.input(number)).collect::<Vec<_>>()
        };
        let inputs = draw(1);
        assert_eq!(inputs, draw(1));
        assert_ne!(inputs, draw(2));
        assert_eq!(inputs[..2], corpus());
        assert!(inputs.iter().all(|input| input.len() <= MOST));
        assert!(inputs.iter().any(|input| input.len() > MOST / 4), "none is long");
        assert!(inputs.iter().collect::<HashSet<_>>().len() > 3000, "many are alike");
    }
}
