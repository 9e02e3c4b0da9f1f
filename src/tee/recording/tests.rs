use proptest::{collection::vec, prelude::*};
use prost::Message as _;

use super::*;
use crate::sim::cluster::Cluster;

/// Two streams, with a message that does not pack and times that stand still.
fn scenario() -> Vec<Record> {
    let noise: Vec<u8> = (0..300_u32)
        .map(|n| (n.wrapping_mul(n).wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let ended = Outcome {
        code: 1,
        details: "Cancelled on the server side".to_owned(),
        responses: 1,
    };
    [
        (0, 1, What::Opened),
        (5, 1, What::Message(Bytes::from_static(b"first"))),
        (5, 2, What::Opened),
        (70_000_000, 2, What::Message(noise.into())),
        (70_000_001, 1, What::HalfClosed),
        (70_000_001, 2, What::Message(Bytes::new())),
        (70_000_300, 1, What::Ended(ended)),
        (70_000_400, 2, What::Cancelled),
    ]
    .map(|(micros, stream, what)| Record {
        at: Duration::from_micros(micros),
        stream,
        what,
    })
    .into()
}

/// A recording of these records; a block ends behind each of which `flush` says so.
fn encode(records: &[Record], mut flush: impl FnMut(usize) -> bool) -> Vec<u8> {
    let mut file = Vec::new();
    let mut writer = Writer::new(1_753_000_000_000_000_000, &mut file);
    for (n, record) in records.iter().enumerate() {
        assert!(writer.push(record, &mut file));
        if flush(n) {
            writer.flush(&mut file);
        }
    }
    writer.finish(Duration::from_secs(71), &mut file);
    file
}

/// What a reader makes of these bytes, handed over in parts of this length.
fn decode(file: &[u8], part: usize) -> (Vec<Record>, Result<(), RecordingError>) {
    let (mut reader, mut records) = (Reader::new(), Vec::new());
    for bytes in file.chunks(part) {
        reader.push(bytes);
        loop {
            match reader.next_record() {
                Ok(Some(record)) => records.push(record),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(reader.finish(), Err(error.clone()));
                    return (records, Err(error));
                }
            }
        }
    }
    (records, reader.finish())
}

/// Histories that can be: each step is done to one of the streams that are open.
fn histories() -> impl Strategy<Value = Vec<Record>> {
    let step = (
        0..8_u8,
        any::<prop::sample::Index>(),
        0..3_000_000_u64,
        vec(any::<u8>(), 0..200),
    );
    vec(step, 0..60).prop_map(|steps| {
        let (mut now, mut last, mut open, mut records) = (0, 0, Vec::new(), Vec::new());
        for (kind, index, passed, bytes) in steps {
            now += passed;
            let (stream, what) = if open.is_empty() || kind == 0 {
                last += 1;
                open.push((last, true));
                (last, What::Opened)
            } else {
                let at = index.index(open.len());
                let (stream, sends) = open[at];
                let what = match kind {
                    1 | 2 => {
                        open.remove(at);
                        if kind == 1 {
                            What::Cancelled
                        } else {
                            What::Ended(Outcome {
                                code: u32::from(bytes.len() as u8),
                                details: String::from_utf8_lossy(&bytes).into_owned(),
                                responses: passed,
                            })
                        }
                    }
                    _ if !sends => continue,
                    3 => {
                        open[at].1 = false;
                        What::HalfClosed
                    }
                    _ => What::Message(bytes.into()),
                };
                (stream, what)
            };
            let at = Duration::from_micros(now);
            records.push(Record { at, stream, what });
        }
        records
    })
}

proptest! {
    #[test]
    fn what_was_recorded_is_read_again(
        records in histories(),
        part in 1..5_000_usize,
        every in 1..20_usize,
    ) {
        let file = encode(&records, |n| n % every == 0);
        prop_assert_eq!(decode(&file, part), (records, Ok(())));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(mut bytes in vec(any::<u8>(), 0..300), honest in any::<bool>()) {
        if honest {
            let mut file = encode(&[], |_| false);
            file.truncate(HEADER);
            file.append(&mut bytes);
            bytes = file;
        }
        decode(&bytes, 7).1.unwrap_err();
    }

    #[test]
    fn an_altered_byte_is_found_wherever_it_is(
        records in histories(),
        place in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
    ) {
        let mut file = encode(&records, |n| n % 5 == 0);
        let at = place.index(file.len());
        file[at] ^= flip;
        let (read, end) = decode(&file, 4_096);
        prop_assert!(records.starts_with(&read), "other records than those recorded");
        let error = end.unwrap_err();
        prop_assert!(matches!(error.fault, Fault::Altered | Fault::Foreign), "{}", error);
        prop_assert!(error.at <= at as u64);
    }
}

#[test]
fn a_recording_cut_at_any_byte_is_readable_up_to_there() {
    let records = scenario();
    let file = encode(&records, |_| true);
    let mut before = 0;
    for len in 0..file.len() {
        let (read, end) = decode(&file[..len], 1_000);
        assert!(records.starts_with(&read), "cut at {len}");
        assert!(read.len() >= before, "cut at {len}");
        before = read.len();
        let RecordingError { at, fault } = end.unwrap_err();
        assert_eq!(fault, Fault::Cut, "cut at {len}");
        assert!(at <= len as u64);
    }
    // Only the end itself was missing.
    assert_eq!(before, records.len());
}

#[test]
fn each_altered_byte_of_a_recording_is_an_error_with_its_place() {
    let records = scenario();
    let file = encode(&records, |n| n % 3 == 2);
    for at in 0..file.len() {
        for bit in 0..8 {
            let mut altered = file.clone();
            altered[at] ^= 1 << bit;
            let (read, end) = decode(&altered, 64);
            assert!(records.starts_with(&read), "altered at {at}");
            let error = end.unwrap_err();
            assert!(error.at <= at as u64, "{error}, altered at {at}");
            assert!(
                matches!(error.fault, Fault::Altered | Fault::Foreign),
                "{error}, altered at {at}"
            );
        }
    }
}

#[test]
fn blocks_can_be_neither_left_out_nor_swapped_nor_repeated() {
    let records = scenario();
    let file = encode(&records, |_| true);
    let mut starts = vec![HEADER];
    while *starts.last().unwrap() < file.len() {
        let at = *starts.last().unwrap();
        let stored = u32::from_le_bytes(file[at + 4..at + 8].try_into().unwrap());
        starts.push(at + BLOCK_HEADER + stored as usize);
    }
    let block = |n: usize| &file[starts[n]..starts[n + 1]];
    let (head, rest) = (&file[..HEADER], &file[starts[3]..]);
    for blocks in [
        vec![head, block(0), block(2), rest],
        vec![head, block(1), block(0), block(2), rest],
        vec![head, block(0), block(0), block(1), block(2), rest],
    ] {
        let (_, end) = decode(&blocks.concat(), 100);
        assert_eq!(end.unwrap_err().fault, Fault::Altered);
    }
}

#[test]
fn another_file_another_version_and_a_tail_are_named() {
    let file = encode(&scenario(), |_| false);
    let end = |file: &[u8]| decode(file, 10).1.unwrap_err();
    assert_eq!(
        end(b"{\"msg\": 1}").to_string(),
        "at byte 0: this is not a recording of streams"
    );

    let mut newer = file.clone();
    newer[8] = 2;
    let checksum = twox_hash::XxHash32::oneshot(0, &newer[..HEADER - 4]);
    newer[HEADER - 4..HEADER].copy_from_slice(&checksum.to_le_bytes());
    assert_eq!(
        end(&newer).to_string(),
        "at byte 0: version 2 of the format is unknown, only 1 is known"
    );

    let tail = [&file[..], b"x"].concat();
    let error = end(&tail);
    assert_eq!(
        (error.at, error.fault),
        (file.len() as u64, Fault::BehindEnd)
    );
}

#[test]
fn records_that_can_not_be_are_refused_although_their_checksums_fit() {
    let at = |stream, what| Record {
        at: Duration::ZERO,
        stream,
        what,
    };
    let message = || What::Message(Bytes::from_static(b"m"));
    for records in [
        vec![at(2, What::Opened)],
        vec![at(1, message())],
        vec![at(1, What::Opened), at(1, What::Opened)],
        vec![
            at(1, What::Opened),
            at(1, What::Cancelled),
            at(1, message()),
        ],
        vec![
            at(1, What::Opened),
            at(1, What::HalfClosed),
            at(1, message()),
        ],
    ] {
        let (read, end) = decode(&encode(&records, |_| false), 100);
        assert_eq!(read, records[..records.len() - 1]);
        assert!(
            matches!(end.unwrap_err().fault, Fault::Record(_)),
            "{records:?}"
        );
    }
}

#[test]
fn a_large_message_is_recorded_and_one_that_is_too_large_is_refused() {
    let large = |len| Record {
        at: Duration::ZERO,
        stream: 1,
        what: What::Message(vec![7; len].into()),
    };
    let opened = Record {
        at: Duration::ZERO,
        stream: 1,
        what: What::Opened,
    };
    let records = [opened, large(MAX_MESSAGE)];
    let file = encode(&records, |_| false);
    assert!(file.len() < MAX_MESSAGE / 100, "it packs well");
    assert_eq!(decode(&file, 1 << 20), (records.to_vec(), Ok(())));

    let mut out = Vec::new();
    let mut writer = Writer::new(0, &mut out);
    assert!(!writer.push(&large(MAX_MESSAGE + 1), &mut out));
    writer.flush(&mut out);
    assert_eq!(out.len(), HEADER);
}

#[test]
fn time_that_goes_back_stands_still() {
    let at = |micros, what| Record {
        at: Duration::from_micros(micros),
        stream: 1,
        what,
    };
    let file = encode(&[at(9, What::Opened), at(3, What::Cancelled)], |_| false);
    let (read, _) = decode(&file, 100);
    assert_eq!(read, [at(9, What::Opened), at(9, What::Cancelled)]);
}

/// The first lists of a watcher of some thousand pods, as messages that come close together.
fn lists() -> Vec<Record> {
    let record = |(micros, what)| Record {
        at: Duration::from_micros(micros),
        stream: 1,
        what,
    };
    let messages = Cluster::new(100, 1_500).list();
    let messages = messages.map(|info| What::Message(info.encode_to_vec().into()));
    let whats = [What::Opened].into_iter().chain(messages);
    (0..).step_by(20).zip(whats).map(record).collect()
}

#[test]
fn a_recording_cut_at_a_share_of_its_length_has_about_that_share_of_its_messages() {
    let records = lists();
    let file = encode(&records, |_| false);
    assert!(file.len() > 300_000, "{} bytes", file.len());
    for tenth in 1..10 {
        let (read, end) = decode(&file[..file.len() * tenth / 10], 4_096);
        assert_eq!(end.unwrap_err().fault, Fault::Cut);
        assert!(records.starts_with(&read));
        let (share, read) = (records.len() * tenth / 10, read.len());
        let some = records.len() / 20;
        assert!(
            read + some > share && read < share + some,
            "{read} of {} records at {tenth}/10",
            records.len()
        );
    }
}

#[test]
fn a_crash_loses_one_block_at_most_however_slowly_it_fills() {
    let mut file = Vec::new();
    let mut writer = Writer::new(0, &mut file);
    let every = Duration::from_millis(150);
    for n in 0..200_u32 {
        let what = match n {
            0 => What::Opened,
            _ => What::Message(Bytes::from_static(b"small")),
        };
        let (at, stream) = (every * n, 1);
        assert!(writer.push(&Record { at, stream, what }, &mut file));
        let written = decode(&file, 4_096)
            .0
            .last()
            .map_or(Duration::ZERO, |r| r.at);
        assert!(
            at - written < SPAN + every,
            "record {n} is written too late"
        );
    }
}

#[test]
fn blocks_of_64_kib_as_other_writers_make_them_are_read() {
    let record = |what| Record {
        at: Duration::ZERO,
        stream: 1,
        what,
    };
    let records = [
        record(What::Opened),
        record(What::Message(vec![1; 60 << 10].into())),
    ];
    let file = encode(&records, |_| false);
    assert_eq!(decode(&file, 4_096), (records.to_vec(), Ok(())));
}
