//! Go's `unicode`: what kind a character is of. Go knows another version of Unicode than Rust.

mod tables;

/// `unicode.IsLetter`.
pub fn is_letter(c: char) -> bool {
    is_in(c, &tables::LETTERS)
}

/// `unicode.IsDigit`: whether a character is a decimal digit of any script.
pub fn is_digit(c: char) -> bool {
    is_in(c, &tables::DIGITS)
}

/// `ranges` are sorted.
pub(crate) fn is_in(c: char, ranges: &[(u32, u32)]) -> bool {
    let number = u32::from(c);
    let after = ranges.partition_point(|(first, _)| *first <= number);
    after.checked_sub(1).is_some_and(|at| number <= ranges[at].1)
}
