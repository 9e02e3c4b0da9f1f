//! Messages that wait for a relay, counted in bytes.

use std::collections::VecDeque;

use bytes::Bytes;

/// What a message costs in addition to its bytes.
const OVERHEAD: usize = 64;

/// A queue that holds a bounded number of bytes, or one message of any length; or what was
/// [appended](Self::append).
#[derive(Debug)]
pub struct Backlog {
    limit: usize,
    messages: VecDeque<Bytes>,
    bytes: usize,
}

/// There is no room for the message, which is given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Full(pub Bytes);

impl Backlog {
    /// An empty one for so many bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            messages: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Adds a message at the end.
    ///
    /// # Errors
    /// [`Full`], and nothing is changed.
    pub fn push(&mut self, message: Bytes) -> Result<(), Full> {
        let bytes = self.bytes + cost(&message);
        if bytes > self.limit && !self.messages.is_empty() {
            return Err(Full(message));
        }
        self.bytes = bytes;
        self.messages.push_back(message);
        Ok(())
    }

    /// Adds messages at the end, whether there is room or not: who adds them waits for that.
    pub fn append(&mut self, messages: VecDeque<Bytes>) {
        self.bytes += messages.iter().map(cost).sum::<usize>();
        self.messages.extend(messages);
    }

    /// Moves messages from the front to `into`: the first, and more until they have so many bytes.
    pub fn take(&mut self, bytes: usize, into: &mut VecDeque<Bytes>) {
        let mut taken = 0;
        while taken < bytes
            && let Some(message) = self.messages.pop_front()
        {
            taken += cost(&message);
            into.push_back(message);
        }
        self.bytes -= taken;
    }

    /// Throws away all messages.
    pub fn clear(&mut self) {
        self.messages = VecDeque::new();
        self.bytes = 0;
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Whether more may come without need: less than the limit waits.
    pub fn has_room(&self) -> bool {
        self.bytes < self.limit
    }

    /// What the waiting messages cost.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

fn cost(message: &Bytes) -> usize {
    message.len() + OVERHEAD
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn a_backlog_keeps_order_and_never_holds_more_than_its_limit_or_one_message(
            steps in vec((any::<bool>(), 0..500_usize), 0..80),
        ) {
            const LIMIT: usize = 1_000;
            let mut backlog = Backlog::new(LIMIT);
            let (mut pushed, mut taken) = (0_u32, VecDeque::new());
            for (push, size) in steps {
                if push {
                    let message: Bytes = [&pushed.to_le_bytes()[..], &vec![0; size * 5]].concat().into();
                    let was_empty = backlog.is_empty();
                    match backlog.push(message) {
                        Ok(()) => pushed += 1,
                        Err(Full(_)) => prop_assert!(!was_empty),
                    }
                } else {
                    backlog.take(size, &mut taken);
                }
                let waiting = backlog.messages.len();
                prop_assert!(backlog.bytes() <= LIMIT || waiting == 1);
                prop_assert_eq!(backlog.bytes(), backlog.messages.iter().map(cost).sum::<usize>());
            }
            backlog.take(usize::MAX, &mut taken);
            prop_assert!(backlog.is_empty() && backlog.has_room());
            let numbers: Vec<u32> = taken
                .iter()
                .map(|message| u32::from_le_bytes(message[..4].try_into().unwrap()))
                .collect();
            prop_assert_eq!(numbers, (0..pushed).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_was_cleared_leaves_room() {
        let mut backlog = Backlog::new(10);
        backlog.push(Bytes::from_static(&[0; 100])).unwrap();
        assert_eq!(backlog.push(Bytes::new()), Err(Full(Bytes::new())));
        backlog.clear();
        assert_eq!((backlog.bytes(), backlog.is_empty()), (0, true));
        backlog.push(Bytes::new()).unwrap();
    }

    #[test]
    fn what_is_appended_is_kept_beyond_the_limit_and_leaves_no_room() {
        let mut backlog = Backlog::new(200);
        backlog.append([Bytes::from_static(&[1; 100]), Bytes::from_static(&[2; 100])].into());
        assert!(!backlog.has_room());
        let mut taken = VecDeque::new();
        backlog.take(1, &mut taken);
        assert_eq!((taken.len(), backlog.bytes()), (1, 164));
        assert!(backlog.has_room());
    }
}
