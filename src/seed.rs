//! The seed of this process, from the randomness of the operating system.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::OnceLock,
};

use crate::model::Seed;

/// The same for the whole life of the process, another one in each.
pub fn of_process() -> Seed {
    static SEED: OnceLock<Seed> = OnceLock::new();
    // The standard library keys its hasher with the system's randomness, and from each key SipHash
    // makes a number that reveals nothing of it.
    *SEED.get_or_init(|| Seed::new([0; 2].map(|_: u8| RandomState::new().hash_one(0_u8))))
}
