//! Sets of addresses as disjoint ranges of numbers.

/// Disjoint ranges in ascending order, each as its first and last number. Adjacent ranges are merged into
/// one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges(Vec<(u128, u128)>);

impl Ranges {
    /// The union of ranges.
    pub fn of(ranges: impl IntoIterator<Item = (u128, u128)>) -> Ranges {
        let mut all: Vec<(u128, u128)> = ranges.into_iter().collect();
        all.sort_unstable();
        let mut merged: Vec<(u128, u128)> = Vec::with_capacity(all.len());
        for (start, end) in all {
            match merged.last_mut() {
                Some((_, last)) if start <= last.saturating_add(1) => *last = end.max(*last),
                _ => merged.push((start, end)),
            }
        }
        Ranges(merged)
    }

    /// Whether there are no ranges.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All ranges, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = (u128, u128)> + '_ {
        self.0.iter().copied()
    }

    /// The first range that contains a number from `first` to `last`.
    pub fn meeting(&self, first: u128, last: u128) -> Option<(u128, u128)> {
        let at = self.0.partition_point(|(_, end)| *end < first);
        self.0.get(at).copied().filter(|(start, _)| *start <= last)
    }

    /// The range that contains all numbers from `first` to `last`.
    pub fn covering(&self, first: u128, last: u128) -> Option<(u128, u128)> {
        self.meeting(first, first).filter(|(_, end)| *end >= last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_are_one_and_the_rest_stay_apart() {
        let ranges = Ranges::of([(10, 19), (0, 4), (20, 29), (12, 13), (40, u128::MAX), (41, 50)]);
        assert_eq!(ranges.iter().collect::<Vec<_>>(), [(0, 4), (10, 29), (40, u128::MAX)]);
        for (first, last, meeting, covering) in [
            (0, 0, Some((0, 4)), true),
            (5, 9, None, false),
            (4, 12, Some((0, 4)), false),
            (5, 12, Some((10, 29)), false),
            (10, 29, Some((10, 29)), true),
            (29, 30, Some((10, 29)), false),
            (u128::MAX, u128::MAX, Some((40, u128::MAX)), true),
        ] {
            assert_eq!(ranges.meeting(first, last), meeting, "{first} to {last}");
            assert_eq!(ranges.covering(first, last).is_some(), covering, "{first} to {last}");
        }
        assert!(Ranges::of([]).is_empty() && Ranges::default().meeting(0, u128::MAX).is_none());
    }
}
