//! What is fuzzed: each function takes any bytes, must not panic, and holds what it says.
//!
//! The programs of `fuzz_targets` and the test `fuzz` of the relay both include this file.

use bytes::Bytes;
use k8s_relay::{
    config,
    migrate::State,
    model::{Interner, Seed},
    proto,
    source::{
        legacy::info::Info,
        native::{
            decode::{
                Decoding, Dropped, MetadataOnly, PageReader, Pods, Status, WatchedKind,
                decode_line, decode_page,
            },
            lines::{LineSplitter, RawLine},
        },
    },
    tee::recording,
    wire::{
        PlainReader, Reader, decode,
        lz4::{FrameReader, FrameWriter},
    },
};
use prost::Message as _;
use twox_hash::XxHash32;

/// A target: its name, which is that of its corpus, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const ALL: [Target; 7] = [
    ("info", info),
    ("ingest", ingest),
    ("lz4", lz4),
    ("kubernetes", kubernetes),
    ("settings", settings),
    ("recording", recording),
    ("state_file", state_file),
];

/// The protobuf of a watcher: our reader and prost agree on whether it is an `Info`, and on what
/// it says of a pod.
pub fn info(bytes: &[u8]) {
    let ours = Info::read(bytes);
    let theirs = proto::Info::decode(bytes);
    assert_eq!(ours.is_ok(), theirs.is_ok(), "{ours:?} {theirs:?}");
    if let (Ok(ours), Ok(theirs)) = (ours, theirs) {
        let pod = theirs.pod_info.as_ref();
        let uid = pod.map(|pod| pod.uid.as_str());
        let containers = pod.map(|pod| pod.container_infos.len());
        let our_pod = ours.pod_info.as_ref();
        assert_eq!((ours.r#type, ours.event), (theirs.r#type, theirs.event));
        assert_eq!(our_pod.map(|pod| pod.uid), uid);
        assert_eq!(our_pod.map(|pod| pod.container_infos.len()), containers);
    }
}

/// A connection to the reducer: what is read does not depend on how it is cut, and each message
/// is encoded as it was decoded.
pub fn ingest(bytes: &[u8]) {
    let read = |chunk: usize| {
        let mut reader = Reader::new();
        let mut seen = Vec::new();
        for part in bytes.chunks(chunk) {
            reader.push(part);
            loop {
                match reader.next_message() {
                    Ok(Some((at, message))) => {
                        let mut again = Vec::new();
                        message.encode(at, &mut again).unwrap();
                        let (_, decoded, length) = decode(&again).unwrap().unwrap();
                        assert_eq!((&decoded, length), (&message, again.len()));
                        seen.push(again);
                    }
                    Ok(None) => break,
                    Err(error) => return (seen, Some(error.to_string())),
                }
            }
        }
        (seen, reader.finish().err().map(|error| error.to_string()))
    };
    assert_eq!(read(usize::MAX).0, read(7).0);
    let mut plain = PlainReader::new();
    plain.push(bytes);
    while let Ok(Some(_)) = plain.next_message() {}
    let _ = plain.finish();
}

/// LZ4 frames: a reader takes any bytes and never more than there are, and reads what a writer
/// has written.
pub fn lz4(bytes: &[u8]) {
    let mut reader = FrameReader::default();
    let (mut plain, mut rest) = (Vec::new(), bytes);
    while let Ok(used @ 1..) = reader.step(rest, &mut plain) {
        rest = rest.get(used..).unwrap();
    }
    let block = bytes.get(..bytes.len().min(16_384)).unwrap();
    if !block.is_empty() {
        let mut frame = Vec::new();
        FrameWriter::default().frame(block, &mut frame);
        let (mut plain, mut rest) = (Vec::new(), &*frame);
        let mut reader = FrameReader::default();
        while let used @ 1.. = reader.step(rest, &mut plain).unwrap() {
            rest = rest.get(used..).unwrap();
        }
        assert!(rest.is_empty() && reader.is_between_frames());
        assert_eq!(plain, block);
    }
}

/// The answers of an API server: lines of a watch, pages of a list, and statuses, of pods and of
/// metadata. What is read does not depend on how it is cut.
pub fn kubernetes(bytes: &[u8]) {
    of_kind::<Pods>(bytes);
    of_kind::<MetadataOnly>(bytes);
    let _ = Status::decode(bytes);
}

fn of_kind<T: WatchedKind>(bytes: &[u8])
where
    T::Object: PartialEq + std::fmt::Debug,
{
    let decoding = Decoding::default();
    let mut texts = Interner::new(Seed::FIXED);
    let mut dropped = Dropped::default();
    let mut lines = LineSplitter::new(1 << 16);
    for part in bytes.chunks(11) {
        lines.push(Bytes::copy_from_slice(part));
        while let Some(line) = lines.take() {
            if let RawLine::Line(line) = line {
                let _ = decode_line::<T>(line, &decoding, &mut texts, &mut dropped);
            }
        }
    }
    let mut whole = Vec::new();
    let end = decode_page::<T>(bytes, &decoding, &mut texts, |object| whole.push(object));
    let (mut cut, mut reader) = (Vec::new(), PageReader::default());
    for part in bytes.chunks(13) {
        reader.push::<T>(part, &decoding, &mut texts, |object| cut.push(object));
    }
    let cut_end = reader.end::<T>(&decoding, &mut texts, |object| cut.push(object));
    assert_eq!(end.is_ok(), cut_end.is_ok());
    assert_eq!(whole, cut);
}

/// The config file: every mistake is said in one line.
pub fn settings(bytes: &[u8]) {
    for mistake in config::mistakes_of_file(bytes) {
        assert!(
            !mistake.is_empty() && !mistake.contains('\n'),
            "{mistake:?}"
        );
    }
}

/// A recording of watchers' streams: what is read does not depend on how it is cut. The bytes are
/// read as a recording, and as the records of a block whose checksums are right.
pub fn recording(bytes: &[u8]) {
    read_recording(bytes);
    let mut whole = Vec::new();
    drop(recording::Writer::new(0, &mut whole));
    let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
    let body = XxHash32::oneshot(1, bytes).to_le_bytes();
    let block = [length, length, body].concat();
    whole.extend_from_slice(&block);
    whole.extend_from_slice(&XxHash32::oneshot(1, &block).to_le_bytes());
    whole.extend_from_slice(bytes);
    read_recording(&whole);
}

fn read_recording(bytes: &[u8]) {
    let read = |chunk: usize| {
        let mut reader = recording::Reader::new();
        let mut seen = 0;
        for part in bytes.chunks(chunk) {
            reader.push(part);
            loop {
                match reader.next_record() {
                    Ok(Some(_)) => seen += 1,
                    Ok(None) => break,
                    Err(error) => return (seen, Some(error.to_string())),
                }
            }
        }
        (seen, reader.finish().err().map(|error| error.to_string()))
    };
    assert_eq!(read(usize::MAX).0, read(5).0);
}

/// The state file of a migration: what is understood is written so that it is understood again.
pub fn state_file(bytes: &[u8]) {
    if let Ok(state) = State::parse(bytes) {
        let text = state.render().unwrap();
        assert_eq!(State::parse(text.as_bytes()), Ok(state));
    }
}
