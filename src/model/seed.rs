//! What the hashes of a process depend on, so that nobody outside can choose colliding texts.
//!
//! Names, images and ids come from tenants of a cluster. With a known hash somebody could make
//! thousands of them meet in one place of a table, or hide a container behind another one's hash.
//! A seed is an argument: what is pure stays pure, and nothing that is sent depends on it.

use std::hash::{BuildHasher as _, Hash};

use foldhash::{SharedSeed, fast, quality};

/// The seed of a process.
#[derive(Clone, Copy, Debug)]
pub struct Seed {
    hasher: u64,
    /// Without one of its own, texts could be chosen that collide whatever `hasher` is.
    shared: &'static SharedSeed,
}

impl Seed {
    /// For tests, and for tools that read nothing but what they have made themselves.
    pub const FIXED: Self = Self {
        hasher: 0,
        shared: SharedSeed::global_fixed(),
    };

    /// Of random numbers. To be made once in a process: its 48 bytes are never freed.
    pub fn new([hasher, shared]: [u64; 2]) -> Self {
        Self {
            hasher,
            shared: Box::leak(Box::new(SharedSeed::from_u64(shared))),
        }
    }

    /// A hash for finding something in a table, where equality is checked as well.
    #[inline]
    pub fn hash(self, of: &(impl Hash + ?Sized)) -> u64 {
        self.state().hash_one(of)
    }

    /// A hash that stands for the thing itself: two things would have to collide in 64 bits to
    /// be taken for one.
    #[inline]
    pub fn fingerprint(self, of: &(impl Hash + ?Sized)) -> u64 {
        quality::SeedableRandomState::with_seed(self.hasher, self.shared).hash_one(of)
    }

    /// For the sets and maps of hashbrown.
    #[inline]
    pub fn state(self) -> fast::SeedableRandomState {
        fast::SeedableRandomState::with_seed(self.hasher, self.shared)
    }
}

impl PartialEq for Seed {
    fn eq(&self, other: &Self) -> bool {
        self.hasher == other.hasher && std::ptr::eq(self.shared, other.shared)
    }
}

impl Eq for Seed {}

impl Default for Seed {
    /// [`Self::FIXED`]: a module that reads what others send has to give another one.
    fn default() -> Self {
        Self::FIXED
    }
}

/// What tables keep of a hash: half of the bits are as good as the other half.
#[inline]
pub(super) fn half(hash: u64) -> u32 {
    hash as u32
}

/// A kept hash for a table that takes a place from the low bits and a tag from the high ones.
#[inline]
pub(super) fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_of_a_seed_gives_other_hashes() {
        let seeds = [[0, 0], [1, 0], [0, 1], [1, 1]].map(Seed::new);
        let kinds: [fn(Seed, &str) -> u64; 2] =
            [|s, text| s.hash(text), |s, text| s.fingerprint(text)];
        for hash in kinds {
            for text in [
                "",
                "web-0",
                "a text that is longer than two words of 64 bits",
            ] {
                let hashes: std::collections::BTreeSet<_> =
                    seeds.iter().map(|seed| hash(*seed, text)).collect();
                assert_eq!(hashes.len(), seeds.len(), "{text}");
                assert_eq!(hash(seeds[0], text), hash(seeds[0], text));
            }
        }
    }
}
