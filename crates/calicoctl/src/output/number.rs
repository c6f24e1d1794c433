//! Counts as Calico prints them.

use golang::number::significant;

/// A count as `ipam show` prints it, Go's `%.5g`: exact up to 99999, then five digits and an exponent.
pub fn count(count: u128) -> String {
    significant(count as f64, 5)
}

/// A count and its share of `whole`, Go's `%.5g (%.f%%)`: `59 (92%)`. Halves of a percent go to the even
/// neighbour.
pub fn count_and_share(part: u128, whole: u128) -> String {
    let percent = 100.0 * part as f64 / whole as f64;
    match percent.is_finite() {
        true => format!("{} ({percent:.0}%)", count(part)),
        false => format!("{} ({}%)", count(part), significant(percent, 5)),
    }
}
