//! Random numbers that are the same for the same seed.
use std::ops::Range;

/// A seeded generator of random numbers (SplitMix64).
#[derive(Clone, Debug)]
pub struct Seeded(pub u64);

impl Seeded {
    /// A number in a range.
    pub fn below(&mut self, range: Range<usize>) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        range.start + (mixed ^ (mixed >> 31)) as usize % range.len()
    }

    /// A text of lowercase letters.
    pub fn text(&mut self, letters: usize) -> String {
        (0..letters)
            .map(|_| char::from(b'a' + self.below(0..26) as u8))
            .collect()
    }

    /// Shuffles items in place.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(0..last + 1));
        }
    }
}
