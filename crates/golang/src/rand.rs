//! Go's `math/rand`, from a seed: an additive lagged Fibonacci generator over 607 words (`math/rand/rng.go`).

mod table;

use table::COOKED;

const LEN: usize = 607;
const TAP: usize = 273;

/// A generator like Go's `rand.New(rand.NewSource(seed))`.
#[derive(Clone, Debug)]
pub struct Rand {
    words: [u64; LEN],
    tap: usize,
    feed: usize,
}

impl Rand {
    /// A generator with that seed.
    pub fn new(seed: i64) -> Rand {
        const M: i64 = (1 << 31) - 1;
        let mut x = match seed.rem_euclid(M) {
            0 => 89_482_311,
            x => x,
        };
        for _ in 0..20 {
            x = lehmer(x);
        }
        let mut words = [0; LEN];
        for (word, cooked) in words.iter_mut().zip(COOKED) {
            x = lehmer(x);
            let mut bits = (x as u64) << 40;
            x = lehmer(x);
            bits ^= (x as u64) << 20;
            x = lehmer(x);
            bits ^= x as u64;
            *word = bits ^ cooked;
        }
        Rand { words, tap: 0, feed: LEN - TAP }
    }

    /// The next number, as Go's `Rand.Uint64` gives it.
    pub fn word(&mut self) -> u64 {
        self.tap = self.tap.checked_sub(1).unwrap_or(LEN - 1);
        self.feed = self.feed.checked_sub(1).unwrap_or(LEN - 1);
        self.words[self.feed] = self.words[self.feed].wrapping_add(self.words[self.tap]);
        self.words[self.feed]
    }

    /// The next number, as Go's `Rand.Uint32` gives it.
    pub fn u32(&mut self) -> u32 {
        ((self.word() & (u64::MAX >> 1)) >> 31) as u32
    }

    /// A number below `bound`, drawn as Go's `big.Int.Rand` does: words of 64 bits, cut to the length of
    /// `bound`, until one is below it.
    pub fn below(&mut self, bound: u128) -> u128 {
        let bits = u128::BITS - bound.leading_zeros();
        let words = bits.div_ceil(64);
        let top_mask = match bits % 64 {
            0 => u64::MAX,
            rest => (1u64 << rest) - 1,
        };
        loop {
            let mut number = 0u128;
            for word in 0..words {
                let mut drawn = u64::from(self.u32()) | u64::from(self.u32()) << 32;
                if word + 1 == words {
                    drawn &= top_mask;
                }
                number |= u128::from(drawn) << (64 * word);
            }
            if number < bound {
                return number;
            }
        }
    }
}

/// One step of Lehmer's generator: 48271 x modulo 2^31 - 1, by Schrage's method.
fn lehmer(x: i64) -> i64 {
    let (hi, lo) = (x / 44_488, x % 44_488);
    let x = 48_271 * lo - 3_399 * hi;
    if x < 0 { x + ((1 << 31) - 1) } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_one_yields_what_go_yields() {
        let mut rand = Rand::new(1);
        let drawn: Vec<u64> = (0..3).map(|_| rand.word() & (u64::MAX >> 1)).collect();
        assert_eq!(drawn, [5577006791947779410, 8674665223082153551, 6129484611666145821]);
    }

    /// Go's table is the state of the same generator after 7.8e12 steps, started from seed 1 with other
    /// shifts and an empty table. A step is x[n] = x[n-607] + x[n-273] mod 2^64. It is a multiplication by z
    /// modulo z^607 = z^334 + 1, so 7.8e12 steps are a multiplication by a power of z.
    #[test]
    fn the_table_is_computed() {
        assert_eq!(table(), COOKED.to_vec());
    }

    fn table() -> Vec<u64> {
        let mut x = 1i64;
        for _ in 0..20 {
            x = lehmer(x);
        }
        let mut start = vec![0u64; LEN];
        for word in start.iter_mut() {
            x = lehmer(x);
            let mut bits = (x as u64) << 20;
            x = lehmer(x);
            bits ^= (x as u64) << 10;
            x = lehmer(x);
            *word = bits ^ x as u64;
        }
        // Puts the words into the order of the recurrence: vec[feed-1] and the words below it are x[n-607]
        // and the words after that.
        let first = LEN - TAP;
        let sequence: Vec<u64> = (0..LEN).map(|i| start[(first + LEN - 1 - i) % LEN]).collect();
        let power = z_to(7_800_000_000_000);
        let after: Vec<u64> = (0..LEN)
            .map(|shift| {
                // With N for the number of steps: x[N + shift] = sum of power[i] * x[i + shift].
                let mut window = sequence.clone();
                for i in 0..shift {
                    let next = window[i].wrapping_add(window[i + LEN - TAP]);
                    window.push(next);
                }
                power
                    .iter()
                    .zip(&window[shift..])
                    .fold(0u64, |sum, (p, x)| sum.wrapping_add(p.wrapping_mul(*x)))
            })
            .collect();
        // After N steps, `feed` has moved down by N.
        let feed = (first as i128 - 7_800_000_000_000i128).rem_euclid(LEN as i128) as usize;
        let mut table = vec![0u64; LEN];
        for (i, value) in after.into_iter().enumerate() {
            table[(feed + LEN - 1 - i) % LEN] = value;
        }
        table
    }

    fn z_to(mut exponent: u64) -> Vec<u64> {
        let mut result = vec![0u64; LEN];
        result[0] = 1;
        let mut base = vec![0u64; LEN];
        base[1] = 1;
        while exponent > 0 {
            if exponent & 1 == 1 {
                result = multiply(&result, &base);
            }
            base = multiply(&base, &base);
            exponent >>= 1;
        }
        result
    }

    fn multiply(a: &[u64], b: &[u64]) -> Vec<u64> {
        let mut product = vec![0u64; 2 * LEN];
        for (i, x) in a.iter().enumerate().filter(|(_, x)| **x != 0) {
            for (j, y) in b.iter().enumerate() {
                product[i + j] = product[i + j].wrapping_add(x.wrapping_mul(*y));
            }
        }
        for i in (LEN..2 * LEN).rev() {
            let x = product[i];
            product[i - LEN] = product[i - LEN].wrapping_add(x);
            product[i - TAP] = product[i - TAP].wrapping_add(x);
        }
        product.truncate(LEN);
        product
    }
}
