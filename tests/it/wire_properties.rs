//! What holds for all messages and all streams.

use std::io::Write as _;

use k8s_relay::wire::lz4::{FrameError, MAX_PLAIN};
use k8s_relay::wire::messages::*;
use k8s_relay::wire::{DecodeError, Encode, Reader, Row, StreamError, TooLong, Writer, decode};
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use proptest::prelude::*;

use crate::support::wire::{any_message, read_in_pieces, unhex};

/// The same bytes with zeros where no field is.
fn without_padding(bytes: &[u8]) -> Vec<u8> {
    let (timestamp, message, _) = decode(bytes).unwrap().unwrap();
    let mut written = Vec::new();
    message.encode(timestamp, &mut written).unwrap();
    written
}

proptest! {
    #[test]
    fn decoding_inverts_encoding(bytes in any_message(300)) {
        let (timestamp, message, len) = decode(&bytes).unwrap().unwrap();
        prop_assert_eq!(len, bytes.len());
        prop_assert_eq!(message.encoded_len(), len);
        let written = without_padding(&bytes);
        prop_assert_eq!(decode(&written).unwrap().unwrap(), (timestamp, message, len));
        let padding = bytes.iter().zip(&written).filter(|(theirs, ours)| theirs != ours);
        let allowed = match message.row().id { 310 | 536 => 2, 356 | 390 => 6, _ => 0 };
        prop_assert!(padding.count() <= allowed);
    }

    #[test]
    fn a_prefix_of_a_message_asks_for_more(bytes in any_message(40)) {
        for len in 0..bytes.len() {
            prop_assert_eq!(decode(&bytes[..len]), Ok(None));
        }
    }

    #[test]
    fn no_mutation_of_a_message_panics(
        bytes in any_message(40),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
    ) {
        let mut bytes = bytes;
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(Some((_, message, len))) = decode(&bytes) {
            prop_assert_eq!(message.encoded_len(), len);
            prop_assert!(len <= bytes.len());
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_the_writer_makes_is_read_back_at_any_cut(
        messages in prop::collection::vec(any_message(900), 1..60),
        flushes in prop::collection::vec(any::<bool>(), 60),
        sizes in prop::collection::vec(1..5000_usize, 1..6),
    ) {
        let (mut writer, mut out) = (Writer::new(), Vec::new());
        for (bytes, flush) in messages.iter().zip(flushes) {
            push_any(&mut writer, bytes, &mut out).unwrap();
            prop_assert!(writer.pending() <= MAX_PLAIN);
            if flush {
                writer.flush(&mut out);
            }
        }
        writer.flush(&mut out);
        prop_assert_eq!(writer.pending(), 0);
        let expected: Vec<_> = messages.iter().map(|bytes| without_padding(bytes)).collect();
        prop_assert_eq!(read_in_pieces(&out, &sizes).unwrap(), expected);
        let mut reader = Reader::new();
        reader.push(&out);
        while reader.next_message().unwrap().is_some() {}
        prop_assert!(reader.counters().largest_block <= MAX_PLAIN);
        prop_assert_eq!(reader.counters().blocks, reader.counters().frames);
    }

    #[test]
    fn any_legal_sequence_of_frames_is_read_at_any_cut(
        messages in prop::collection::vec(any_message(2000), 1..80),
        frames in prop::collection::vec(any_frame(), 1..6),
        sizes in prop::collection::vec(1..70_000_usize, 1..4),
    ) {
        let mut plain = messages.concat();
        let first = messages[0].len();
        let mut out: Vec<u8> = plain.drain(..first).collect();
        let share = plain.len() / frames.len() + 1;
        let mut parts = plain.chunks(share);
        for frame in &frames {
            frame.write(parts.next().unwrap_or_default(), &mut out);
        }
        let expected: Vec<_> = messages.iter().map(|bytes| without_padding(bytes)).collect();
        prop_assert_eq!(read_in_pieces(&out, &sizes).unwrap(), expected);
    }

    #[test]
    fn no_mutation_of_a_stream_panics(
        messages in prop::collection::vec(any_message(100), 1..10),
        frame in any_frame(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut out = messages[0].clone();
        frame.write(&messages[1..].concat(), &mut out);
        for (at, byte) in changes {
            let at = at.index(out.len());
            out[at] = byte;
        }
        let mut reader = Reader::new();
        reader.push(&out);
        let end = loop {
            match reader.next_message() {
                Ok(Some(_)) => {}
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        if let Some(error) = end {
            prop_assert_eq!(reader.next_message(), Err(error), "an error stays");
        }
    }
}

/// Pushes a message given as its bytes.
fn push_any(writer: &mut Writer, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), TooLong> {
    let (timestamp, message, _) = decode(bytes).unwrap().unwrap();
    macro_rules! each {
        ($($name:ident),+) => {
            match message {
                $(Message::$name(message) => writer.push(timestamp, &message, out).map(drop),)+
            }
        };
    }
    each!(
        VersionInfo,
        Connect,
        ReportCpuCores,
        SetConfigLabel,
        CloudPlatform,
        CloudPlatformAccountInfo,
        SetNodeInfo,
        PrivateIpv4Addr,
        Ipv6Addr,
        PublicToPrivateIpv4,
        MetadataComplete,
        Heartbeat,
        CollectorHealth,
        AgentResourceUsage,
        PodNewWithName,
        PodContainer,
        PodDelete,
        PodResync,
        LogMessage,
        HealthCheck,
        PodNewLegacy,
        PodNewLegacy2,
        PodContainerLegacy
    )
}

/// One way to put bytes into a frame.
#[derive(Clone, Debug)]
struct AnyFrame {
    info: FrameInfo,
    declare_size: bool,
    flush_every: usize,
    skippable_after: Option<Vec<u8>>,
    empty_after: bool,
}

fn any_frame() -> impl Strategy<Value = AnyFrame> {
    let block_size = prop::sample::select(vec![
        BlockSize::Max64KB,
        BlockSize::Max256KB,
        BlockSize::Max1MB,
        BlockSize::Max4MB,
    ]);
    let shape = (
        block_size,
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    );
    let after = prop::option::of(prop::collection::vec(any::<u8>(), 0..50));
    (shape, 1..100_000_usize, after, any::<bool>()).prop_map(
        |(
            (block_size, linked, block_sums, content_sum, declare_size),
            flush_every,
            skippable_after,
            empty_after,
        )| {
            let mode = if linked {
                BlockMode::Linked
            } else {
                BlockMode::Independent
            };
            let info = FrameInfo::new()
                .block_size(block_size)
                .block_mode(mode)
                .block_checksums(block_sums)
                .content_checksum(content_sum);
            AnyFrame {
                info,
                declare_size,
                flush_every,
                skippable_after,
                empty_after,
            }
        },
    )
}

impl AnyFrame {
    fn write(&self, plain: &[u8], out: &mut Vec<u8>) {
        let size = self.declare_size.then_some(plain.len() as u64);
        let mut encoder =
            FrameEncoder::with_frame_info(self.info.clone().content_size(size), &mut *out);
        for part in plain.chunks(self.flush_every) {
            encoder.write_all(part).unwrap();
            encoder.flush().unwrap();
        }
        encoder.finish().unwrap();
        if let Some(skipped) = &self.skippable_after {
            out.extend(0x184d_2a57_u32.to_le_bytes());
            out.extend((skipped.len() as u32).to_le_bytes());
            out.extend(skipped);
        }
        if self.empty_after {
            out.extend(unhex("04224d184040c000000000"));
        }
    }
}

fn handshake_done() -> (Vec<u8>, Writer) {
    let (mut out, mut writer) = (Vec::new(), Writer::new());
    writer
        .push(
            1,
            &VersionInfo {
                major: 0,
                minor: 11,
                patch: 0,
            },
            &mut out,
        )
        .unwrap();
    (out, writer)
}

#[test]
fn blocks_of_four_mebibytes_are_read_linked_or_not() {
    let uid = vec![b'u'; 30_000];
    let mut plain = Vec::new();
    for n in 0..400 {
        PodDelete {
            uid: &uid[..20_000 + n],
        }
        .encode(n as u64, &mut plain)
        .unwrap();
    }
    for mode in [BlockMode::Linked, BlockMode::Independent] {
        let (mut out, _) = handshake_done();
        let info = FrameInfo::new()
            .block_size(BlockSize::Max4MB)
            .block_mode(mode)
            .content_checksum(true);
        let mut encoder = FrameEncoder::with_frame_info(info, &mut out);
        encoder.write_all(&plain).unwrap();
        encoder.finish().unwrap();
        for sizes in [vec![usize::MAX], vec![1], vec![7, 65_536]] {
            assert_eq!(read_in_pieces(&out, &sizes).unwrap()[1..].concat(), plain);
        }
        let mut reader = Reader::new();
        reader.push(&out);
        while reader.next_message().unwrap().is_some() {}
        assert_eq!(reader.counters().frames, 1);
        assert_eq!(reader.counters().largest_block, 4 << 20);
        assert_eq!(reader.counters().plain_bytes, plain.len() as u64);
    }
}

#[test]
fn a_frame_that_never_ends_sends_its_messages_as_they_come() {
    let (mut out, _) = handshake_done();
    let mut reader = Reader::new();
    reader.push(&out);
    assert!(reader.next_message().unwrap().is_some());
    out.clear();
    let mut encoder = FrameEncoder::new(Vec::new());
    let mut sent = 0;
    for n in 0..200_u64 {
        let mut plain = Vec::new();
        PodResync { resync_count: n }.encode(n, &mut plain).unwrap();
        encoder.write_all(&plain).unwrap();
        encoder.flush().unwrap();
        reader.push(&encoder.get_ref()[sent..]);
        sent = encoder.get_ref().len();
        assert_eq!(
            reader.next_message().unwrap(),
            Some((n, PodResync { resync_count: n }.into()))
        );
        assert_eq!(reader.next_message().unwrap(), None);
    }
    reader
        .finish()
        .expect("the frame was not ended, yet nothing is missing");
}

#[test]
fn a_frame_is_filled_to_its_last_byte_and_not_beyond() {
    let (mut out, mut writer) = handshake_done();
    let uid = vec![b'u'; MAX_PLAIN];
    let exact = PodDelete {
        uid: &uid[..MAX_PLAIN - 12],
    };
    let over = PodDelete {
        uid: &uid[..MAX_PLAIN - 11],
    };
    assert_eq!(exact.encoded_len(), MAX_PLAIN);
    writer.push(1, &exact, &mut out).unwrap();
    assert_eq!((writer.pending(), out.len()), (MAX_PLAIN, 24));

    let refused = TooLong {
        name: "pod_delete",
        len: MAX_PLAIN + 1,
        limit: MAX_PLAIN,
    };
    assert_eq!(writer.push(1, &over, &mut out), Err(refused));
    assert_eq!(
        (writer.pending(), out.len()),
        (MAX_PLAIN, 24),
        "a refused message changes nothing"
    );

    writer.push(1, &Heartbeat {}, &mut out).unwrap();
    assert_eq!(writer.pending(), 10, "the full frame has left");
    let first = out.len();
    assert!(first > 24);
    writer.flush(&mut out);

    let mut reader = Reader::new();
    reader.push(&out[..first]);
    assert_eq!(reader.next_message().unwrap().unwrap().1.row().id, 310);
    assert_eq!(reader.next_message().unwrap(), Some((1, exact.into())));
    assert_eq!(reader.next_message().unwrap(), None);
    reader.push(&out[first..]);
    assert_eq!(
        reader.next_message().unwrap(),
        Some((1, Heartbeat {}.into()))
    );
    assert_eq!(reader.counters().frames, 2);
    assert_eq!(reader.counters().largest_block, MAX_PLAIN);
}

#[test]
fn the_longest_body_has_65535_bytes_and_nothing_longer_leaves_a_trace() {
    let uid = vec![b'u'; 70_000];
    let mut out = vec![7];
    let over = PodDelete {
        uid: &uid[..65_532],
    }
    .encode(1, &mut out)
    .unwrap_err();
    assert_eq!(
        over.to_string(),
        "pod_delete takes 65544 bytes, more than 65543"
    );
    assert_eq!(out, [7]);
    PodDelete {
        uid: &uid[..65_531],
    }
    .encode(1, &mut out)
    .unwrap();
    let (_, message, len) = decode(&out[1..]).unwrap().unwrap();
    assert_eq!(
        (message, len),
        (
            PodDelete {
                uid: &uid[..65_531]
            }
            .into(),
            65_543
        )
    );

    // Texts that each fit into their length, but not together.
    let pod = PodContainer {
        uid: &uid[..40_000],
        container_id: &uid[..40_000],
        container_name: b"",
        container_image: b"",
    };
    let before = out.len();
    assert!(pod.encode(1, &mut out).is_err());
    assert_eq!(out.len(), before);
}

#[test]
fn lengths_that_contradict_each_other_are_refused() {
    let stamp = "0000000000000000";
    for (body, error) in [
        ("0f00", DecodeError::UnknownId(15)),
        ("6001", DecodeError::UnknownId(352)),
        (
            "67010300",
            DecodeError::ShorterThanFixed {
                name: "pod_delete",
                len: 3,
                fixed: 4,
            },
        ),
        (
            "67010000",
            DecodeError::ShorterThanFixed {
                name: "pod_delete",
                len: 0,
                fixed: 4,
            },
        ),
        (
            "a00108000300abcd",
            DecodeError::TextsTooLong {
                name: "set_config_label",
                texts: 3,
                room: 2,
            },
        ),
        (
            "ee010c000100ffff0000abcd",
            DecodeError::TextsTooLong {
                name: "pod_container",
                texts: 65_536,
                room: 2,
            },
        ),
    ] {
        assert_eq!(
            decode(&unhex(&format!("{stamp}{body}"))),
            Err(error),
            "{body}"
        );
    }
}

#[test]
fn a_broken_stream_says_what_is_wrong_and_where() {
    let heartbeat = "0100000000000000".to_owned() + "8801";
    let frame = |header: &str, rest: &str| format!("04224d18{header}{rest}");
    for (what, bytes, expected) in [
        (
            "no frame",
            "02214c18".to_owned(),
            FrameError::Magic(0x184c_2102),
        ),
        (
            "version 0",
            frame("004082", ""),
            FrameError::Descriptor {
                flags: 0,
                block: 0x40,
            },
        ),
        (
            "reserved bit",
            frame("4240c0", ""),
            FrameError::Descriptor {
                flags: 0x42,
                block: 0x40,
            },
        ),
        (
            "block size 3",
            frame("4030c0", ""),
            FrameError::Descriptor {
                flags: 0x40,
                block: 0x30,
            },
        ),
        (
            "header checksum",
            frame("4040c1", ""),
            FrameError::Checksum {
                of: "header",
                found: 0xc0,
                stated: 0xc1,
            },
        ),
        (
            "a block of 64 KiB and one",
            frame("4040c0", "01000180"),
            FrameError::BlockTooLarge { limit: 65_536 },
        ),
    ] {
        let (mut out, _) = handshake_done();
        let mut reader = Reader::new();
        out.extend(unhex(&bytes));
        reader.push(&out);
        assert!(reader.next_message().unwrap().is_some());
        let at = if bytes.ends_with("01000180") { 31 } else { 24 };
        assert_eq!(
            reader.next_message(),
            Err(StreamError::Frame {
                at,
                source: expected
            }),
            "{what}"
        );
    }

    let mut reader = Reader::new();
    reader.push(&unhex("00000000000000000f00"));
    assert_eq!(
        reader.next_message().unwrap_err().to_string(),
        "at plain byte 0: unknown message id 15"
    );

    let (mut out, _) = handshake_done();
    out.extend(unhex(&frame(
        "4040c0",
        &format!("0a000080{heartbeat}00000000"),
    )));
    for len in 0..out.len() {
        let mut reader = Reader::new();
        reader.push(&out[..len]);
        while reader.next_message().unwrap().is_some() {}
        let whole = [0, 24, 31, 45, 49];
        assert_eq!(
            reader.finish().is_ok(),
            whole.contains(&len),
            "after {len} bytes"
        );
    }
}

#[test]
fn checksums_and_sizes_of_frames_are_verified() {
    let mut plain = Vec::new();
    for n in 0..50 {
        PodResync { resync_count: n }.encode(n, &mut plain).unwrap();
    }
    let info = FrameInfo::new()
        .block_checksums(true)
        .content_checksum(true)
        .content_size(Some(plain.len() as u64));
    let (mut out, _) = handshake_done();
    let start = out.len();
    let mut encoder = FrameEncoder::with_frame_info(info, &mut out);
    encoder.write_all(&plain).unwrap();
    encoder.finish().unwrap();
    assert_eq!(read_in_pieces(&out, &[3]).unwrap().len(), 51);
    // Every byte of this frame is under some checksum, but for magic and block words.
    for at in (start..out.len()).filter(|at| !(15 + start..19 + start).contains(at)) {
        let mut broken = out.clone();
        broken[at] ^= 1;
        assert!(
            read_in_pieces(&broken, &[usize::MAX]).is_err(),
            "byte {at} was changed"
        );
    }
}

#[test]
fn tiny_frames_in_great_number_need_no_room() {
    let (mut out, _) = handshake_done();
    let mut reader = Reader::new();
    reader.push(&out);
    assert!(reader.next_message().unwrap().is_some());
    out.clear();
    for _ in 0..10_000 {
        out.extend(unhex("04224d184070df")); // 4 MiB blocks promised
        out.extend(unhex("0a00008001000000000000008801"));
        out.extend(unhex("00000000"));
    }
    reader.push(&out);
    let mut seen = 0;
    while reader.next_message().unwrap().is_some() {
        seen += 1;
    }
    assert_eq!((seen, reader.counters().largest_block), (10_000, 10));
}

#[test]
fn the_table_has_no_two_rows_of_one_number() {
    let mut ids: Vec<_> = Row::ALL.iter().map(|row| row.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), Row::ALL.len());
}
