//! Entries in numbered places that never move.
//!
//! Invariants: the places lie in chunks, so growing copies nothing and leaves at most one chunk
//! idle; a list that doubles would leave up to half of its room idle, and twice as much of it
//! in use while it grows. The place that was left last is taken first.

/// So many places are one allocation.
const CHUNK: usize = 512;

/// Entries by the numbers of their places.
#[derive(Debug)]
pub(super) struct Slots<T> {
    /// All but the last one have [`CHUNK`] places.
    chunks: Vec<Vec<Option<T>>>,
    /// The places that were left.
    free: Vec<u32>,
    len: usize,
}

impl<T> Slots<T> {
    pub(super) const fn new() -> Self {
        Self {
            chunks: Vec::new(),
            free: Vec::new(),
            len: 0,
        }
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// One past the last place that may be taken.
    pub(super) fn end(&self) -> usize {
        let last = self.chunks.last().map_or(0, Vec::len);
        self.chunks.len().saturating_sub(1) * CHUNK + last
    }

    /// For how many entries there is room without growing.
    pub(super) fn capacity(&self) -> usize {
        let last = self.chunks.last().map_or(0, Vec::capacity);
        self.chunks.len().saturating_sub(1) * CHUNK + last
    }

    /// The place that the next entry takes.
    pub(super) fn next(&self) -> usize {
        self.free
            .last()
            .map_or_else(|| self.end(), |at| *at as usize)
    }

    /// Takes the place [`Self::next`].
    pub(super) fn insert(&mut self, entry: T) {
        self.len += 1;
        let left = self.free.pop().map(|at| at as usize);
        if let Some(place) = left.and_then(|at| self.place(at)) {
            *place = Some(entry);
            return;
        }
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK => chunk.push(Some(entry)),
            // Small tables are many: their only chunk grows as a list does.
            None => self.chunks.push(vec![Some(entry)]),
            Some(_) => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(Some(entry));
                self.chunks.push(chunk);
            }
        }
    }

    /// Takes out the entry in this place.
    pub(super) fn remove(&mut self, at: usize) -> Option<T> {
        let entry = self.place(at)?.take()?;
        self.len -= 1;
        self.free.push(u32::try_from(at).unwrap_or(u32::MAX));
        Some(entry)
    }

    /// The entry in this place.
    pub(super) fn get(&self, at: usize) -> Option<&T> {
        self.chunks.get(at / CHUNK)?.get(at % CHUNK)?.as_ref()
    }

    /// The entry in this place.
    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.place(at)?.as_mut()
    }

    /// All entries with their places, in the order of these.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        let places = self.chunks.iter().flatten().enumerate();
        places.filter_map(|(at, place)| Some((at, place.as_ref()?)))
    }

    /// All entries, in the order of their places.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.chunks.iter_mut().flatten().flatten()
    }

    /// Gives back the room behind the last entry. After that the first free place is taken first.
    pub(super) fn shrink(&mut self) {
        while let Some(chunk) = self.chunks.last_mut() {
            while chunk.last().is_some_and(Option::is_none) {
                chunk.pop();
            }
            if !chunk.is_empty() {
                break;
            }
            self.chunks.pop();
        }
        if let [only] = &mut *self.chunks {
            only.shrink_to_fit();
        }
        self.chunks.shrink_to_fit();
        let end = self.end();
        self.free.retain(|at| (*at as usize) < end);
        self.free.shrink_to_fit();
        self.free.sort_unstable_by(|a, b| b.cmp(a));
    }

    fn place(&mut self, at: usize) -> Option<&mut Option<T>> {
        self.chunks.get_mut(at / CHUNK)?.get_mut(at % CHUNK)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn entries_stay_in_their_places_and_the_place_left_last_is_taken_first(
            steps in proptest::collection::vec((0..10_u8, any::<proptest::sample::Index>()), 0..3000),
        ) {
            let (mut slots, mut model, mut left) = (Slots::new(), BTreeMap::new(), Vec::new());
            for (n, (step, which)) in steps.into_iter().enumerate() {
                match step {
                    0..7 => {
                        let at = slots.next();
                        prop_assert_eq!(at, left.pop().unwrap_or(model.len()));
                        slots.insert(n);
                        prop_assert_eq!(model.insert(at, n), None);
                    }
                    7..9 if !model.is_empty() => {
                        let at = *which.get(&model.keys().copied().collect::<Vec<_>>());
                        prop_assert_eq!(slots.remove(at), model.remove(&at));
                        prop_assert_eq!(slots.remove(at), None);
                        left.push(at);
                    }
                    _ => {
                        slots.shrink();
                        let end = model.last_key_value().map_or(0, |(at, _)| at + 1);
                        left = (0..end).filter(|at| !model.contains_key(at)).rev().collect();
                        prop_assert_eq!(slots.end(), end);
                    }
                }
                prop_assert!(slots.capacity() < slots.end() + CHUNK);
            }
            prop_assert_eq!(slots.len(), model.len());
            let all: Vec<_> = slots.iter().map(|(at, n)| (at, *n)).collect();
            prop_assert_eq!(all, model.into_iter().collect::<Vec<_>>());
        }
    }
}
