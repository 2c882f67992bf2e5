//! Random numbers that depend only on the seed, the purpose and the index.
//!
//! Each object has its own ChaCha8 stream for each purpose. So any thread can draw any object at any time, and the survey
//! has the same bytes.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The purpose of a stream of random numbers. The streams of different purposes are independent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Parent, magnitudes, redshift and position of an object.
    Truth = 1,
    /// Type, size and shape of a galaxy.
    Shape,
    /// The other objects in the frame.
    Neighbours,
    /// Seeing and noise of one observation.
    Observation,
    /// The order of rows within a drop.
    RowOrder,
    /// Which earlier objects a drop corrects and withdraws.
    Targets,
    /// Which rows have a fault.
    BadRows,
    /// Which objects have a spec-z from the start.
    HasSpecZ,
    /// Which spec-z drop an object is in.
    SpecZ,
    /// The `object_id` of each object.
    ObjectId,
    /// Which parents are for training.
    Parents,
    /// The errors of the magnitudes of one observation.
    Magnitudes,
}

/// The stream for `purpose` and `index` of the survey with this seed.
pub fn stream(seed: u64, purpose: Purpose, index: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&(purpose as u64).to_le_bytes());
    let mut rng = ChaCha8Rng::from_seed(key);
    rng.set_stream(index);
    rng
}

/// A number in `[0, 1)` for `purpose` and `index`. It takes less time than a [`stream`].
pub fn uniform(seed: u64, purpose: Purpose, index: u64) -> f64 {
    (mix(key(seed, purpose) ^ mix(index)) >> 11) as f64 * (-53f64).exp2()
}

/// A key for one purpose of one seed.
pub fn key(seed: u64, purpose: Purpose) -> u64 {
    mix(mix(seed) ^ (purpose as u64))
}

/// Mixes 64 bits, one to one, with the finaliser of SplitMix64 (Steele et al. 2014).
pub fn mix(value: u64) -> u64 {
    let mut x = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A permutation of `0..len` in constant memory: a Feistel network with cycle walking (Black and Rogaway 2002).
#[derive(Debug, Clone, Copy)]
pub struct Shuffle {
    len: u64,
    half_bits: u32,
    key: u64,
}

impl Shuffle {
    /// The permutation of `0..len` that `key` selects. `len` is at most 2^62.
    pub fn new(len: u64, key: u64) -> Self {
        assert!(
            len <= 1 << 62,
            "invariant: a shuffle has at most 2^62 positions"
        );
        let bits = u64::BITS - len.saturating_sub(1).leading_zeros();
        Self {
            len,
            half_bits: bits.div_ceil(2).max(1),
            key,
        }
    }

    /// The image of `position`, which must be below the length.
    pub fn at(&self, position: u64) -> u64 {
        assert!(
            position < self.len,
            "invariant: the position is below the length of the shuffle"
        );
        let mut place = self.round_trip(position);
        while place >= self.len {
            place = self.round_trip(place);
        }
        place
    }

    fn round_trip(&self, position: u64) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        let (mut left, mut right) = (position >> self.half_bits, position & mask);
        for round in 0..4 {
            let mixed = mix(self.key ^ mix(right ^ (round << 56))) & mask;
            (left, right) = (right, left ^ mixed);
        }
        (left << self.half_bits) | right
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    proptest! {
        #[test]
        fn a_shuffle_is_a_permutation(len in 1u64..500, key: u64) {
            let shuffle = Shuffle::new(len, key);
            let places: HashSet<u64> = (0..len).map(|position| shuffle.at(position)).collect();
            prop_assert_eq!(places.len() as u64, len);
            prop_assert!(places.iter().all(|&place| place < len));
        }
    }

    #[test]
    fn uniform_numbers_are_uniform() {
        let mean = (0..10_000)
            .map(|index| uniform(7, Purpose::HasSpecZ, index))
            .sum::<f64>()
            / 10_000.0;
        assert!((mean - 0.5).abs() < 0.015, "mean {mean}");
    }
}
