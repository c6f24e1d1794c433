//! Makes a failing input small.

/// How many inputs are tried.
const TRIES: usize = 400;

/// The smallest input that was found to fail still. `fails` tells whether an input fails in the same way.
pub(crate) fn small(input: Vec<u8>, mut fails: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    let (mut best, mut tries) = (input, 0);
    let mut size = best.len().div_ceil(2);
    while size > 0 && tries < TRIES {
        let (mut at, mut has_helped) = (0, false);
        while at < best.len() && tries < TRIES {
            let end = (at + size).min(best.len());
            let without = [&best[..at], &best[end..]].concat();
            tries += 1;
            match fails(&without) {
                true => (best, has_helped) = (without, true),
                false => at = end,
            }
        }
        if !has_helped || size > best.len() {
            size = if size == 1 { 0 } else { size.div_ceil(2) };
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_matter_is_left_out() {
        let input = b"a long text with an x in it, and a y behind".to_vec();
        let fails = |input: &[u8]| {
            let x = input.iter().position(|byte| *byte == b'x');
            x.is_some_and(|x| input[x..].contains(&b'y'))
        };
        assert_eq!(small(input, fails), b"xy");
    }
}
