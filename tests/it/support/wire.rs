//! Messages and streams of any shape.

use k8s_relay::wire::{Reader, Row, StreamError};
use proptest::prelude::*;

pub fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "odd number of hex digits");
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// The wire form of an arbitrary message, laid out by its row and not by the encoder.
/// `max_text` bounds each of its texts.
pub fn any_message(max_text: usize) -> impl Strategy<Value = Vec<u8>> {
    let text = (0..=max_text, any::<u32>()).prop_map(|(len, seed)| text_of(len, seed));
    let texts = prop::collection::vec(text, 6);
    let row = prop::sample::select(Row::ALL);
    (
        row,
        any::<u64>(),
        prop::collection::vec(any::<u8>(), 54),
        texts,
    )
        .prop_map(|(row, timestamp, mut body, texts)| {
            let texts = &texts[..row.texts];
            body.truncate(row.size);
            put(&mut body, 0, row.id);
            if let Some((_, slotted)) = texts.split_last() {
                for (n, text) in slotted.iter().enumerate() {
                    put(&mut body, row.slots + 2 * n, text.len() as u16);
                }
                body.extend(texts.concat());
                let len = body.len() as u16;
                put(&mut body, 2, len);
            }
            [&timestamp.to_le_bytes()[..], &body].concat()
        })
}

/// Bytes of any kind that depend on few choices, so that cases are cheap to make and to shrink:
/// a run of one byte, or noise.
fn text_of(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let step = if seed.is_multiple_of(3) {
        0
    } else {
        0x9e37_79b9
    };
    let next = |_| {
        state = state.wrapping_mul(1 | step & 0xffff).wrapping_add(step);
        (state >> 13) as u8
    };
    (0..len).map(next).collect()
}

fn put(body: &mut [u8], at: usize, word: u16) {
    body[at..at + 2].copy_from_slice(&word.to_le_bytes());
}

/// Feeds `bytes` in pieces of the given sizes, again and again, and returns each message as the
/// bytes it is encoded to.
pub fn read_in_pieces(bytes: &[u8], sizes: &[usize]) -> Result<Vec<Vec<u8>>, StreamError> {
    let mut reader = Reader::new();
    let mut messages = Vec::new();
    let mut rest = bytes;
    for &size in sizes.iter().cycle() {
        let (piece, after) = rest.split_at(size.min(rest.len()));
        reader.push(piece);
        while let Some((timestamp, message)) = reader.next_message()? {
            let mut bytes = Vec::new();
            message.encode(timestamp, &mut bytes).unwrap();
            messages.push(bytes);
        }
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    reader.finish().map(|()| messages)
}
