//! Sets of the values of a small closed enum, in two bytes.

use std::{fmt, marker::PhantomData};

/// An enum of at most 16 values.
pub(super) trait SmallEnum: Copy + fmt::Debug + 'static {
    /// All of them.
    const ALL: &'static [Self];

    /// Its place among these.
    fn index(self) -> u32;
}

/// A set of such values.
pub(super) struct Set<T>(u16, PhantomData<T>);

impl<T: SmallEnum> Set<T> {
    pub(super) const EMPTY: Self = Self(0, PhantomData);

    pub(super) fn of(value: T) -> Self {
        Self(1 << value.index(), PhantomData)
    }

    pub(super) fn add(&mut self, value: T) {
        self.0 |= Self::of(value).0;
    }

    pub(super) fn add_if(&mut self, value: T, condition: bool) {
        if condition {
            self.add(value);
        }
    }

    pub(super) fn has(self, value: T) -> bool {
        self.0 & Self::of(value).0 != 0
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in this set and not in the other one.
    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0, PhantomData)
    }

    pub(super) fn iter(self) -> impl Iterator<Item = T> {
        T::ALL.iter().copied().filter(move |value| self.has(*value))
    }
}

impl<T> Clone for Set<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Set<T> {}

impl<T> PartialEq for Set<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Eq for Set<T> {}

impl<T: SmallEnum> fmt::Debug for Set<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
