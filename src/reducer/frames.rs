//! Where frames end among the bytes that wait, for a connection that writes one frame at a time
//! and may have to stop between two (D19). Pure.
//!
//! What the session says of itself while pods are held up goes *aside*: complete frames of its
//! own, written between two others. They never pass the reducer handshake.

use std::collections::VecDeque;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// Bytes left of each frame that waits; which are of the session itself.
    left: VecDeque<(usize, bool)>,
    /// The first of them is half written.
    begun: bool,
    aside: Vec<u8>,
    aside_sent: usize,
}

/// What may be written now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// What is left aside.
    Aside,
    /// So many of the bytes that wait; whether they are of the session itself.
    Bytes(usize, bool),
}

impl Frames {
    /// A frame of so many bytes waits behind the others.
    pub(super) fn push(&mut self, len: usize) {
        if len > 0 {
            self.left.push_back((len, false));
        }
    }

    /// All that waits now is of the session itself.
    pub(super) fn are_control(&mut self) {
        for (_, control) in &mut self.left {
            *control = true;
        }
    }

    /// Nothing waits aside.
    pub(super) fn has_room_aside(&self) -> bool {
        self.aside.is_empty()
    }

    /// These complete frames may pass what waits.
    pub(super) fn put_aside(&mut self, frames: Vec<u8>) {
        self.aside = frames;
        self.aside_sent = 0;
    }

    /// What is left aside.
    pub(super) fn aside(&self) -> &[u8] {
        self.aside.get(self.aside_sent..).unwrap_or_default()
    }

    /// What may be written: `may_begin` a frame of pods, `may_end` one.
    pub(super) fn next(&self, may_begin: bool, may_end: bool) -> Option<Next> {
        let front = self.left.front().copied();
        if self.aside_is_next() {
            return Some(Next::Aside);
        }
        let (len, control) = front?;
        let may = control || if self.begun { may_end } else { may_begin };
        may.then_some(Next::Bytes(len, control))
    }

    /// So many bytes of what [`Frames::next`] said were written. Whether they were aside.
    pub(super) fn advance(&mut self, len: usize) -> bool {
        if self.aside_is_next() {
            self.aside_sent += len;
            if self.aside_sent >= self.aside.len() {
                self.put_aside(Vec::new());
            }
            return true;
        }
        if let Some((left, _)) = self.left.front_mut() {
            *left = left.saturating_sub(len);
            self.begun = *left > 0;
            if !self.begun {
                self.left.pop_front();
            }
        }
        false
    }

    /// Whether no frame is half written.
    pub(super) fn is_between(&self) -> bool {
        !self.begun && self.aside.is_empty()
    }

    fn aside_is_next(&self) -> bool {
        let handshake = self.left.front().is_some_and(|(_, control)| *control);
        let within = self.begun || handshake;
        !self.aside.is_empty() && (self.aside_sent > 0 || !within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_passes_between_two_frames_and_never_within_one() {
        let mut frames = Frames::default();
        frames.push(10);
        frames.push(20);
        frames.put_aside(vec![0; 4]);
        assert_eq!(frames.next(false, false), Some(Next::Aside));
        assert!(frames.advance(3));
        assert_eq!(frames.next(true, true), Some(Next::Aside), "it ends first");
        assert!(frames.advance(1));
        assert_eq!(frames.next(false, true), None);
        assert_eq!(frames.next(true, true), Some(Next::Bytes(10, false)));
        assert!(!frames.advance(9));
        frames.put_aside(vec![0; 4]);
        assert_eq!(frames.next(false, false), None, "half a frame is out");
        assert_eq!(frames.next(false, true), Some(Next::Bytes(1, false)));
        frames.advance(1);
        assert_eq!(frames.next(false, true), Some(Next::Aside));
    }

    #[test]
    fn the_handshake_is_first_and_nothing_holds_it_up() {
        let mut frames = Frames::default();
        frames.push(5);
        frames.push(6);
        frames.are_control();
        frames.push(7);
        frames.put_aside(vec![0; 4]);
        for len in [5, 6] {
            assert_eq!(frames.next(false, false), Some(Next::Bytes(len, true)));
            frames.advance(len);
        }
        assert_eq!(frames.next(false, false), Some(Next::Aside));
        frames.advance(4);
        assert_eq!(frames.next(false, false), None);
        assert!(frames.is_between() && frames.has_room_aside());
    }
}
